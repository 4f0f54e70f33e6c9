//! One subcommand a fault word, with its amount and its own flags.

use std::path::Path;

use chaos_spec::{
    Bandwidth, ByteSize, Chance, Checksum, Corrupt, Delay, Distribution, DistributionTable, Drop, DropSignal,
    Duplicate, Duration, Fault, FaultKind, GilbertElliott, NetemCompat, Order, Rate, RejectWith, Reorder,
};
use clap::{Args, Subcommand};

use super::Common;
use super::amount::{gilbert_elliott, words};
use super::dns::DnsWord;
use super::http::HttpWord;
use crate::failure::Failure;
use crate::table;

#[derive(Debug, Subcommand)]
pub(super) enum Word {
    Drop(DropWord),
    Partition(PartitionWord),
    Reject(RejectWord),
    Reset(ResetWord),
    Duplicate(DuplicateWord),
    Corrupt(CorruptWord),
    Delay(DelayWord),
    Reorder(ReorderWord),
    Bandwidth(BandwidthWord),
    Http(HttpWord),
    Dns(DnsWord),
}

/// Lose some packets, silently
///
/// Example:
///   chaosctl inject drop 30% --cgroup /system.slice/orders.service --for 60s
///   chaosctl inject drop --every 5 --netns blue --for 60s
///   chaosctl inject drop --gilbert-elliott p=1%,r=10%,h=0%,k=100% --host --for 60s
///   chaosctl inject drop 20% --correlation 75% --compat netem --netns blue --for 60s
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct DropWord {
    /// The share of packets that is lost.
    #[arg(value_name = "CHANCE")]
    chance: Option<Chance>,
    /// How much a packet's fate resembles the one before; the share that is lost stays the same.
    #[arg(long, value_name = "CHANCE", requires = "chance")]
    correlation: Option<Chance>,
    /// Lose every N-th packet instead.
    #[arg(long, value_name = "N", conflicts_with_all = ["chance", "gilbert_elliott"])]
    every: Option<u32>,
    /// Lose packets in bursts instead.
    #[arg(long, value_name = "p=…,r=…", value_parser = gilbert_elliott, conflicts_with = "chance")]
    gilbert_elliott: Option<GilbertElliott>,
    /// Whether the sender notices.
    #[arg(long, value_name = "WORD", default_value = "none")]
    #[arg(value_parser = words::<DropSignal>(&["none", "local"]))]
    signal: DropSignal,
    /// Compute correlation as another tool does, which does not keep the share.
    #[arg(long, value_name = "TOOL", value_parser = words::<NetemCompat>(&["netem"]))]
    compat: Option<NetemCompat>,
    #[command(flatten)]
    common: Common,
}

/// Lose all packets, silently
///
/// Example:
///   chaosctl inject partition --netns blue --direction both --for 10s
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct PartitionWord {
    #[command(flatten)]
    common: Common,
}

/// Lose packets and tell the target at once
///
/// Example:
///   chaosctl inject reject --cgroup /system.slice/orders.service --remote-port 5432 --for 60s
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct RejectWord {
    /// The share of packets.
    #[arg(value_name = "CHANCE", default_value = "100%")]
    chance: Chance,
    /// reset: TCP gets a reset, as of a closed port, and the rest ICMP; icmp: all get ICMP, as of a firewall.
    #[arg(long, value_name = "WORD", default_value = "reset")]
    #[arg(value_parser = words::<RejectWith>(&["reset", "icmp"]))]
    with: RejectWith,
    #[command(flatten)]
    common: Common,
}

/// Tear down TCP connections at both ends
///
/// Example:
///   chaosctl inject reset 20% --cgroup /system.slice/orders.service --remote-port 5432 --for 60s
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct ResetWord {
    /// The share of connections that is torn down; one that was spared stays spared.
    #[arg(value_name = "CHANCE", default_value = "100%")]
    chance: Chance,
    #[command(flatten)]
    common: Common,
}

/// How the fates of packets follow one another
#[derive(Args, Debug)]
struct Likeness {
    /// How much a packet's fate resembles the one before; the share stays the same.
    #[arg(long, value_name = "CHANCE")]
    correlation: Option<Chance>,
    /// Compute correlation as another tool does, which does not keep the share.
    #[arg(long, value_name = "TOOL", value_parser = words::<NetemCompat>(&["netem"]))]
    compat: Option<NetemCompat>,
}

/// Deliver some packets twice
///
/// Example:
///   chaosctl inject duplicate 10% --netns blue --protocol udp --for 60s
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct DuplicateWord {
    /// The share of packets.
    #[arg(value_name = "CHANCE")]
    chance: Chance,
    #[command(flatten)]
    likeness: Likeness,
    #[command(flatten)]
    common: Common,
}

/// Flip a bit of some packets
///
/// Example:
///   chaosctl inject corrupt 1% --checksum fix --netns blue --for 60s
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct CorruptWord {
    /// The share of packets.
    #[arg(value_name = "CHANCE")]
    chance: Chance,
    /// leave: the receiver throws the packet away; fix: the application reads a wrong byte.
    #[arg(long, value_name = "WORD", default_value = "leave")]
    #[arg(value_parser = words::<Checksum>(&["leave", "fix"]))]
    checksum: Checksum,
    #[command(flatten)]
    likeness: Likeness,
    #[command(flatten)]
    common: Common,
}

/// Deliver packets later
///
/// Example:
///   chaosctl inject delay 100ms --jitter 20ms --netns blue --for 60s
///   chaosctl inject delay 100ms --jitter 20ms --distribution-file measured.txt --netns blue --for 60s
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct DelayWord {
    /// How much later.
    #[arg(value_name = "TIME")]
    latency: Duration,
    /// How far delays spread: their standard deviation, or half their width when uniform.
    #[arg(long, value_name = "TIME")]
    jitter: Option<Duration>,
    /// How they spread; normal when left out.
    #[arg(long, value_name = "WORD", requires = "jitter")]
    #[arg(value_parser = words::<Distribution>(&Distribution::WORDS))]
    distribution: Option<Distribution>,
    /// A file of offsets in units of the jitter, one a line, to draw from instead; *.dist: a table of tc's.
    #[arg(
        long,
        value_name = "FILE",
        requires = "jitter",
        conflicts_with = "distribution"
    )]
    distribution_file: Option<String>,
    /// How much a delay resembles the one before; how they spread stays the same.
    #[arg(long, value_name = "CHANCE", requires = "jitter")]
    correlation: Option<Chance>,
    /// Draw jitter as another tool does: tables cut off at four jitters, and no correlation.
    #[arg(long, value_name = "TOOL", value_parser = words::<NetemCompat>(&["netem"]))]
    compat: Option<NetemCompat>,
    /// Whether jitter may reorder a flow.
    #[arg(long, value_name = "WORD", default_value = "keep")]
    #[arg(value_parser = words::<Order>(&["keep", "free"]))]
    order: Order,
    #[command(flatten)]
    common: Common,
}

/// Let some packets overtake others
///
/// Example:
///   chaosctl inject reorder 25% --gap 5 --netns blue --for 60s
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct ReorderWord {
    /// The share of packets; they are held back for 10 ms, so that others overtake them.
    #[arg(value_name = "CHANCE")]
    chance: Chance,
    /// How much a packet's fate resembles the one before; the share stays the same.
    #[arg(long, value_name = "CHANCE")]
    correlation: Option<Chance>,
    /// Only every N-th packet may.
    #[arg(long, value_name = "N")]
    gap: Option<u32>,
    #[command(flatten)]
    common: Common,
}

/// Limit the rate
///
/// Example:
///   chaosctl inject bandwidth 10mbit --burst 32KiB --netns blue --for 60s
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct BandwidthWord {
    /// Such as 10mbit.
    #[arg(value_name = "RATE")]
    rate: Rate,
    /// Such as 32KiB.
    #[arg(long, value_name = "SIZE")]
    burst: Option<ByteSize>,
    #[command(flatten)]
    common: Common,
}

impl Word {
    pub(super) const fn kind(&self) -> FaultKind {
        match self {
            Self::Drop(_) => FaultKind::Drop,
            Self::Partition(_) => FaultKind::Partition,
            Self::Reject(_) => FaultKind::Reject,
            Self::Reset(_) => FaultKind::Reset,
            Self::Duplicate(_) => FaultKind::Duplicate,
            Self::Corrupt(_) => FaultKind::Corrupt,
            Self::Delay(_) => FaultKind::Delay,
            Self::Reorder(_) => FaultKind::Reorder,
            Self::Bandwidth(_) => FaultKind::Bandwidth,
            Self::Http(_) => FaultKind::Http,
            Self::Dns(_) => FaultKind::Dns,
        }
    }

    /// The fault, and the flags that all words share.
    pub(super) fn into_parts(self) -> Result<(Fault, Common), Failure> {
        let none = Fault::default;
        Ok(match self {
            Self::Drop(word) => return word.into_parts(),
            Self::Partition(word) => (Fault::partition(), word.common),
            Self::Reject(word) => (Fault::reject(word.with, word.chance), word.common),
            Self::Reset(word) => (Fault::reset(word.chance), word.common),
            Self::Duplicate(word) => (
                Fault {
                    duplicate: Some(Duplicate {
                        chance: word.chance,
                        correlation: word.likeness.correlation,
                        compat: word.likeness.compat,
                    }),
                    ..none()
                },
                word.common,
            ),
            Self::Corrupt(word) => (
                Fault {
                    corrupt: Some(Corrupt {
                        chance: word.chance,
                        checksum: word.checksum,
                        correlation: word.likeness.correlation,
                        compat: word.likeness.compat,
                    }),
                    ..none()
                },
                word.common,
            ),
            Self::Delay(word) => return word.into_parts(),
            Self::Reorder(word) => (
                Fault {
                    reorder: Some(Reorder {
                        chance: word.chance,
                        correlation: word.correlation,
                        gap: word.gap,
                        compat: None,
                    }),
                    ..none()
                },
                word.common,
            ),
            Self::Bandwidth(BandwidthWord { rate, burst, common }) => (
                Fault {
                    bandwidth: Some(Bandwidth { rate, burst }),
                    ..none()
                },
                common,
            ),
            Self::Http(word) => return word.into_parts(),
            Self::Dns(word) => return word.into_parts(),
        })
    }
}

impl DropWord {
    fn into_parts(self) -> Result<(Fault, Common), Failure> {
        let Self {
            chance,
            correlation,
            every,
            gilbert_elliott,
            signal,
            compat,
            common,
        } = self;
        if chance.is_none() && every.is_none() && gilbert_elliott.is_none() {
            return Err(Failure::Usage(
                "how much to drop is missing – write `inject drop 30%`, or --every N, or --gilbert-elliott p=1%,r=10%"
                    .to_owned(),
            ));
        }
        let drop = Drop {
            chance,
            correlation,
            every,
            gilbert_elliott,
            signal,
            compat,
        };
        Ok((Fault::drop(drop), common))
    }
}

impl DelayWord {
    fn into_parts(self) -> Result<(Fault, Common), Failure> {
        let distribution = match self.distribution_file {
            Some(file) => {
                let table =
                    table::read(&file, Path::new("")).map_err(|error| Failure::Usage(error.to_string()))?;
                Some(Distribution::Table(DistributionTable { table, file: None }))
            }
            None => self.distribution,
        };
        let delay = Delay {
            latency: self.latency,
            jitter: self.jitter,
            distribution,
            correlation: self.correlation,
            order: self.order,
            compat: self.compat,
        };
        let fault = Fault {
            delay: Some(delay),
            ..Fault::default()
        };
        Ok((fault, self.common))
    }
}

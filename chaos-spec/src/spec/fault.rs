use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bandwidth, Delay, Dns, Drop, Http, NetemCompat, Reorder, is_default};
use crate::Chance;

/// What happens to the packets: one or more, applied in the order of these fields, as netem does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// All of them are lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
    /// They are lost, and the sender is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reject: Option<Reject>,
    /// Their TCP connections are torn down at both ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<Reset>,
    /// Some are lost, silently.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop: Option<Drop>,
    /// Some arrive twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<Duplicate>,
    /// A bit of some is flipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrupt: Option<Corrupt>,
    /// They come later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
    /// Some overtake others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reorder: Option<Reorder>,
    /// No more than so many bits a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
    /// Requests are answered in the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
    /// Look-ups are answered in the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
}

/// The name of a fault: the field in a spec, the metric label, the heading in the docs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FaultKind {
    Partition,
    Reject,
    Reset,
    Drop,
    Duplicate,
    Corrupt,
    Delay,
    Reorder,
    Bandwidth,
    Http,
    Dns,
}

/// Everything is lost, in silence: `drop` with 100 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Partition {}

/// The packet is lost and its sender is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reject {
    #[serde(default, skip_serializing_if = "is_default")]
    pub with: RejectWith,
    #[serde(default = "always", skip_serializing_if = "Chance::is_always_ref")]
    pub chance: Chance,
}

/// How a rejected packet is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RejectWith {
    /// A TCP reset, as a closed port answers; what is not TCP gets the ICMP message.
    #[default]
    Reset,
    /// ICMP or ICMPv6 "port unreachable", as a firewall answers. A socket that is still connecting may hear it only
    /// after the first SYN retransmission, about 1 s.
    Icmp,
}

/// Tears down established TCP connections at both ends. Only TCP segments are touched.
///
/// The chance is of connections: one that was spared stays spared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reset {
    #[serde(default = "always", skip_serializing_if = "Chance::is_always_ref")]
    pub chance: Chance,
}

/// Packets arrive twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Duplicate {
    #[serde(default = "always", skip_serializing_if = "Chance::is_always_ref")]
    pub chance: Chance,
    /// How much a packet's fate resembles the one before; the share stays `chance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<Chance>,
    /// Correlates as netem does, which does not keep `chance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compat: Option<NetemCompat>,
}

/// One bit of the payload is flipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Corrupt {
    #[serde(default = "always", skip_serializing_if = "Chance::is_always_ref")]
    pub chance: Chance,
    #[serde(default, skip_serializing_if = "is_default")]
    pub checksum: Checksum,
    /// How much a packet's fate resembles the one before; the share stays `chance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<Chance>,
    /// Correlates as netem does, which does not keep `chance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compat: Option<NetemCompat>,
}

/// What becomes of the checksum over a flipped bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// It stays: the receiver throws the packet away.
    #[default]
    Leave,
    /// It is made right again: the application reads a wrong byte.
    Fix,
}

fn always() -> Chance {
    Chance::ALWAYS
}

impl FaultKind {
    /// In the order in which they are applied.
    pub const ALL: [Self; 11] = [
        Self::Partition,
        Self::Reject,
        Self::Reset,
        Self::Drop,
        Self::Duplicate,
        Self::Corrupt,
        Self::Delay,
        Self::Reorder,
        Self::Bandwidth,
        Self::Http,
        Self::Dns,
    ];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::Reject => "reject",
            Self::Reset => "reset",
            Self::Drop => "drop",
            Self::Duplicate => "duplicate",
            Self::Corrupt => "corrupt",
            Self::Delay => "delay",
            Self::Reorder => "reorder",
            Self::Bandwidth => "bandwidth",
            Self::Http => "http",
            Self::Dns => "dns",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Fault {
    pub fn partition() -> Self {
        Self {
            partition: Some(Partition {}),
            ..Self::default()
        }
    }

    pub fn reject(with: RejectWith, chance: Chance) -> Self {
        Self {
            reject: Some(Reject { with, chance }),
            ..Self::default()
        }
    }

    pub fn reset(chance: Chance) -> Self {
        Self {
            reset: Some(Reset { chance }),
            ..Self::default()
        }
    }

    pub fn drop(drop: Drop) -> Self {
        Self {
            drop: Some(drop),
            ..Self::default()
        }
    }

    pub fn duplicate(chance: Chance) -> Self {
        Self {
            duplicate: Some(Duplicate {
                chance,
                correlation: None,
                compat: None,
            }),
            ..Self::default()
        }
    }

    pub fn corrupt(chance: Chance, checksum: Checksum) -> Self {
        Self {
            corrupt: Some(Corrupt {
                chance,
                checksum,
                correlation: None,
                compat: None,
            }),
            ..Self::default()
        }
    }

    /// The faults that are named, in the order in which they are applied.
    pub fn kinds(&self) -> Vec<FaultKind> {
        FaultKind::ALL
            .into_iter()
            .filter(|kind| self.has(*kind))
            .collect()
    }

    pub const fn has(&self, kind: FaultKind) -> bool {
        match kind {
            FaultKind::Partition => self.partition.is_some(),
            FaultKind::Reject => self.reject.is_some(),
            FaultKind::Reset => self.reset.is_some(),
            FaultKind::Drop => self.drop.is_some(),
            FaultKind::Duplicate => self.duplicate.is_some(),
            FaultKind::Corrupt => self.corrupt.is_some(),
            FaultKind::Delay => self.delay.is_some(),
            FaultKind::Reorder => self.reorder.is_some(),
            FaultKind::Bandwidth => self.bandwidth.is_some(),
            FaultKind::Http => self.http.is_some(),
            FaultKind::Dns => self.dns.is_some(),
        }
    }
}

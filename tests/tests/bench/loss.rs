//! One wire packet of a hundred.

use chaos_bench::{Better, Row, Target};
use chaos_tests::bulk::{Stream, streams};
use chaos_tests::workload::{Flood, Handing};
use chaos_tests::{Skip, Workload, is_emulated, require_program, settled};
use serde_json::{Value, json};
use std::time::Duration;

use crate::paths::{Bed, middle, require_netem};
use crate::run::{Run, in_turns};

/// Datagrams of a flood, each as large as a frame carries.
const SIZE: usize = 1472;
const PORT: u16 = 7001;
/// Longer than anything is on its way.
const SILENCE: Duration = Duration::from_millis(500);

pub(crate) fn measure(run: &mut Run) -> Result<(), Skip> {
    let peers = if is_emulated() {
        require_netem()?;
        [Peer::Netem { wire: true }, Peer::Netem { wire: false }]
    } else {
        require_program("iptables")?;
        [Peer::Iptables { wire: true }, Peer::Iptables { wire: false }]
    };
    if let Err(skip) = require_program("iperf3") {
        run.absent("TCP", &skip);
    } else {
        for peer in peers {
            tcp(run, peer);
        }
    }
    udp(run, peers[0]);
    Ok(())
}

/// With `wire` the device is given wire packets one by one, so that the peer, too, loses those; else it loses whole
/// super-packets.
#[derive(Clone, Copy)]
enum Peer {
    /// At the far end: what is dropped where it leaves is told to the sender.
    Iptables {
        wire: bool,
    },
    Netem {
        wire: bool,
    },
}

impl Peer {
    fn words(self) -> &'static str {
        match self {
            Self::Iptables { wire: true } => "iptables -m statistic, wire packets",
            Self::Iptables { wire: false } => "iptables -m statistic, super-packets",
            Self::Netem { wire: true } => "netem loss, wire packets",
            Self::Netem { wire: false } => "netem loss, super-packets",
        }
    }

    fn loses<T>(self, bed: &Bed, measure: impl FnOnce() -> T) -> T {
        let (Self::Iptables { wire } | Self::Netem { wire }) = self;
        let device = &bed.net.client.device;
        let segments = |most: u32| {
            let name = device.name();
            device.netns().ip(&format!("link set {name} gso_max_segs {most}"));
        };
        if wire {
            segments(1);
        }
        let measured = match self {
            Self::Iptables { .. } => {
                let rule = |verb: &str| {
                    let command = format!(
                        "iptables -{verb} INPUT -m statistic --mode random --probability 0.01 -j DROP"
                    );
                    bed.net.server.netns.run(&command.split(' ').collect::<Vec<_>>());
                };
                rule("A");
                let measured = measure();
                rule("D");
                measured
            }
            Self::Netem { .. } => bed.behind("netem limit 100000 loss 1%", measure),
        };
        if wire {
            segments(65_535);
        }
        measured
    }
}

fn fault() -> Value {
    json!({"drop": {"chance": "1%"}})
}

fn tcp(run: &mut Run, peer: Peer) {
    let (rounds, seconds) = if run.is_quick() { (2, 3) } else { (5, 6) };
    let bed = Bed::with(&[]);
    for count in ["1", "8"] {
        let words = ["-C", "cubic", "-P", count];
        let measure = || streams(&bed.net, &words, seconds);
        let (mut ours, mut theirs): (Vec<Stream>, Vec<Stream>) = Default::default();
        let pairs = in_turns(
            rounds,
            || {
                let stream = bed.under(&fault(), measure);
                ours.push(stream);
                stream.mbit
            },
            || {
                let stream = peer.loses(&bed, measure);
                theirs.push(stream);
                stream.mbit
            },
        );
        let share = |streams: &[Stream]| 100.0 * middle(streams.iter().map(|stream| stream.share));
        let row = Row::new(
            format!("TCP, {count} streams, beside {}", peer.words()),
            "Mbit/s",
            Better::Higher,
            peer.words(),
            &pairs,
        )
        .remark(format!(
            "sent again: {:.2} % ours, {:.2} % theirs",
            share(&ours),
            share(&theirs)
        ));
        let wire = matches!(peer, Peer::Iptables { wire: true } | Peer::Netem { wire: true });
        run.row(if wire {
            row.target(Target::RatioAtLeast(1.0))
        } else {
            row
        });
        if wire {
            let shares: Vec<(f64, f64)> = ours.iter().map(|stream| (100.0 * stream.share, 1.0)).collect();
            run.row(
                Row::new(
                    format!("TCP, {count} streams: sent again"),
                    "%",
                    Better::Lower,
                    "the loss asked for",
                    &shares,
                )
                .target(Target::Within(0.1)),
            );
        }
    }
}

/// What came of as many datagrams as one sender makes.
#[derive(Clone, Copy)]
struct Flooded {
    /// Payload that arrived, Mbit/s of the time that the sender took.
    mbit: f64,
    /// Share of those sent.
    lost: f64,
}

fn udp(run: &mut Run, peer: Peer) {
    let (rounds, count) = match (is_emulated(), run.is_quick()) {
        (true, _) => (3, 20_000),
        (_, true) => (3, 100_000),
        _ => (9, 200_000),
    };
    let bed = Bed::with(&[]);
    let client = Workload::start(&bed.net.client.netns, None);
    let server = Workload::start(&bed.net.server.netns, None);
    let to = bed.net.server.at(PORT);
    let sink = server.udp_count(to, SIZE, false);
    let counted = || server.udp_counted(sink).datagrams;
    let measure = || {
        let overflows = || bed.net.server.netns.udp_count("RcvbufErrors");
        let before = (counted(), overflows());
        let sent = client.udp_flood(&Flood {
            to,
            size: SIZE,
            rate: u64::MAX,
            count,
            flows: 1,
            handing: Handing::Messages(1),
        });
        let came = settled(SILENCE, counted) - before.0;
        assert_eq!(overflows(), before.1, "the receiver's buffer had room");
        Flooded {
            mbit: (came * SIZE as u64) as f64 * 8e3 / sent.nanos as f64,
            lost: 1.0 - came as f64 / count as f64,
        }
    };
    let (mut ours, mut theirs): (Vec<Flooded>, Vec<Flooded>) = Default::default();
    let pairs = in_turns(
        rounds,
        || {
            let flood = bed.under(&fault(), measure);
            ours.push(flood);
            flood.mbit
        },
        || {
            let flood = peer.loses(&bed, measure);
            theirs.push(flood);
            flood.mbit
        },
    );
    let lost = |floods: &[Flooded]| 100.0 * middle(floods.iter().map(|flood| flood.lost));
    run.row(
        Row::new("UDP", "Mbit/s", Better::Higher, peer.words(), &pairs)
            .target(Target::RatioAtLeast(1.0))
            .remark(format!(
                "lost: {:.2} % ours, {:.2} % theirs",
                lost(&ours),
                lost(&theirs)
            )),
    );
    let shares: Vec<(f64, f64)> = ours.iter().map(|flood| (100.0 * flood.lost, 1.0)).collect();
    run.row(
        Row::new("UDP: lost", "%", Better::Lower, "the loss asked for", &shares).target(Target::Within(0.05)),
    );
}

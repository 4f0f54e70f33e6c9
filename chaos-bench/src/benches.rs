//! The names that `cargo xtask bench` knows.

use crate::Place;

/// What a benchmark is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    pub name: &'static str,
    /// Stands above its rows.
    pub what: &'static str,
    /// Where it has rows to measure.
    pub places: &'static [Place],
    /// Short and steady enough for every run of the gate.
    pub gate: bool,
}

const HERE: &[Place] = &[Place::Native];
const BOTH: &[Place] = &[Place::Native, Place::Emulated];

const fn here(name: &'static str, what: &'static str) -> About {
    About {
        name,
        what,
        places: HERE,
        gate: false,
    }
}

const fn in_the_gate(about: About) -> About {
    About { gate: true, ..about }
}

/// All, in the order in which they run and stand on the page.
pub const BENCHES: &[About] = &[
    in_the_gate(here(
        "innocent",
        "What a packet pays that no fault names: nanoseconds of the hook over an empty tc program (BPF_PROG_TEST_RUN), the mean over eight packets.",
    )),
    here("steps", "How that adds up: each row goes one step further."),
    here(
        "idle",
        "What a daemon costs that runs no fault: round trips of datagrams over a veth with it and without it, and the daemon itself.",
    ),
    in_the_gate(here(
        "hit",
        "What a packet pays that a fault is done to: nanoseconds of the hook over an empty tc program (BPF_PROG_TEST_RUN). What rewrites the packet cannot be repeated over the same one: \
         those rows are of single runs, cold ones, beside single runs of the empty program.",
    )),
    in_the_gate(here(
        "looking",
        "What a request or a look-up pays that a rule with `http` or `dns` looks at and does not name: nanoseconds over a packet of the same flow and length that is none.",
    )),
    here(
        "addresses",
        "One fault (`drop 0%`) with 65,534 addresses: its cost in the hook, and round trips of datagrams and a TCP stream (cubic) through it, beside the same fault with one address, beside `iptables` \
         with an `ipset` of as many, and beside as many `u32` filters of `tc` on `htb`. Published for the last (Becker et al. 2022, arXiv 2208.05862, 65,534 filters, no match): 0.379 ms with eBPF maps, 5.868 ms \
         with filters of tc; 4.54 and 0.42 Gbit/s.",
    ),
    here(
        "xdp",
        "Drop by network and port in XDP, on a veth: frames of 60 bytes that one CPU sends from XDP, and both ends handle, in millions a second; and nanoseconds of the program alone (BPF_PROG_TEST_RUN).",
    ),
    About {
        name: "loss",
        what: "Bulk TCP (iperf3, cubic) and UDP as fast as one sender makes it, of which 1 % of the wire packets is lost.",
        places: BOTH,
        gate: false,
    },
    About {
        name: "delay",
        what: "Datagrams from the sender's call to the other end of the cable, less what a healthy cable takes; and bulk TCP (iperf3, cubic).",
        places: BOTH,
        gate: false,
    },
    About {
        name: "line",
        what: "Bulk TCP (iperf3, cubic, the sender on one CPU) whose wire packets are all looked at by a fault that never acts.",
        places: HERE,
        gate: false,
    },
    About {
        name: "bandwidth",
        what: "Payload of one stream (iperf3, cubic) and what it sends again, behind a burst of 32 KiB.",
        places: BOTH,
        gate: false,
    },
    About {
        name: "inject",
        what: "From a request to the daemon's socket, or the start of `tc`, to the first packet that is lost, of one each tenth of a millisecond; and to the answer for many at once.",
        places: HERE,
        gate: false,
    },
    About {
        name: "recover",
        what: "From what ends a fault to the first packet that passes for good, seen by a client that asks an echo each millisecond.",
        places: HERE,
        gate: false,
    },
    About {
        name: "soak",
        what: "Half an hour of faults that are applied, changed and deleted under load; what the daemon holds at the end beside what it held at the start.",
        places: HERE,
        gate: false,
    },
];

/// A benchmark by its name.
pub fn about(name: &str) -> Option<&'static About> {
    BENCHES.iter().find(|about| about.name == name)
}

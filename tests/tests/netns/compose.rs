//! Several faults in one rule, and several rules on one packet: in the order that the guide tells, at the hook and on
//! the line alike.

use std::time::Duration;

use serde_json::{Value, json};

use crate::bed::{Bed, SOON};
use crate::probes::{quantile, udp, waits};

/// Datagrams to this port.
const PORT: u16 = 9000;

/// A fault that no packet notices but that sends all of them by the line.
fn lined(mut fault: Value) -> Value {
    fault["delay"] = json!({"latency": "0ms"});
    fault
}

/// Numbers that came once and those that came twice, for `count` that were sent.
fn copies(sequences: &[u64], count: u64) -> (Vec<u64>, Vec<u64>) {
    let times = |n: u64| sequences.iter().filter(|got| **got == n).count();
    let of = |want: usize| (0..count).filter(|n| times(*n) == want).collect();
    (of(1), of(2))
}

#[test]
fn in_one_fault_what_is_lost_is_not_doubled_and_a_copy_is_not_flipped() {
    let bed = Bed::new();
    const COUNT: u64 = 500;
    for (name, fault) in [("hook", json!({})), ("line", lined(json!({})))] {
        let mut fault = fault;
        fault["drop"] = json!({"every": 5});
        fault["duplicate"] = json!({"chance": "100%"});
        fault["corrupt"] = json!({"chance": "100%", "checksum": "fix"});
        bed.ctl.apply(&[bed.on_client(name, fault).traffic(udp(PORT))]);
        let report = bed.send(bed.net.server.at(PORT), COUNT);
        let lost: Vec<u64> = (0..COUNT).filter(|n| n % 5 == 4).collect();
        assert_eq!(report.lost(COUNT), lost, "{name}: every fifth, with its copy");
        let (once, twice) = copies(&report.sequences, COUNT);
        assert_eq!((once.len(), twice.len()), (0, 400), "{name}");
        // Of each pair the copy is as it was, and the packet itself has its one wrong bit.
        assert_eq!(report.flipped.len(), 400, "{name}");
        assert!(report.flipped.iter().all(|(_, bits)| *bits == 1), "{name}");
        for (counter, want) in [
            ("matched", 500),
            ("dropped", 100),
            ("duplicated", 400),
            ("corrupted", 400),
        ] {
            bed.wait_for_packets(name, counter, want);
        }
        bed.delete(name);
    }
}

#[test]
fn of_two_faults_the_later_gets_what_the_earlier_leaves_and_no_copies() {
    let bed = Bed::new();
    const COUNT: u64 = 400;
    let fault = |name: &str, fault: Value| bed.on_client(name, fault).traffic(udp(PORT));
    let plain = |fault: Value| fault;
    // Each of the two at the hook and on the line: what begins on the line goes on there.
    for (way, first, second) in [
        (
            "hook, hook",
            plain as fn(Value) -> Value,
            plain as fn(Value) -> Value,
        ),
        ("hook, line", plain, lined),
        ("line, hook", lined, plain),
        ("line, line", lined, lined),
    ] {
        bed.ctl.apply(&[
            fault("first", first(json!({"drop": {"every": 2}}))),
            fault("second", second(json!({"duplicate": {"chance": "100%"}}))),
        ]);
        let report = bed.send(bed.net.server.at(PORT), COUNT);
        assert_eq!(
            (report.unique(), report.received()),
            (200, 400),
            "{way}: lost, then doubled"
        );
        bed.wait_for_packets("first", "matched", 400);
        bed.wait_for_packets("second", "matched", 200);
        for name in ["first", "second"] {
            bed.ctl.delete(name);
        }
        bed.ctl.apply(&[
            fault("first", first(json!({"duplicate": {"chance": "100%"}}))),
            fault("second", second(json!({"drop": {"every": 2}}))),
        ]);
        let report = bed.send(bed.net.server.at(PORT), COUNT);
        let (once, twice) = copies(&report.sequences, COUNT);
        assert_eq!(
            (once.len(), twice.len()),
            (200, 200),
            "{way}: doubled, then the packet itself lost, never the copy"
        );
        bed.wait_for_packets("second", "matched", 400);
        bed.wait_for_packets("second", "dropped", 200);
        for name in ["first", "second"] {
            bed.ctl.delete(name);
        }
    }
}

#[test]
fn delays_add_up_and_each_can_go_by_itself() {
    let bed = Bed::new();
    let to = bed.net.server.at(7000);
    bed.server.udp_echo(to);
    let late = |name: &str, latency: &str| {
        bed.on_client(name, json!({"delay": {"latency": latency}}))
            .traffic(udp(7000))
    };
    let median = || quantile(&waits(&bed, to, Duration::from_millis(5), 50), 0.5);
    bed.ctl.apply(&[late("ten", "10ms"), late("twenty", "20ms")]);
    let both = median();
    bed.ctl.delete("ten");
    let one = median();
    assert!(
        (30.0..31.0).contains(&both) && (20.0..21.0).contains(&one),
        "{both} {one}"
    );
    bed.delete("twenty");
}

/// A copy waits as long as its packet; it would be no duplicate of a slow link otherwise.
#[test]
fn a_copy_of_a_delayed_packet_is_as_late_as_the_packet() {
    let bed = Bed::new();
    let to = bed.net.server.at(7000);
    bed.server.udp_echo(to);
    bed.ctl.apply(&[bed
        .on_client(
            "both",
            json!({"duplicate": {"chance": "100%"}, "delay": {"latency": "30ms"}}),
        )
        .traffic(udp(7000))]);
    // The first of the two answers counts.
    let found = waits(&bed, to, Duration::from_millis(5), 50);
    assert!(quantile(&found, 0.0) >= 30.0, "{found:?}");
    bed.delete("both");
}

/// Answers are given where a packet leaves its target: they do not wait for what was created before them.
#[test]
fn a_later_reject_answers_at_once_what_an_earlier_delay_would_hold() {
    let bed = Bed::new();
    let to = bed.net.server.at(8080);
    bed.server.tcp_serve(to);
    let traffic = || json!({"protocol": "tcp", "remote": {"ports": [8080]}});
    bed.ctl.apply(&[
        bed.on_client("late", json!({"delay": {"latency": "300ms"}}))
            .traffic(traffic()),
        bed.on_client("refused", json!({"reject": {"with": "reset"}}))
            .traffic(traffic()),
    ]);
    let opened = bed.client.tcp_open(None, to, SOON);
    assert_eq!(opened.error(), "ECONNREFUSED", "{opened:?}");
    assert!(opened.micros < 200_000, "{opened:?}");
    for name in ["late", "refused"] {
        bed.ctl.delete(name);
    }
}

//! Several faults in one rule, and several rules on one packet: in the order that the guide tells, at the hook and on
//! the line alike.

use std::time::Duration;

use chaos_tests::{Output, eventually};
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
/// A cut is a cut, also of packets that an older fault has sent by the line.
#[test]
fn a_later_fault_loses_what_an_earlier_delay_holds() {
    let bed = Bed::new();
    const COUNT: u64 = 50;
    let faults = [
        json!({"partition": {}}),
        json!({"drop": {"chance": "100%"}}),
        json!({"drop": {"chance": "100%", "signal": "local"}}),
    ];
    for (fault, port) in faults.iter().zip((PORT + 1..).step_by(4)) {
        for leg in bed.ways(port) {
            if fault["drop"]["signal"] == "local" && leg.direction == "ingress" {
                // There is no sender to tell.
                continue;
            }
            let told = format!("{fault}, {} {}", leg.direction, leg.to);
            let sink = bed.server.udp_sink(leg.to);
            let came = || bed.server.sink_report(sink).sequences.len() as u64;
            bed.ctl
                .apply(&[bed.on_leg(&leg, "late", json!({"delay": {"latency": "20ms"}}))]);
            bed.ctl.apply(&[bed.on_leg(&leg, "cut", fault.clone())]);
            bed.client.udp_send(leg.to, COUNT);
            bed.wait_for_packets("late", "delayed", COUNT);
            bed.wait_for_packets("cut", "dropped", COUNT);
            assert_eq!(came(), 0, "{told}: nothing comes");
            bed.ctl.delete("cut");
            bed.client.udp_send(leg.to, COUNT);
            eventually(SOON, &told, || came() == COUNT);
            bed.delete("late");
        }
    }
}

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

/// What is to become of `count` packets under faults in the order of a plan: the numbers that arrive, sorted.
fn predicted(plan: &Output, count: u64) -> Vec<u64> {
    let plan: Value = serde_json::from_str(&plan.stdout).expect("JSON");
    let rules = plan["faults"][0]["rules"]
        .as_array()
        .expect("a plan has rules")
        .clone();
    let order: Vec<&str> = rules.iter().filter_map(|rule| rule["fault"].as_str()).collect();
    let mut arrive = Vec::new();
    let mut seen = 0;
    for number in 0..count {
        let mut passes = true;
        for fault in &order {
            match *fault {
                "third" if passes => {
                    seen += 1;
                    passes = seen % 3 != 0;
                }
                // The copy is no later fault's business.
                "twice" if passes => arrive.push(number),
                "third" | "twice" => {}
                other => panic!("an unknown fault {other}"),
            }
        }
        if passes {
            arrive.push(number);
        }
    }
    arrive.sort_unstable();
    arrive
}

/// One is about all datagrams, the other about those to one port.
#[test]
fn two_overlapping_faults_do_what_their_plan_says_and_each_is_exact_without_the_other() {
    const COUNT: u64 = 300;
    let bed = Bed::new();
    let third = bed
        .on_client("third", json!({"drop": {"every": 3}}))
        .traffic(json!({"protocol": "udp"}));
    let twice = bed
        .on_client("twice", json!({"duplicate": {"chance": "100%"}}))
        .traffic(udp(PORT));
    let (to, beside) = (bed.net.server.at(PORT), bed.net.server.at(PORT + 1));
    let sent = |to| {
        let mut sequences = bed.send(to, COUNT).sequences;
        sequences.sort_unstable();
        sequences
    };
    let all: Vec<u64> = (0..COUNT).collect();
    let each_twice: Vec<u64> = all.iter().flat_map(|n| [*n, *n]).collect();
    let each_third: Vec<u64> = all.iter().copied().filter(|n| n % 3 != 2).collect();
    for (older, younger) in [(&third, &twice), (&twice, &third)] {
        bed.ctl.apply(std::slice::from_ref(older));
        let plan = bed.ctl.try_plan_json(std::slice::from_ref(younger));
        bed.ctl.apply(std::slice::from_ref(younger));
        let expected = predicted(&plan, COUNT);
        assert_eq!(sent(to), expected, "{}, then {}", older.name(), younger.name());
        bed.wait_for_packets("third", "matched", COUNT);
        assert_eq!(sent(beside), each_third, "only one is about the port beside");
        // Each alone, whichever goes first.
        bed.ctl.delete(older.name());
        let alone = if older.name() == "third" {
            &each_twice
        } else {
            &each_third
        };
        assert_eq!(&sent(to), alone, "{} alone", younger.name());
        let (counter, name) = ("matched", younger.name());
        let so_far = bed.ctl.fault(name).packets(counter);
        assert_eq!(&sent(to), alone, "{name} goes on alone");
        bed.wait_for_packets(name, counter, so_far + COUNT);
        bed.delete(name);
    }
}

/// The losses of a seed are those of the fault alone, to the packet, with another fault beside it and without.
#[test]
fn a_seeds_losses_are_the_same_with_another_fault_and_after_it_has_gone() {
    const PART: u64 = 200;
    let bed = Bed::new();
    let to = bed.net.server.at(PORT);
    let half = || {
        bed.on_client("half", json!({"drop": {"chance": "50%"}}))
            .traffic(udp(PORT))
            .seed(7)
    };
    let lost = |count: u64| bed.send(to, count).lost(count);
    bed.ctl.apply(&[half()]);
    let alone = [lost(PART), lost(PART), lost(PART)];
    bed.delete("half");
    bed.ctl.apply(&[half()]);
    assert_eq!(lost(PART), alone[0]);
    bed.ctl.apply(&[
        bed.on_client("twice", json!({"duplicate": {"chance": "100%"}}))
            .traffic(udp(PORT)),
        bed.on_client("late", json!({"delay": {"latency": "2ms"}}))
            .traffic(json!({"protocol": "udp"})),
    ]);
    assert_eq!(lost(PART), alone[1], "two others come");
    for name in ["late", "twice"] {
        bed.ctl.delete(name);
    }
    assert_eq!(lost(PART), alone[2], "and go");
    bed.delete("half");
}

//! A running fault is changed in place, and several faults on one target compose.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chaos_tests::{Api, eventually, monotonic_nanos, patience};
use serde_json::{Value, json};

use crate::bed::{Bed, SOON};

fn udp_ports(ports: &[u16]) -> Value {
    json!({"protocol": "udp", "remote": {"ports": ports}})
}

#[test]
fn a_change_loses_nothing_of_its_neighbours_and_lets_nothing_slip_through() {
    let bed = Bed::new();
    let cut = |ports: &[u16]| {
        bed.on_client("cut", json!({"partition": {}}))
            .traffic(udp_ports(ports))
    };
    let (hit, spared) = (bed.net.server.at(9000), bed.net.server.at(9001));
    let sinks = (bed.server.udp_sink(hit), bed.server.udp_sink(spared));
    bed.ctl.apply(&[cut(&[9000])]);
    let api = Api::of(&bed.daemon);
    let done = AtomicBool::new(false);
    let (mut sent, mut changes) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for extra in [9002, 9003] {
                    let answer = api.apply(&[cut(&[9000, extra])]);
                    assert!((200..300).contains(&answer.status), "{answer:?}");
                }
                changes += 2;
            }
        });
        for _ in 0..40 {
            for to in [hit, spared] {
                let result = bed.client.udp_send_from(None, to, sent, 250, 64);
                assert_eq!(result.accepted, 250);
            }
            sent += 250;
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(
        changes >= 4,
        "only {changes} changes while {sent} datagrams were sent"
    );
    eventually(SOON, "the neighbour's all arrive", || {
        bed.server.sink_report(sinks.1).received() == sent
    });
    assert!(bed.server.sink_report(sinks.1).in_order());
    assert_eq!(
        bed.server.sink_report(sinks.0).received(),
        0,
        "nothing slips through"
    );
    // The counters go on, for it is one fault.
    bed.wait_for_packets("cut", "dropped", sent);
    assert_eq!(bed.ctl.fault("cut").phase(), "Active");
}

/// Also those that were waiting before a change, and while another fault keeps the line in use.
#[test]
fn what_waits_since_before_a_change_goes_on_when_the_fault_ends() {
    let bed = Bed::new();
    let slow = |name: &str, latency: &str, port: u16| {
        bed.on_client(name, json!({"delay": {"latency": latency}}))
            .traffic(udp_ports(&[port]))
    };
    let to = bed.net.server.at(9000);
    let sink = bed.server.udp_sink(to);
    let arrived = || bed.server.sink_report(sink).received();
    bed.ctl
        .apply(&[slow("other", "1ms", 9001), slow("late", "60s", 9000)]);
    assert_eq!(bed.client.udp_send(to, 5).accepted, 5);
    bed.ctl.apply(&[slow("late", "50s", 9000)]);
    assert_eq!(arrived(), 0);
    bed.ctl.delete("late");
    eventually(SOON, "they go on", || arrived() == 5);
    assert!(bed.server.sink_report(sink).in_order());
    bed.delete("other");
}

#[test]
fn a_change_keeps_budget_and_sequence() {
    let bed = Bed::new();
    let fifth = |n| {
        let fault = bed
            .on_client("fifth", json!({"drop": {"every": 5}}))
            .max_packets(50);
        fault.traffic(json!({"protocol": "udp", "remote": {"ports": ["9000-9010", n]}}))
    };
    bed.ctl.apply(&[fifth(9100)]);
    let to = bed.net.server.at(9000);
    let sink = bed.server.udp_sink(to);
    let mut sent = 0;
    // 21 is no multiple of five, so that a count that begins anew with a change would show.
    for n in 0..12 {
        bed.ctl.apply(&[fifth(9200 + n)]);
        bed.client.udp_send_from(None, to, sent, 21, 64);
        sent += 21;
    }
    assert_eq!(sent, 252);
    bed.client.udp_send_from(None, to, sent, 100, 64);
    sent += 100;
    eventually(SOON, "50 are lost", || {
        bed.server.sink_report(sink).received() == sent - 50
    });
    let lost = bed.server.sink_report(sink).lost(sent);
    let want: Vec<u64> = (1..=50).map(|n| n * 5 - 1).collect();
    assert_eq!(
        lost, want,
        "every fifth, as if it had never been changed, and then no more"
    );
    assert_eq!(bed.ctl.wait_for_phase("fifth", "Ended").reason(), "Budget");
}

#[test]
fn a_change_acts_within_ten_milliseconds() {
    let bed = Bed::new();
    let api = Api::of(&bed.daemon);
    bed.server.udp_echo(bed.net.server.at(9001));
    let cut = |ports: &[u16]| {
        bed.on_client("cut", json!({"partition": {}}))
            .traffic(udp_ports(ports))
    };
    bed.ctl.apply(&[cut(&[9000])]);
    let probe = bed
        .client
        .probe(bed.net.server.at(9001), Duration::from_micros(200));
    let mut times = Vec::new();
    for round in 0..9 {
        let start = monotonic_nanos();
        let answer = api.apply(&[cut(&[9000, 9001])]);
        assert!((200..300).contains(&answer.status), "{answer:?}");
        let answered = monotonic_nanos();
        eventually(SOON, "a question is lost", || {
            let report = bed.client.probe_report(probe);
            report
                .last_lost(report.now - 5_000_000)
                .is_some_and(|lost| lost > start)
        });
        let report = bed.client.probe_report(probe);
        let lost: Vec<u64> = report
            .between(start, u64::MAX)
            .iter()
            .filter(|s| s.answered.is_none())
            .map(|s| s.asked)
            .collect();
        times.push((lost[0] - start) / 1000);
        // When the daemon has said yes, it is so.
        let late = report
            .between(answered, answered + 5_000_000)
            .iter()
            .filter(|s| s.answered.is_some())
            .count();
        assert_eq!(late, 0, "round {round}: answered after the change was confirmed");
        let answer = api.apply(&[cut(&[9000])]);
        assert!((200..300).contains(&answer.status), "{answer:?}");
        let now = monotonic_nanos();
        eventually(SOON, "it comes back", || {
            bed.client.probe_report(probe).first_answered(now).is_some()
        });
    }
    times.sort_unstable();
    // The machine may be busy with something else in a round or two; half of them must be quick.
    assert!(
        times[times.len() / 2] < patience(Duration::from_millis(10)).as_micros() as u64,
        "µs from the request to its effect: {times:?}"
    );
}

#[test]
fn two_faults_act_in_the_order_of_their_creation_and_removing_one_leaves_the_other_exact() {
    let bed = Bed::new();
    let udp = || json!({"protocol": "udp"});
    bed.ctl.apply(&[bed
        .on_client("fifth", json!({"drop": {"every": 5}}))
        .traffic(udp())]);
    bed.ctl.apply(&[bed
        .on_client("twice", json!({"duplicate": {}}))
        .traffic(udp_ports(&[9000]))]);
    // Of 1,000 the first loses 200, the second doubles what is left.
    let report = bed.send(bed.net.server.at(9000), 1000);
    assert_eq!((report.unique(), report.received()), (800, 1600));
    bed.wait_for_packets("fifth", "matched", 1000);
    bed.wait_for_packets("twice", "matched", 800);
    // The other port knows the first one only.
    let report = bed.send(bed.net.server.at(9001), 1000);
    assert_eq!((report.unique(), report.received()), (800, 800));
    let text = bed.ctl.ok(&["get", "faults", "-o", "name"]).stdout;
    assert!(text.contains("fifth") && text.contains("twice"), "{text}");

    bed.ctl.delete("fifth");
    let report = bed.send(bed.net.server.at(9002), 1000);
    assert_eq!(report.received(), 1000, "nothing is left for the other port");
    bed.wait_for_packets("twice", "matched", 800);
    bed.ctl.apply(&[bed
        .on_client("twice", json!({"duplicate": {}}))
        .traffic(udp_ports(&[9000, 9003]))]);
    let report = bed.send(bed.net.server.at(9003), 1000);
    assert_eq!(
        (report.unique(), report.received()),
        (1000, 2000),
        "the other one is exact"
    );
    bed.delete("twice");
}

#[test]
fn two_losses_in_a_row_lose_half_of_half() {
    let bed = Bed::new();
    let every = |name: &str, n: u32| {
        bed.on_client(name, json!({"drop": {"every": n}}))
            .traffic(json!({"protocol": "udp"}))
    };
    bed.ctl.apply(&[every("first", 2), every("second", 2)]);
    assert_eq!(bed.send(bed.net.server.at(9000), 1000).received(), 250);
    bed.wait_for_packets("first", "matched", 1000);
    bed.wait_for_packets("second", "matched", 500);
    bed.ctl.delete("first");
    assert_eq!(bed.send(bed.net.server.at(9001), 1000).received(), 500);
    bed.delete("second");
}

//! Packets that overtake others: how many, in what runs, and what becomes of the order of the rest.

use std::time::Duration;

use serde_json::json;

use crate::bed::Bed;
use crate::probes::{millis, overtaken, overtakers, quantile, questions, udp, waits};

#[test]
fn some_overtake_when_asked_to() {
    let bed = Bed::new();
    let to = bed.net.server.at(7000);
    bed.server.udp_echo(to);
    bed.ctl.apply(&[bed
        .on_client(
            "swapped",
            json!({"delay": {"latency": "20ms"}, "reorder": {"chance": "25%", "gap": 5}}),
        )
        .traffic(udp(7000))]);
    let report = questions(&bed, to, Duration::from_millis(1), 2_000);
    let quick = overtakers(&report, 2_000) as u64;
    // No more than jumped: those that wait keep their order among themselves.
    let view = bed.delete("swapped");
    assert!(view.packets("reordered") >= quick && view.packets("reordered") < quick + 60);
    // One in five may, one in four of those does, and then the count begins anew: 4 + 4 packets on average.
    assert!((200..300).contains(&quick), "{quick} of 2000 overtook");
}

#[test]
fn without_a_delay_those_that_are_hit_are_overtaken() {
    let bed = Bed::new();
    let to = bed.net.server.at(7000);
    bed.server.udp_echo(to);
    bed.ctl.apply(&[bed
        .on_client("swapped", json!({"reorder": {"chance": "10%"}}))
        .traffic(udp(7000))]);
    let report = questions(&bed, to, Duration::from_millis(1), 2_000);
    let view = bed.delete("swapped");
    let held = overtaken(&report, 2_000) as u64;
    assert!(
        chaos_tests::binomial_999(2_000, 0.10).contains(&held),
        "{held} of 2000 held back"
    );
    assert!(view.packets("reordered") >= held);
    let median = quantile(&millis(&report, 2_000), 0.5);
    assert!(median < 2.0, "the others are not: {median}");
}

/// Jitter by itself overtakes nobody under `order: keep`; who jumps does.
#[test]
fn of_packets_that_keep_their_order_only_those_jump_that_are_chosen() {
    let bed = Bed::new();
    const COUNT: usize = 2_000;
    for (name, order, chance) in [
        ("kept", "keep", "0%"),
        ("some", "keep", "10%"),
        ("free", "free", "0%"),
    ] {
        let to = bed.net.server.at(7000);
        if name == "kept" {
            bed.server.udp_echo(to);
        }
        let delay = json!({"latency": "30ms", "jitter": "5ms", "order": order});
        bed.ctl.apply(&[bed
            .on_client(name, json!({"delay": delay, "reorder": {"chance": chance}}))
            .traffic(udp(7000))]);
        let report = questions(&bed, to, Duration::from_millis(1), COUNT);
        let (jumped, passed) = (overtakers(&report, COUNT), overtaken(&report, COUNT));
        let reordered = bed.delete(name).packets("reordered");
        let told = format!("{name}: {jumped} overtook {passed}, {reordered} chosen");
        match name {
            "kept" => assert_eq!((jumped, reordered), (0, 0), "{told}"),
            "some" => {
                let bounds = chaos_tests::binomial_999(COUNT as u64, 0.1);
                assert!(bounds.contains(&(jumped as u64)), "{told}");
                assert!(jumped as u64 <= reordered, "{told}: the others keep their order");
                assert!(passed > COUNT / 2, "{told}: who jumps passes some thirty");
            }
            _ => assert!(reordered == 0 && jumped > COUNT / 5, "{told}"),
        }
    }
}

#[test]
fn a_correlated_reorder_jumps_in_runs_and_as_often_as_asked() {
    let bed = Bed::new();
    const COUNT: usize = 4_000;
    let to = bed.net.server.at(7000);
    bed.server.udp_echo(to);
    bed.ctl.apply(&[bed
        .on_client(
            "runs",
            json!({"delay": {"latency": "20ms"}, "reorder": {"chance": "20%", "correlation": "75%"}}),
        )
        .traffic(udp(7000))]);
    let quick: Vec<f64> = waits(&bed, to, Duration::from_millis(1), COUNT)
        .iter()
        .map(|wait| f64::from(u8::from(*wait < 10.0)))
        .collect();
    let share = quick.iter().sum::<f64>() / COUNT as f64;
    // The deviation of the share is that of 4,000 draws, widened by the root of (1 + 0.75) / (1 - 0.75): 1.7 %.
    assert!((share - 0.2).abs() < 3.3 * 0.0168, "{share}");
    let alike = chaos_tests::lag1_correlation(&quick);
    assert!((alike - 0.75).abs() < 0.08, "{alike}");
    bed.delete("runs");
}

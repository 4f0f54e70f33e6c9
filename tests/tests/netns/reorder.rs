//! Packets that overtake others: how many, in what runs, and what becomes of the order of the rest.

use std::time::Duration;

use serde_json::json;

use crate::bed::Bed;
use crate::probes::{millis, overtaken, quantile, questions, udp, waits};

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
    let found = millis(&report, 2_000);
    let quick = found.iter().filter(|wait| **wait < 18.0).count() as u64;
    // Those that wait keep their order among themselves.
    let waited: Vec<Option<u64>> = report.samples[..2_000]
        .iter()
        .zip(&found)
        .filter(|(_, wait)| **wait >= 18.0)
        .map(|(sample, _)| sample.answered)
        .collect();
    assert!(waited.is_sorted());
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
    let found = waits(&bed, to, Duration::from_millis(1), 2_000);
    let view = bed.delete("swapped");
    let held = found.iter().filter(|wait| **wait >= 10.0).count() as u64;
    assert!(
        chaos_tests::binomial_999(2_000, 0.10).contains(&held),
        "{held} of 2000 held back"
    );
    assert!(view.packets("reordered") >= held);
    assert!(
        quantile(&found, 0.5) < 2.0,
        "the others are not: {}",
        quantile(&found, 0.5)
    );
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
        let times = millis(&report, COUNT);
        // Whoever waits, waits for four deviations less than the latency at least; whoever jumps may be late.
        let jumped = times.iter().filter(|wait| **wait < 10.0).count();
        let waited: Vec<u64> = report.samples[..COUNT]
            .iter()
            .zip(&times)
            .filter(|(_, wait)| **wait >= 10.0)
            .map(|(sample, _)| sample.answered.expect("answered"))
            .collect();
        let swapped = overtaken(&report, COUNT);
        let told = format!("{name}: {jumped} jumped, {swapped} overtook");
        match name {
            "kept" => assert_eq!((jumped, swapped), (0, 0), "{told}"),
            "some" => {
                let bounds = chaos_tests::binomial_999(COUNT as u64, 0.1);
                assert!(bounds.contains(&(jumped as u64)), "{told}");
                assert!(waited.is_sorted(), "{told}: the others keep their order");
                // All but those that follow another one that jumped.
                assert!(swapped > jumped * 7 / 10, "{told}");
            }
            _ => assert!(jumped == 0 && swapped > COUNT / 5, "{told}"),
        }
        bed.delete(name);
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

//! Delay by `fq`: how true it is of each packet, for which the line has to know what it takes itself.

use std::time::Duration;

use chaos_tests::{FaultFile, need, oneway, require_fq};
use serde_json::json;

use crate::bed::Bed;
use crate::kernel_delay::{lost, ways};
use crate::probes::{delay, quantile, udp};

const PACE: Duration = Duration::from_millis(1);

/// What the line itself takes is measured, and taken off the waits that follow: never so much that one is too short.
#[test]
fn none_is_early_whatever_came_before_it() {
    need!(require_fq());
    const LATENCY: f64 = 10.0;
    let bed = Bed::new();
    bed.ctl
        .apply(&[bed.on_client("late", delay("10ms")).traffic(udp(7000))]);
    assert_eq!(ways(&bed.ctl.fault("late")), ["kernel"]);
    // Alone, in a crowd, and alone again. One whom the scheduler moves meanwhile may lose packets (docs/limitations.md).
    for (count, pace) in [(200, 5_000), (4_000, 50), (200, 5_000), (4_000, 0), (200, 5_000)] {
        let late = oneway::run_staying(&bed.net, count, Duration::from_micros(pace)).delays(0.0);
        let told = format!(
            "{count} each {pace} µs: least {:.4}, median {:.4}",
            quantile(&late, 0.0),
            quantile(&late, 0.5)
        );
        println!("{told}");
        assert_eq!(late.len(), count, "{told}");
        assert!(quantile(&late, 0.0) >= LATENCY, "{told}");
    }
    assert_eq!(lost(&bed), 0);
    bed.delete("late");
}

/// What leaves the queue before its time is held for the rest also when its fault has ended meanwhile.
#[test]
fn what_waits_when_its_fault_ends_is_not_early() {
    need!(require_fq());
    const LATENCY: f64 = 300.0;
    const ENDS: usize = 800;
    let bed = Bed::new();
    bed.ctl
        .apply(&[bed.on_client("late", delay("300ms")).traffic(udp(7000))]);
    assert_eq!(ways(&bed.ctl.fault("late")), ["kernel"]);
    let run = oneway::run_doing(&bed.net, ENDS + 50, PACE, |number| {
        if number == ENDS {
            bed.ctl.delete("late");
        }
    });
    assert_eq!(run.lost(), 0.0);
    let (before, after) = run.took.split_at(ENDS);
    let least = before.iter().flatten().copied().fold(f64::MAX, f64::min);
    assert!(least >= LATENCY, "{least:.4}");
    let longest = after.iter().flatten().copied().fold(0.0, f64::max);
    assert!(longest < LATENCY, "{longest:.4}");
}

/// Of the first packets of a line nothing is known for as long as they wait, but for what another line has learnt.
#[test]
fn a_new_line_knows_what_another_has_learnt() {
    need!(require_fq());
    const LATENCY: f64 = 100.0;
    let bed = Bed::new();
    let healthy = quantile(&oneway::run(&bed.net, 100, PACE).delays(0.0), 0.5);
    let ours = bed.on_client("late", delay("100ms")).traffic(udp(7000));
    // How late the first packets are, which are sent before any comes through. And then those that it learns by.
    let first = || {
        let mut late = oneway::run(&bed.net, 300, PACE).delays(healthy);
        late.truncate(80);
        quantile(&late, 0.5)
    };
    bed.ctl.apply(std::slice::from_ref(&ours));
    assert_eq!(ways(&bed.ctl.fault("late")), ["kernel"]);
    let unknown = first() - LATENCY;
    bed.ctl.delete("late");
    bed.ctl.apply(&[ours]);
    let after_another = first() - LATENCY;
    let arriving = json!({"direction": "ingress", "protocol": "udp", "local": {"ports": [7000]}});
    let theirs = FaultFile::on_device("later", &bed.net.server.device, delay("100ms"));
    bed.ctl.apply(&[theirs.traffic(arriving)]);
    assert_eq!(ways(&bed.ctl.fault("later")), ["kernel"]);
    let beside_another = first() - 2.0 * LATENCY;
    let told = format!(
        "unknown {unknown:.4}, after another {after_another:.4}, two, beside another {beside_another:.4}"
    );
    println!("{told}");
    assert!(after_another < unknown / 2.0, "{told}");
    assert!(beside_another < unknown, "{told}");
    bed.ctl.delete("late");
    bed.delete("later");
}

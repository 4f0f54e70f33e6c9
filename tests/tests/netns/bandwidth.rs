//! No more than a rate, and others as they were.

use std::time::Duration;

use chaos_tests::{Process, need, require_program};
use serde_json::{Value, json};

use crate::bed::Bed;

/// Scenario 12, shorter.
#[test]
fn a_stream_gets_its_rate_without_losses_and_the_neighbour_the_rest() {
    need!(require_program("iperf3"));
    let bed = Bed::new();
    let server = bed.net.server.v4.to_string();
    let netns = &bed.net.server.netns;
    let _slow = Process::spawn(netns, None, &["iperf3", "-s", "-p", "5201"]).listens(netns, 5201);
    let _fast = Process::spawn(netns, None, &["iperf3", "-s", "-p", "5202"]).listens(netns, 5202);
    bed.ctl.apply(&[bed
        .on_client("slow", json!({"bandwidth": {"rate": "10mbit", "burst": "32KiB"}}))
        .traffic(json!({"protocol": "tcp", "remote": {"ports": [5201]}}))]);
    let run = |port: &str, seconds: &str, control: &str| {
        let argv = [
            "iperf3", "-c", &server, "-p", port, "-t", seconds, "-O", "2", "-C", control, "-J",
        ];
        let done = Process::spawn(&bed.net.client.netns, None, &argv).finish(Duration::from_secs(40));
        let report: Value = serde_json::from_str(&done.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}{}", done.stdout, done.stderr));
        let received = report["end"]["sum_received"]["bits_per_second"]
            .as_f64()
            .expect("a rate");
        let retransmits = report["end"]["sum_sent"]["retransmits"]
            .as_u64()
            .expect("a count");
        (received / 1e6, retransmits)
    };
    let (mbit, retransmits) = run("5201", "8", "cubic");
    println!("{mbit:.2} Mbit/s, {retransmits} retransmitted");
    // 10 Mbit/s of frames with 1,448 bytes of payload in 1,514 are 9.56 of payload.
    assert!((9.3..10.0).contains(&mbit), "{mbit} Mbit/s");
    // 8 seconds are 6,600 packets.
    assert!(retransmits <= 6, "{retransmits} retransmitted");
    let (mbit, _) = run("5202", "2", "cubic");
    assert!(mbit > 500.0, "the neighbour: {mbit} Mbit/s");
    let view = bed.delete("slow");
    assert!(view.packets("throttled") > 5_000);
}

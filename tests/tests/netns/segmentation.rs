//! Bulk TCP, whose packets are cut to wire size behind our hook: chances are of wire packets all the same.

use std::time::Duration;

use chaos_tests::{Process, need, require_program};
use serde_json::{Value, json};

use crate::bed::Bed;

/// What a bulk stream of some seconds came to.
#[derive(Debug)]
struct Bulk {
    mbit: f64,
    /// Retransmitted share of all segments.
    retransmitted: f64,
}

fn bulk(bed: &Bed) -> Bulk {
    let server = bed.net.server.v4.to_string();
    let argv = ["iperf3", "-c", &server, "-C", "cubic", "-t", "4", "-J"];
    let done = Process::spawn(&bed.net.client.netns, None, &argv).finish(Duration::from_secs(20));
    let report: Value =
        serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", done.stdout, done.stderr));
    let sum = &report["end"]["sum_sent"];
    let number = |name: &str| {
        sum[name]
            .as_f64()
            .unwrap_or_else(|| panic!("no {name}: {report}"))
    };
    let segment = report["start"]["tcp_mss_default"]
        .as_f64()
        .expect("iperf3 tells the segment size");
    Bulk {
        mbit: number("bits_per_second") / 1e6,
        retransmitted: number("retransmits") / (number("bytes") / segment),
    }
}

/// Scenario 4.
#[test]
fn one_percent_is_one_percent_of_wire_packets_with_super_packets_and_without() {
    need!(require_program("iperf3"));
    let mut bed = Bed::new();
    let _iperf =
        Process::spawn(&bed.net.server.netns, None, &["iperf3", "-s"]).listens(&bed.net.server.netns, 5201);
    let healthy = bulk(&bed);
    let lossy = |name: &str| {
        let traffic = json!({"protocol": "tcp", "remote": {"ports": [5201]}});
        bed.ctl.apply(&[bed
            .on_client(
                name,
                json!({"drop": {"chance": "1%"}, "delay": {"latency": "5ms"}}),
            )
            .traffic(traffic)]);
        let bulk = bulk(&bed);
        let view = bed.ctl.fault(name);
        let share = view.packets("dropped") as f64 / view.packets("matched") as f64;
        bed.ctl.delete(name);
        (bulk, share, view)
    };
    let (with, share, view) = lossy("gso-on");
    assert!(view.warnings().is_empty(), "{:?}", view.warnings());
    bed.net.client.netns.ip("link set c0 gso_max_segs 1");
    let (without, plain_share, _) = lossy("gso-off");
    bed.remember();
    let told = format!(
        "healthy {healthy:?}\nwith GSO {with:?}, {share} dropped\nwithout {without:?}, {plain_share} dropped"
    );
    println!("{told}");
    for (bulk, share) in [(&with, share), (&without, plain_share)] {
        // The loss is what was asked for, and TCP sends again what was lost and no more.
        assert!((0.008..0.012).contains(&share), "{told}");
        assert!((bulk.retransmitted / share - 1.0).abs() < 0.3, "{told}");
    }
    // Where the way takes longer than the sender's work, the same loss does the same to a stream, however its packets
    // left the socket. Runs of seconds differ by more than the 15 % of long ones.
    assert!((0.7..1.4).contains(&(with.mbit / without.mbit)), "{told}");
    assert!(with.mbit < healthy.mbit / 5.0, "{told}");
}

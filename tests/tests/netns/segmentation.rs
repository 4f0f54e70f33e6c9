//! Bulk TCP, whose packets are cut to wire size behind our hook: chances are of wire packets all the same.

use std::time::Duration;

use chaos_tests::{Process, eventually_some, need, require_program};
use serde_json::json;

use crate::bed::Bed;
use crate::stream::Stream;

/// What a bulk stream of some seconds came to.
#[derive(Debug)]
struct Bulk {
    mbit: f64,
    /// Retransmitted share of all wire packets.
    retransmitted: f64,
}

/// A stream of so many seconds, looked at with `ss -ti` as long as it lasts.
fn bulk(bed: &Bed, seconds: u32) -> Bulk {
    let server = bed.net.server.v4.to_string();
    let time = seconds.to_string();
    let argv = ["iperf3", "-c", &server, "-C", "cubic", "-t", &time];
    let mut iperf = Process::spawn(&bed.net.client.netns, None, &argv);
    let mut last = None;
    let patience = Duration::from_secs(u64::from(seconds) + 20);
    let status = eventually_some(patience, "the stream ends", || {
        last = Stream::of(&bed.net.client.netns, 5201)
            .filter(|stream| stream.segments > 100)
            .or(last);
        iperf.ended()
    });
    assert!(status.success(), "{}", iperf.stderr());
    let stream = last.expect("ss has seen it");
    Bulk {
        mbit: stream.acknowledged as f64 * 8.0 / 1e6 / f64::from(seconds),
        retransmitted: stream.retransmitted as f64 / stream.segments as f64,
    }
}

/// Scenario 4.
#[test]
fn one_percent_is_one_percent_of_wire_packets_with_super_packets_and_without() {
    /// Long enough for a thousand losses: the rate that TCP finds between them wavers by its own dice.
    const SECONDS: u32 = 16;
    /// What a new device has.
    const MOST_SEGMENTS: u32 = 65_535;
    need!(require_program("iperf3"));
    let mut bed = Bed::new();
    let _iperf =
        Process::spawn(&bed.net.server.netns, None, &["iperf3", "-s"]).listens(&bed.net.server.netns, 5201);
    let healthy = bulk(&bed, 2);
    let lossy = |name: &str| {
        let traffic = json!({"protocol": "tcp", "remote": {"ports": [5201]}});
        bed.ctl.apply(&[bed
            .on_client(
                name,
                json!({"drop": {"chance": "1%"}, "delay": {"latency": "3ms"}}),
            )
            .traffic(traffic)]);
        let bulk = bulk(&bed, SECONDS);
        let view = bed.ctl.fault(name);
        let share = view.packets("dropped") as f64 / view.packets("matched") as f64;
        bed.ctl.delete(name);
        (bulk, share, view)
    };
    // What a stream makes of a loss depends on how long its way takes, and a machine that is busy with others makes it
    // longer: of three pairs, one has to have been spared.
    for attempt in 1..=3 {
        let gso = |most: u32| {
            bed.net
                .client
                .netns
                .ip(&format!("link set c0 gso_max_segs {most}"))
        };
        gso(MOST_SEGMENTS);
        let (with, share, view) = lossy(&format!("gso-on-{attempt}"));
        assert!(view.warnings().is_empty(), "{:?}", view.warnings());
        gso(1);
        let (without, plain_share, plain) = lossy(&format!("gso-off-{attempt}"));
        gso(MOST_SEGMENTS);
        let told = format!(
            "healthy {healthy:?}\nwith GSO {with:?}, {share} dropped\nwithout {without:?}, {plain_share} dropped"
        );
        println!("{told}");
        for (bulk, share, view) in [(&with, share, view), (&without, plain_share, plain)] {
            // The loss is what was asked for, and TCP sends again what was lost and no more.
            let bounds = chaos_tests::binomial_999(view.packets("matched"), 0.01);
            assert!(bounds.contains(&view.packets("dropped")), "{told}");
            assert!((bulk.retransmitted / share - 1.0).abs() < 0.1, "{told}");
        }
        assert!(with.mbit < healthy.mbit / 5.0, "{told}");
        // Where the way takes longer than the sender's work, the same loss does the same to a stream, however its
        // packets left the socket.
        let alike = (0.85..1.0 / 0.85).contains(&(with.mbit / without.mbit));
        assert!(alike || attempt < 3, "{told}");
        if alike {
            break;
        }
    }
    bed.remember();
}

//! Bulk TCP, whose packets are cut to wire size behind our hook: chances are of wire packets all the same.

use std::time::Duration;

use chaos_tests::{Process, eventually_some, monotonic_nanos, need, require_program, stalls};
use serde_json::json;

use crate::bed::Bed;
use crate::probes::mean;
use crate::stream::Stream;

/// What a bulk stream of some seconds came to.
#[derive(Debug)]
struct Bulk {
    mbit: f64,
    /// Mean congestion window, packets.
    window: f64,
    stream: Stream,
    /// How often the machine stood still meanwhile.
    stalls: u64,
}

/// A stream of so many seconds, looked at with `ss -ti` as long as it lasts.
fn bulk(bed: &Bed, seconds: u32) -> Bulk {
    let server = bed.net.server.v4.to_string();
    let time = seconds.to_string();
    let argv = ["iperf3", "-c", &server, "-C", "cubic", "-t", &time];
    let begun = monotonic_nanos();
    let mut iperf = Process::spawn(&bed.net.client.netns, None, &argv);
    let mut seen: Vec<Stream> = Vec::new();
    let patience = Duration::from_secs(u64::from(seconds) + 20);
    let status = eventually_some(patience, "the stream ends", || {
        let stream = Stream::of(&bed.net.client.netns, 5201);
        seen.extend(stream.filter(|stream| stream.segments > 100));
        iperf.ended()
    });
    assert!(status.success(), "{}", iperf.stderr());
    let windows: Vec<f64> = seen.iter().map(|stream| stream.window).collect();
    let stream = *seen.last().expect("ss has seen it");
    Bulk {
        mbit: stream.acknowledged as f64 * 8.0 / 1e6 / f64::from(seconds),
        window: mean(&windows),
        stream,
        stalls: stalls(begun, monotonic_nanos()).len() as u64,
    }
}

/// Scenario 4.
#[test]
fn one_percent_is_one_percent_of_wire_packets_with_super_packets_and_without() {
    /// Long enough for a thousand losses: the window that TCP finds between them wavers by its own dice.
    const SECONDS: u32 = 24;
    /// What a new device has.
    const MOST_SEGMENTS: u32 = 65_535;
    need!(require_program("iperf3"));
    let mut bed = Bed::new();
    let _iperf =
        Process::spawn(&bed.net.server.netns, None, &["iperf3", "-s"]).listens(&bed.net.server.netns, 5201);
    let healthy = bulk(&bed, 2);
    let lossy = |name: &str, most_segments: u32| {
        bed.net
            .client
            .netns
            .ip(&format!("link set c0 gso_max_segs {most_segments}"));
        let traffic = json!({"protocol": "tcp", "remote": {"ports": [5201]}});
        bed.ctl.apply(&[bed
            .on_client(
                name,
                json!({"drop": {"chance": "1%"}, "delay": {"latency": "3ms"}}),
            )
            .traffic(traffic)]);
        let bulk = bulk(&bed, SECONDS);
        let view = bed.ctl.fault(name);
        bed.ctl.delete(name);
        (bulk, view)
    };
    let (with, view) = lossy("gso-on", MOST_SEGMENTS);
    assert!(view.own_warnings().is_empty(), "{:?}", view.warnings());
    let (without, plain) = lossy("gso-off", 1);
    println!("healthy {healthy:?}");
    for (name, bulk, view) in [("with", &with, &view), ("without", &without, &plain)] {
        let (matched, dropped) = (view.packets("matched"), view.packets("dropped"));
        let told = format!("{name} GSO {bulk:?}, {dropped} of {matched} dropped");
        println!("{told}");
        // The loss is what was asked for.
        assert!(
            chaos_tests::binomial_999(matched, 0.01).contains(&dropped),
            "{told}"
        );
        // TCP sends again what was lost, and no more; but for one packet whenever the machine stands still for longer
        // than a sender waits for an answer before it asks again.
        let Stream {
            segments,
            retransmitted,
            twice,
            ..
        } = bulk.stream;
        let again = (retransmitted - twice.min(retransmitted)) as f64 / segments as f64;
        let lost = dropped as f64 / matched as f64;
        assert!((again / lost - 1.0).abs() < 0.1, "{told}");
        assert!(twice <= bulk.stalls + dropped / 20, "{told}");
        assert!(bulk.mbit < healthy.mbit / 5.0, "{told}");
    }
    // The same loss keeps the window of a stream the same, however its packets left the socket. (Its rate is that by the
    // round trip time, and that grows while the machine stands still.)
    let ratio = with.window / without.window;
    assert!(
        (0.85..1.0 / 0.85).contains(&ratio),
        "{ratio}: {with:?}, {without:?}"
    );
    bed.remember();
}

//! More than a line can take: TCP hears of it and keeps the rest, so that nothing is lost.

use chaos_tests::rate::kept_by_sockets;
use chaos_tests::{Process, is_emulated, need, require_program};
use serde_json::{Value, json};

use crate::bed::Bed;
use crate::line::{Saturated, cpus, saturate};

/// A user line on whose ends a stream may have far more on its way than an entrance has room for. The veths swap nothing,
/// whichever CPU sends.
fn wide() -> (Bed, Process) {
    let bed = Bed::with(&["--line", "user"]);
    for end in [&bed.net.client, &bed.net.server] {
        for buffer in ["ipv4/tcp_rmem", "ipv4/tcp_wmem"] {
            end.netns.sysctl(buffer, "4096 262144 67108864");
        }
        end.device.steer();
    }
    let server = &bed.net.server.netns;
    let iperf = Process::spawn(server, None, &["iperf3", "-s"]).listens(server, 5201);
    (bed, iperf)
}

fn under(bed: &Bed, fault: &Value, streams: u32) -> Saturated {
    bed.ctl
        .apply(&[bed.on_client("full", fault.clone()).lasting("5m")]);
    let found = saturate(bed, streams, cpus::ANY);
    let kept = kept_by_sockets(&bed.daemon);
    let view = bed.delete("full");
    println!("{fault}, {streams}: {found:?}, kept {kept}");
    assert!(found.is_whole(), "{found:?}");
    // What the receiver refuses, the device gives back to the line.
    let lost = view.warnings().contains(&"LineLost");
    assert!(!lost || found.refused > 0, "{view:?}");
    found
}

/// Single wire packets, which the line cannot pass on as fast as TCP makes them.
#[test]
fn streams_that_are_faster_than_the_line_lose_nothing_at_its_entrance() {
    need!(require_program("iperf3"));
    let (bed, _iperf) = wide();
    for streams in [1, 8] {
        under(&bed, &json!({"drop": {"chance": "0%"}}), streams);
    }
    assert!(
        is_emulated() || kept_by_sockets(&bed.daemon) > 0,
        "the entrance was never full"
    );
}

/// Super-packets that wait for longer than the line has memory.
#[test]
fn streams_that_have_more_on_their_way_than_the_line_has_memory_lose_nothing_in_it() {
    need!(require_program("iperf3"));
    let (bed, _iperf) = wide();
    let found = under(&bed, &json!({"delay": {"latency": "300ms"}}), 8);
    // 256 MiB in 300 ms are 7 Gbit/s; the beginning of the streams is slow.
    assert!(is_emulated() || found.mbit > 1_000.0, "{found:?}");
}

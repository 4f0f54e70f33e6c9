//! How many small packets the user line carries.

use chaos_tests::rate::{Carried, carry};
use chaos_tests::workload::{Flood, Handing};
use chaos_tests::{is_emulated, is_full_run, need, require_tcx};
use serde_json::json;

use crate::bed::Bed;

/// Payload of a datagram.
const SMALL: usize = 22;

fn late(bed: &Bed, direction: &str) {
    // Answers on what the client sends are not asked for; what arrives at the server does so by its own line.
    let file = if direction == "egress" {
        bed.on_client("late", json!({"delay": {"latency": "10ms"}}))
    } else {
        bed.on_server("late", json!({"delay": {"latency": "10ms"}}))
    };
    bed.ctl.apply(&[file
        .traffic(json!({"direction": direction, "protocol": "udp"}))
        .lasting("5m")]);
}

/// What a busy machine carries all the same.
fn safe() -> u64 {
    if is_emulated() { 2_000 } else { 60_000 }
}

#[test]
fn at_a_rate_that_it_carries_the_line_loses_and_swaps_nothing() {
    need!(require_tcx());
    let bed = Bed::new();
    let rate = safe();
    let mut port = 7000;
    for direction in ["egress", "ingress"] {
        late(&bed, direction);
        for (handing, flows) in [
            (Handing::Messages(32), 1),
            (Handing::Messages(32), 8),
            (Handing::Messages(1), 16),
            (Handing::Segments(32), 1),
        ] {
            for v6 in [false, true] {
                port += 1;
                let to = if v6 {
                    bed.net.server.at6(port)
                } else {
                    bed.net.server.at(port)
                };
                let flood = Flood {
                    to,
                    size: SMALL,
                    rate,
                    count: rate,
                    flows,
                    handing,
                };
                // Once as most programs receive, once as those do that ask for more at once.
                let found = carry(&bed.daemon, &bed.client, &bed.server, &flood, v6);
                let told = format!("{direction} {to} {handing:?} {flows}: {found}");
                println!("{told}");
                let Carried { sent, received, .. } = found;
                assert_eq!((sent.accepted, sent.refused), (rate, 0), "{told}");
                assert_eq!(found.line_lost, 0, "{told}");
                assert_eq!(
                    (received.datagrams, received.swapped, received.odd),
                    (rate, 0, 0),
                    "{told}"
                );
            }
        }
        let view = bed.delete("late");
        // The hook counts wire packets, however many of them a super-packet is.
        assert_eq!(view.packets("delayed"), 8 * rate);
    }
}

/// No test but a table, of seconds where the whole is asked for: the same loads without a fault and through 10 ms, and
/// what each packet costs whom.
#[test]
fn what_a_packet_costs() {
    need!(require_tcx());
    let bed = Bed::new();
    let rates = if is_full_run() {
        vec![150_000, 200_000, 250_000]
    } else {
        vec![safe()]
    };
    let mut port = 7000;
    for fault in [false, true] {
        if fault {
            late(&bed, "egress");
        }
        for (handing, flows) in [
            (Handing::Messages(32), 1),
            (Handing::Messages(32), 8),
            (Handing::Messages(1), 1),
            (Handing::Messages(1), 64),
            (Handing::Segments(32), 1),
        ] {
            for &rate in &rates {
                port += 1;
                let flood = Flood {
                    to: bed.net.server.at(port),
                    size: SMALL,
                    rate,
                    count: rate,
                    flows,
                    handing,
                };
                let found = carry(&bed.daemon, &bed.client, &bed.server, &flood, true);
                let what = if fault { "10 ms" } else { "no fault" };
                println!("{what}, {handing:?}, {flows} flows, {rate}: {found}");
                let lost = flood.count - found.received.datagrams;
                assert!(fault || found.line_lost == 0);
                assert_eq!((found.received.swapped, found.received.odd), (0, 0));
                // Nothing goes missing without being counted by somebody.
                assert!(lost <= found.line_lost + found.sent.refused, "{found}");
            }
        }
    }
}

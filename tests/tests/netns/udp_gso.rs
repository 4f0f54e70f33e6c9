//! A sender that hands datagrams over as one message (`UDP_SEGMENT`): its wire packets are counted and hit one by one.

use std::time::Duration;

use chaos_tests::workload::{Flood, Handing};
use chaos_tests::{binomial_999, need, require_tcx, settled};
use serde_json::json;

use crate::bed::Bed;

/// So small that every flipped bit is seen.
const LABEL: usize = 20;

#[test]
fn wire_packets_of_udp_segmentation_are_hit_one_by_one() {
    need!(require_tcx());
    const COUNT: u64 = 20_000;
    let mut port = 7000;
    for line in ["kernel", "user"] {
        let bed = Bed::with(&["--line", line]);
        for (fault, counter, chance) in [
            (json!({"drop": {"chance": "2%"}}), "dropped", 0.02),
            (json!({"duplicate": {"chance": "2%"}}), "duplicated", 0.02),
            (
                json!({"corrupt": {"chance": "2%", "checksum": "fix"}}),
                "corrupted",
                0.02,
            ),
        ] {
            for (size, together) in [(LABEL, 50), (1000, 32)] {
                for v6 in [false, true] {
                    port += 1;
                    let server = &bed.net.server;
                    let to = if v6 { server.at6(port) } else { server.at(port) };
                    let told = format!("{line} {fault} {to} {size}");
                    bed.ctl.apply(&[bed
                        .on_client("acts", fault.clone())
                        .traffic(json!({"protocol": "udp", "remote": {"ports": [port]}}))]);
                    let sink = bed.server.udp_count(to, size, false);
                    let sent = bed.client.udp_flood(&Flood {
                        to,
                        size,
                        rate: 20_000,
                        count: COUNT,
                        flows: 1,
                        handing: Handing::Segments(together),
                    });
                    assert_eq!((sent.accepted, sent.refused), (COUNT, 0), "{told}");
                    settled(Duration::from_millis(200), || {
                        bed.server.udp_counted(sink).datagrams
                    });
                    let received = bed.server.udp_counted(sink);
                    let view = bed.delete("acts");
                    let hits = view.packets(counter);
                    println!("{told}: {hits} hit, {received:?}");
                    assert_eq!(view.packets("matched"), COUNT, "{told}");
                    assert!(binomial_999(COUNT, chance).contains(&hits), "{told}: {hits}");
                    let (lost, more, odd) = match counter {
                        "dropped" => (hits, 0, 0),
                        "duplicated" => (0, hits, 0),
                        _ => (0, 0, hits),
                    };
                    assert_eq!(received.datagrams, COUNT - lost + more, "{told}");
                    // Of larger ones, most flips lie where nobody looks.
                    if size == LABEL || odd == 0 {
                        assert_eq!(received.odd, odd, "{told}");
                    }
                    assert!(!view.warnings().contains(&"SuperPackets"), "{told}");
                }
            }
        }
    }
}

//! One stream behind a rate.

use chaos_bench::{Better, Row, Target};
use chaos_tests::bulk::{Stream, stream};
use chaos_tests::{Skip, is_emulated, require_program};
use serde_json::json;

use crate::paths::{self, Bed, require_netem};
use crate::run::{Run, in_turns};

/// Payload in full frames: 1448 of 1514 bytes.
const PAYLOAD: f64 = 1448.0 / 1514.0;

pub(crate) fn measure(run: &mut Run) -> Result<(), Skip> {
    require_program("iperf3")?;
    let (peer, rounds, most) = if is_emulated() {
        require_netem()?;
        // An emulated machine does not come to more.
        ("netem rate", 2, 100)
    } else {
        ("tbf", if run.is_quick() { 1 } else { 3 }, 1000)
    };
    for rate in [1_u32, 10, 100, 1000].into_iter().filter(|rate| *rate <= most) {
        let bed = Bed::with(&[]);
        let qdisc = if is_emulated() {
            format!("netem limit 1000 rate {rate}mbit")
        } else {
            // Above 100 Mbit/s tbf needs room for a super-packet.
            let burst = if rate > 100 { "128kb" } else { "32kb" };
            format!("tbf rate {rate}mbit burst {burst} latency 400ms")
        };
        // At 1 Mbit/s a second is 83 packets.
        let seconds = if rate == 1 { 12 } else { 6 };
        let fault = json!({"bandwidth": {"rate": format!("{rate}mbit"), "burst": "32KiB"}});
        let (mut ours, mut theirs): (Vec<Stream>, Vec<Stream>) = Default::default();
        let measure = || stream(&bed.net, "cubic", seconds, 2);
        in_turns(
            rounds,
            || {
                ours.push(bed.under(&fault, measure));
                0.0
            },
            || {
                theirs.push(bed.behind(&qdisc, measure));
                0.0
            },
        );
        let asked = f64::from(rate) * PAYLOAD;
        for (who, of) in [("", &ours), (peer, &theirs)] {
            let pairs: Vec<(f64, f64)> = of.iter().map(|stream| (stream.mbit, asked)).collect();
            let name = format!("{rate} Mbit/s: payload {who}");
            let row = Row::new(
                name.trim_end(),
                "Mbit/s",
                Better::Higher,
                "the rate asked for",
                &pairs,
            );
            run.row(if who.is_empty() {
                row.target(Target::Within(0.02))
            } else {
                row.remark("the peer's own")
            });
        }
        paths::sent_again(run, &format!("{rate} Mbit/s"), peer, &ours, &theirs);
    }
    Ok(())
}

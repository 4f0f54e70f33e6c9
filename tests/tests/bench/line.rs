//! A saturated wire path with nothing to do, beside one without a daemon.

use chaos_bench::{Better, Row, Target};
use chaos_tests::bulk::{Stream, streams};
use chaos_tests::{Skip, require_program};
use serde_json::json;

use crate::paths::{self, Bed};
use crate::run::{Run, in_turns};

pub(crate) fn measure(run: &mut Run) -> Result<(), Skip> {
    require_program("iperf3")?;
    let (rounds, seconds) = if run.is_quick() { (2, 2) } else { (5, 4) };
    for (line, count) in [("kernel", 1), ("kernel", 8), ("user", 1), ("user", 8)] {
        let bed = Bed::with(&["--line", line]);
        let parallel = count.to_string();
        // A veth swaps what two processors send for one socket, with or without a daemon: what is swapped here, a line has
        // swapped.
        for end in [&bed.net.client, &bed.net.server] {
            end.device.steer();
        }
        let words = ["-C", "cubic", "-P", &parallel, "-A", "0"];
        let mut ours: Vec<Stream> = Vec::new();
        let mut theirs: Vec<Stream> = Vec::new();
        let pairs = in_turns(
            rounds,
            || {
                let stream = bed.under(&json!({"drop": {"chance": "0%"}}), || {
                    streams(&bed.net, &words, seconds)
                });
                ours.push(stream);
                stream.mbit
            },
            || {
                let stream = streams(&bed.net, &words, seconds);
                theirs.push(stream);
                stream.mbit
            },
        );
        let name = if count == 1 {
            format!("{line} line, 1 stream")
        } else {
            format!("{line} line, {count} streams")
        };
        let mut row = Row::new(&*name, "Mbit/s", Better::Higher, "no fault", &pairs);
        if line == "kernel" {
            row = row.target(Target::RatioAtLeast(0.4));
        }
        run.row(row);
        paths::sent_again(run, &name, "no fault", &ours, &theirs);
    }
    Ok(())
}

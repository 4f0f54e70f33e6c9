//! Bulk TCP by iperf3, and what the kernel counts meanwhile.

use std::fs;
use std::time::Duration;

use chaos_tests::Process;
use serde_json::Value;

use crate::bed::Bed;

/// What a stream came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    /// Payload that arrived, Mbit/s.
    pub(crate) mbit: f64,
    /// Segments sent again.
    pub(crate) again: f64,
    /// Of all segments as they are on the wire.
    pub(crate) share: f64,
}

/// One stream for `seconds`, after `warm` that do not count for its speed.
pub(crate) fn stream(bed: &Bed, control: &str, seconds: u32, warm: u32) -> Stream {
    let netns = &bed.net.server.netns;
    let _server = Process::spawn(netns, None, &["iperf3", "-s", "-1"]).listens(netns, 5201);
    let (to, seconds, warm) = (
        bed.net.server.v4.to_string(),
        seconds.to_string(),
        warm.to_string(),
    );
    let argv = [
        "iperf3", "-c", &to, "-C", control, "-t", &seconds, "-O", &warm, "-J", "-i", "0",
    ];
    let before = segments(bed);
    let done = Process::spawn(&bed.net.client.netns, None, &argv).finish(Duration::from_secs(60));
    let after = segments(bed);
    let report: Value =
        serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", done.stdout, done.stderr));
    let rate = report["end"]["sum_received"]["bits_per_second"]
        .as_f64()
        .unwrap_or_else(|| panic!("no rate: {report}"));
    let (sent, again) = (after.0 - before.0, after.1 - before.1);
    Stream {
        mbit: rate / 1e6,
        again,
        share: again / sent,
    }
}

/// TCP segments sent so far by the client, and sent again; as the wire has them.
fn segments(bed: &Bed) -> (f64, f64) {
    let text = bed
        .net
        .client
        .netns
        .enter(|| fs::read_to_string("/proc/thread-self/net/snmp"))
        .expect("there is a proc");
    let mut lines = text.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, numbers) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let number = |wanted: &str| {
        names
            .split_whitespace()
            .zip(numbers.split_whitespace())
            .find(|(name, _)| *name == wanted)
            .and_then(|(_, number)| number.parse::<f64>().ok())
            .unwrap_or_else(|| panic!("no {wanted} in {names}"))
    };
    // Sent again are not among those sent.
    let again = number("RetransSegs");
    (number("OutSegs") + again, again)
}

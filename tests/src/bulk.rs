//! Bulk TCP by iperf3, and what the kernel counts meanwhile.

use std::time::Duration;

use serde_json::Value;

use crate::{Netns, Pair, Process};

/// What a stream came to.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// Payload that arrived, Mbit/s.
    pub mbit: f64,
    /// Segments sent again.
    pub again: f64,
    /// Of all segments as they are on the wire.
    pub share: f64,
}

/// One stream for `seconds`, after `warm` that do not count for its speed.
pub fn stream(net: &Pair, control: &str, seconds: u32, warm: u32) -> Stream {
    streams(net, &["-C", control, "-O", &warm.to_string()], seconds)
}

/// iperf3 from the client to the server with these words, for `seconds`.
///
/// # Panics
/// When it fails.
pub fn streams(net: &Pair, words: &[&str], seconds: u32) -> Stream {
    let to = net.server.v4.to_string();
    streams_to(net, &to, words, seconds)
}

/// The same to an address of the client's own, behind which somebody passes it on to the server.
///
/// # Panics
/// When it fails.
pub fn streams_to(net: &Pair, to: &str, words: &[&str], seconds: u32) -> Stream {
    let server = &net.server.netns;
    let _server = Process::spawn(server, None, &["iperf3", "-s", "-1"]).listens(server, 5201);
    let time = seconds.to_string();
    let argv: Vec<&str> = ["iperf3", "-c", to, "-t", &time, "-J", "-i", "0"]
        .into_iter()
        .chain(words.iter().copied())
        .collect();
    let client = &net.client.netns;
    let before = segments(client);
    let done = Process::spawn(client, None, &argv).finish(Duration::from_secs(60));
    let after = segments(client);
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

/// TCP segments sent so far in a namespace, and sent again; as the wire has them.
fn segments(netns: &Netns) -> (f64, f64) {
    // Sent again are not among those sent.
    let again = netns.tcp_count("RetransSegs") as f64;
    (netns.tcp_count("OutSegs") as f64 + again, again)
}

//! Round trips of small datagrams, and a stream of TCP, over a cable.

use std::fs;
use std::time::Duration;

use chaos_tests::{Netns, Pair, Process, Workload, eventually_some};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::Value;

use chaos_bench::quantile;

const ECHO: u16 = 7000;
const IPERF: u16 = 5201;

/// A cable whose far end echoes datagrams and takes streams.
pub(crate) struct Cable {
    pub(crate) net: Pair,
    client: Workload,
    socket: chaos_tests::workload::Handle,
    _server: Workload,
    _iperf: Process,
}

impl Cable {
    pub(crate) fn new() -> Self {
        let net = Pair::new();
        let server = Workload::start(&net.server.netns, None);
        server.udp_echo(net.server.at(ECHO));
        let client = Workload::start(&net.client.netns, None);
        let socket = client.udp_open(None, Some(net.server.at(ECHO)));
        for end in [&client, &server] {
            on_one_cpu(end.pid());
        }
        let iperf =
            Process::spawn(&net.server.netns, None, &["iperf3", "-s"]).listens(&net.server.netns, IPERF);
        Self {
            net,
            client,
            socket,
            _server: server,
            _iperf: iperf,
        }
    }

    pub(crate) fn client(&self) -> &Netns {
        &self.net.client.netns
    }

    /// The middle of `count` round trips, in microseconds.
    pub(crate) fn round_trip_us(&self, count: usize) -> f64 {
        let times: Vec<f64> = (0..count)
            .map(|_| {
                let asked = self.client.udp_ask(self.socket, Duration::from_secs(1));
                asked.nanos as f64 / 1e3
            })
            .collect();
        quantile(&times, 0.5)
    }

    /// What one TCP stream (cubic) brings over in `seconds`, in Gbit/s.
    pub(crate) fn stream_gbit(&self, seconds: u32) -> f64 {
        let (to, seconds) = (self.net.server.v4.to_string(), seconds.to_string());
        eventually_some(
            Duration::from_secs(10),
            "the server has ended the stream before",
            || {
                let text = self.client().run(&[
                    "iperf3", "-c", &to, "-C", "cubic", "-t", &seconds, "-J", "-i", "0",
                ]);
                let report: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
                if report["error"]
                    .as_str()
                    .is_some_and(|error| error.contains("busy"))
                {
                    return None;
                }
                let rate = report["end"]["sum_received"]["bits_per_second"].as_f64();
                Some(rate.unwrap_or_else(|| panic!("no rate: {text}")) / 1e9)
            },
        )
    }
}

/// Has a process run on the first CPU: to wake another one is worth four round trips, and who is where is chance.
fn on_one_cpu(process: u32) {
    let mut first = CpuSet::new();
    first.set(0).expect("there is a first CPU");
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    for task in tasks.filter_map(Result::ok) {
        let number = task.file_name().to_str().and_then(|number| number.parse().ok());
        let task = Pid::from_raw(number.expect("a number"));
        sched_setaffinity(task, &first).expect("it may run there");
    }
}

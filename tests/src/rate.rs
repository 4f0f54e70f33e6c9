//! What a load of small datagrams comes to, and which thread pays how much for it.

use std::time::Duration;

use crate::workload::{Counted, Flood, Flooded};
use crate::{Daemon, Workload, eventually, settled};

/// What one load came to.
#[derive(Clone, Copy, Debug)]
pub struct Carried {
    pub sent: Flooded,
    pub received: Counted,
    /// Time of the daemon's line threads on a CPU, nanoseconds, from the first packet to the last.
    pub line_cpu: u64,
    /// Packets that the line lost, as the daemon counts them.
    pub line_lost: u64,
}

impl Carried {
    /// Datagrams a second that the sender came to.
    pub fn rate(&self) -> f64 {
        self.sent.accepted as f64 * 1e9 / self.sent.nanos.max(1) as f64
    }

    /// Nanoseconds of a CPU that sender, line and receiver spent on each packet.
    pub fn costs(&self) -> [f64; 3] {
        let each = |cpu: u64| cpu as f64 / self.sent.accepted.max(1) as f64;
        [self.sent.cpu, self.line_cpu, self.received.cpu].map(each)
    }
}

impl std::fmt::Display for Carried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [sender, line, receiver] = self.costs();
        let missing = self.sent.accepted.saturating_sub(self.received.datagrams);
        write!(
            f,
            "{:.0} a second; missing {missing}, lost by the line {}, refused {}, swapped {}, odd {}; CPU ns a packet: sender \
             {sender:.0}, line {line:.0}, receiver {receiver:.0}",
            self.rate(),
            self.line_lost,
            self.sent.refused,
            self.received.swapped,
            self.received.odd
        )
    }
}

/// Sends a load from one helper to another, and waits until all of it that still comes has come. `together`: the
/// receiver takes datagrams together where the kernel has them so.
pub fn carry(daemon: &Daemon, from: &Workload, to: &Workload, flood: &Flood, together: bool) -> Carried {
    let counter = to.udp_count(flood.to, flood.size, together);
    let lost = lost_by_lines(daemon);
    let cpu = line_cpu(daemon);
    let sent = from.udp_flood(flood);
    let came = || to.udp_counted(counter).datagrams;
    if came() < sent.accepted {
        settled(Duration::from_millis(300), came);
    }
    let line_cpu = line_cpu(daemon) - cpu;
    let line_lost = || lost_by_lines(daemon).saturating_sub(lost);
    // The daemon looks at the entrances of its lines once a second.
    let line_lost = if came() < sent.accepted {
        settled(Duration::from_millis(1_500), line_lost)
    } else {
        line_lost()
    };
    Carried {
        sent,
        received: to.udp_counted(counter),
        line_cpu,
        line_lost,
    }
}

/// Time on a CPU of all threads of lines, nanoseconds.
pub fn line_cpu(daemon: &Daemon) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("the daemon runs");
    tasks
        .filter_map(Result::ok)
        .filter(|task| {
            std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "chaos-line")
        })
        .filter_map(|task| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        })
        .sum()
}

/// Packets that lines have lost so far, by the daemon's metrics.
pub fn lost_by_lines(daemon: &Daemon) -> u64 {
    counted(daemon, "line_lost")
}

/// Packets that their sockets kept so far, because the entrance of their line was full.
pub fn kept_by_sockets(daemon: &Daemon) -> u64 {
    counted(daemon, "entrance_full")
}

/// Lets streams fill the entrances of a daemon's lines, which nobody reads while it is stopped, and does something more
/// meanwhile; for less than its lease. `come`: counts what arrives. Whether sockets were ever told to wait.
pub fn fill_entrances(daemon: &mut Daemon, come: impl Fn() -> u64, meanwhile: impl FnOnce()) -> bool {
    let before = come();
    eventually(Duration::from_secs(10), "the streams go on", || {
        come() > before + 2_000
    });
    daemon.sigstop();
    meanwhile();
    settled(Duration::from_millis(200), come);
    daemon.sigcont();
    kept_by_sockets(daemon) > 0
}

fn counted(daemon: &Daemon, what: &str) -> u64 {
    let answer = crate::Api::of(daemon).send("GET", "/metrics", "");
    let number = answer
        .body
        .lines()
        .find(|line| !line.starts_with('#') && line.contains(what))
        .and_then(|line| line.rsplit(' ').next())
        .and_then(|number| number.parse::<f64>().ok());
    number.unwrap_or_else(|| panic!("no {what} in the metrics: {}", answer.body)) as u64
}

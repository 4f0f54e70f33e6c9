//! What a daemon costs that runs no fault.

use std::fs;
use std::time::Duration;

use chaos_bench::{Better, Row, Target};
use chaos_tests::{Daemon, FaultFile, Skip, eventually, monotonic_nanos, settled, until};
use serde_json::json;

use crate::round_trip::Cable;
use crate::run::Run;

const TRIPS: usize = 2_000;
/// Longer than the verifier takes over one program.
const CALM: Duration = Duration::from_secs(3);
/// So long the daemon's time on the CPUs is counted.
const WATCHED: Duration = Duration::from_secs(20);

pub(crate) fn measure(run: &mut Run) -> Result<(), Skip> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Skip::NotRoot);
    }
    let cable = Cable::new();
    let mut daemon = Daemon::start();
    let pairs: Vec<(f64, f64)> = (0..8)
        .map(|_| {
            calm(&daemon);
            let with = cable.round_trip_us(TRIPS);
            daemon.stop();
            let without = cable.round_trip_us(TRIPS);
            daemon.start_again();
            (with, without)
        })
        .collect();
    run.row(
        Row::new(
            "round trip of a datagram",
            "µs",
            Better::Lower,
            "no daemon",
            &pairs,
        )
        .target(Target::RatioAtMost(1.02)),
    );
    at_rest(run, &daemon, "before any fault");
    // A daemon that has worked holds on to what it may need again.
    let fault = FaultFile::on_netns("once", cable.client(), json!({"partition": {}}));
    daemon.ctl().apply(&[fault]);
    daemon.ctl().delete("once");
    eventually(Duration::from_secs(5), "nothing is attached", || {
        daemon.bpf_objects().links.is_empty()
    });
    at_rest(run, &daemon, "after a fault");
    Ok(())
}

/// Waits until the daemon has loaded programs for the next namespace, which it does ahead.
fn calm(daemon: &Daemon) {
    settled(CALM, || daemon.bpf_objects());
}

fn at_rest(run: &mut Run, daemon: &Daemon, when: &str) {
    calm(daemon);
    let row = |name: &str, unit, value: f64, limit: f64| {
        Row::new(
            format!("{name}, {when}"),
            unit,
            Better::Lower,
            "the limit",
            &[(value, limit)],
        )
    };
    let links = daemon.bpf_objects().links.len() as f64;
    run.row(row("programs attached", "", links, 0.0).target(Target::AtMost(0.0)));
    let before = (monotonic_nanos(), busy_ns(daemon.pid()));
    until(before.0 + WATCHED.as_nanos() as u64);
    let after = (monotonic_nanos(), busy_ns(daemon.pid()));
    let share = (after.1 - before.1) as f64 / (after.0 - before.0) as f64 * 100.0;
    run.row(row("CPU", "%", share, 0.1).target(Target::AtMost(0.1)));
    run.row(row("resident memory", "MiB", resident_mib(daemon.pid()), 20.0).target(Target::AtMost(20.0)));
}

/// Nanoseconds that it was on a CPU, with threads that have ended.
fn busy_ns(pid: u32) -> u64 {
    let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
    let clock = nix::time::clock_getcpuclockid(pid).expect("the daemon runs");
    let time = nix::time::clock_gettime(clock).expect("its clock can be read");
    time.tv_sec().cast_unsigned() * 1_000_000_000 + time.tv_nsec().cast_unsigned()
}

fn resident_mib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the daemon runs");
    let kib: f64 = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .expect("a process has a size");
    kib / 1024.0
}

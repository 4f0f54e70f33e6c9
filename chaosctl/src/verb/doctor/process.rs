//! Is a daemon running at all? Looked up in /proc when none answers.

use std::fs;

use super::{Check, Health};

const DAEMON: &str = "chaos-daemon";

/// Nothing where there is no /proc.
pub(super) fn check() -> Option<Check> {
    let entries = fs::read_dir("/proc").ok()?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let mut found: Vec<(u32, char)> = pids.filter_map(|pid| Some((pid, state(pid)?))).collect();
    found.sort_unstable();
    let Some((pid, state)) = found.first().copied() else {
        let (detail, advice) = not_running();
        return Some(Check::new("process", Health::Missing, detail, advice));
    };
    Some(match state {
        'T' | 't' => Check::new(
            "process",
            Health::Warning,
            format!("pid {pid} is stopped, so it answers nobody; its faults have ended with its lease"),
            format!("continue it with `kill -CONT {pid}`"),
        ),
        'Z' => Check::new(
            "process",
            Health::Missing,
            format!("pid {pid} is dead (a zombie)"),
            "start it again",
        ),
        'D' => Check::new(
            "process",
            Health::Warning,
            format!("pid {pid} waits inside the kernel"),
            format!("see /proc/{pid}/stack as root"),
        ),
        _ => Check::new(
            "process",
            Health::Warning,
            format!("pid {pid} runs"),
            "it may still be starting, or listen at another socket: name that with --socket or CHAOS_SOCKET",
        ),
    })
}

/// The state letter of a process that is a daemon.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // "pid (comm) state …": the name is in parentheses and may hold anything.
    let (before, after) = stat.rsplit_once(')')?;
    let (_, comm) = before.split_once('(')?;
    if comm == DAEMON {
        after.trim_start().chars().next()
    } else {
        None
    }
}

fn not_running() -> (String, String) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<_> = std::env::split_paths(&path).collect();
    // Where a daemon lives when the PATH of an ordinary user leaves it out.
    dirs.extend(["/usr/sbin", "/usr/local/sbin"].map(Into::into));
    match dirs
        .iter()
        .map(|dir| dir.join(DAEMON))
        .find(|file| file.is_file())
    {
        Some(file) => (
            format!("installed as {}, and not running", file.display()),
            "start it with `systemctl start chaos-daemon`, or run it as root".to_owned(),
        ),
        None => (
            format!("no {DAEMON} is installed or running here"),
            "build it with `cargo xtask build`, or install the package".to_owned(),
        ),
    }
}

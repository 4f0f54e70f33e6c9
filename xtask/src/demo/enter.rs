//! A hidden verb that becomes another program inside a cgroup and a network namespace.
//!
//! `ip netns exec` would do the namespace, but it also mounts another /sys, which hides the cgroups and the BPF
//! file system from the program.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt as _, parent_id};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Process that this one must not outlive.
    #[arg(long)]
    parent: u32,
    #[arg(long)]
    netns: PathBuf,
    #[arg(long)]
    cgroup: Option<PathBuf>,
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    // Even a demo that is killed with SIGKILL leaves no process behind.
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM).context("prctl(PR_SET_PDEATHSIG)")?;
    if parent_id() != args.parent {
        bail!("the demo is gone");
    }
    if let Some(cgroup) = &args.cgroup {
        let procs = cgroup.join("cgroup.procs");
        fs::write(&procs, "0").with_context(|| format!("cannot enter {}", procs.display()))?;
    }
    let netns = File::open(&args.netns).with_context(|| format!("cannot open {}", args.netns.display()))?;
    setns(netns, CloneFlags::CLONE_NEWNET)
        .with_context(|| format!("cannot enter {}", args.netns.display()))?;
    let (program, rest) = args.command.split_first().context("no command")?;
    // Only comes back when it failed.
    Err(Command::new(program).args(rest).exec()).with_context(|| format!("cannot start {program}"))
}

//! `cargo xtask bench`: what a packet pays, measured by the kernel itself.

mod bounds;
mod netem;

use anyhow::{Result, bail};

use crate::process::{self, is_root, run as run_command, step};
use crate::setup::{self, Purpose};
use crate::{build, workspace::Workspace};

/// Measure ns per packet and print the tables of docs/limitations.md. Needs root.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    beside: Option<Beside>,
    /// Arguments for the bench program.
    #[arg(last = true)]
    pass_on: Vec<String>,
}

#[derive(Debug, clap::Subcommand)]
enum Beside {
    Netem(netem::Args),
    Bounds(bounds::Args),
}

pub(crate) fn run(ws: &Workspace, args: &Args) -> Result<()> {
    match &args.beside {
        Some(Beside::Netem(args)) => netem::run(ws, args),
        Some(Beside::Bounds(args)) => program(ws, "bounds", &args.words()),
        None => program(ws, "bench", &args.pass_on),
    }
}

/// A bench program to its end, after all the set-up that it needs.
fn program(ws: &Workspace, name: &str, words: &[String]) -> Result<()> {
    if !is_root() {
        bail!(
            "the benches load BPF programs and make network namespaces, which needs root: sudo -E cargo xtask bench"
        );
    }
    build::binaries(ws)?;
    setup::programs_for(Purpose::Tests)?;
    step(name);
    let mut command = process::cargo(ws)?;
    command
        .args([
            "test",
            "--release",
            "--locked",
            "-p",
            "chaos-tests",
            "--test",
            name,
            "--",
            "--nocapture",
        ])
        .args(words)
        .env("CHAOS_BIN_DIR", ws.release_bins());
    run_command(&mut command)
}

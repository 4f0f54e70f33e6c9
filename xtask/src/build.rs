//! `cargo xtask build`: the kernel object first, then the binaries that embed it.

use std::fs;

use anyhow::{Context as _, Result};

use crate::process::{self, run as run_command, step};
use crate::setup::{self, BpfToolchain};
use crate::workspace::Workspace;

/// Build target/release/chaos-daemon and target/release/chaosctl.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only the kernel object, target/bpf/chaos-ebpf.o.
    #[arg(long)]
    bpf: bool,
}

pub(crate) fn run(ws: &Workspace, args: &Args) -> Result<()> {
    if args.bpf {
        kernel_object(ws).map(drop)
    } else {
        binaries(ws)
    }
}

/// Everything that tests, benches and the demo start.
pub(crate) fn binaries(ws: &Workspace) -> Result<()> {
    kernel_object(ws)?;
    step("building chaos-daemon and chaosctl");
    run_command(process::cargo(ws)?.args([
        "build",
        "--release",
        "--locked",
        "-p",
        "chaos-daemon",
        "-p",
        "chaosctl",
    ]))
}

/// Compiles chaos-ebpf/ and leaves the object where the daemon's build script looks for it.
pub(crate) fn kernel_object(ws: &Workspace) -> Result<BpfToolchain> {
    let toolchain = setup::bpf_toolchain(ws)?;
    step("compiling the kernel programs");
    run_command(&mut toolchain.cargo(ws, "build", &[])?)?;
    let built = ws
        .target()
        .join("bpf")
        .join(setup::BPF_TARGET)
        .join("release")
        .join("chaos-ebpf");
    let object = fs::read(&built).with_context(|| format!("no object at {}", built.display()))?;
    let wanted = ws.bpf_object();
    // Written only when it differs: its time stamp decides whether cargo builds the daemon again.
    if fs::read(&wanted).is_ok_and(|old| old == object) {
        return Ok(toolchain);
    }
    let fresh = wanted.with_extension("o.new");
    fs::write(&fresh, &object).with_context(|| format!("cannot write {}", fresh.display()))?;
    fs::rename(&fresh, &wanted).with_context(|| format!("cannot write {}", wanted.display()))?;
    step(format_args!(
        "target/bpf/chaos-ebpf.o is new, {} bytes",
        object.len()
    ));
    Ok(toolchain)
}

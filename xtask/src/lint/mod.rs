//! `cargo xtask lint`: formatting, clippy, the kernel crate, licences and sources, and the house rules.

mod deny;
mod house;
mod rust_text;

use anyhow::{Result, bail};

use crate::process::{self, run as run_command, step};
use crate::setup::BpfToolchain;
use crate::{build, workspace::Workspace};

/// Check formatting, lints, dependencies and house rules. All checks run; any finding fails.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only the checks whose name contains this.
    filter: Option<String>,
}

/// A check and its name.
type Check = (&'static str, fn(&Workspace) -> Result<()>);

pub(crate) fn run(ws: &Workspace, args: &Args) -> Result<()> {
    let checks: [Check; 5] = [
        ("house", house::check),
        ("fmt", fmt),
        ("clippy", clippy),
        ("kernel", kernel),
        ("deny", deny::check),
    ];
    let mut failed = Vec::new();
    for (name, check) in checks {
        if args
            .filter
            .as_ref()
            .is_some_and(|wanted| !name.contains(wanted.as_str()))
        {
            continue;
        }
        step(format_args!("lint: {name}"));
        if let Err(error) = check(ws) {
            eprintln!("{error:#}");
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("lint failed: {}", failed.join(", "));
    }
    step("lint: clean");
    Ok(())
}

fn fmt(ws: &Workspace) -> Result<()> {
    run_command(process::cargo(ws)?.args(["fmt", "--all", "--check"]))?;
    run_command(
        process::cargo(ws)?
            .args(["fmt", "--check"])
            .current_dir(ws.bpf_crate()),
    )
}

fn clippy(ws: &Workspace) -> Result<()> {
    // The daemon's build script embeds the kernel object.
    build::kernel_object(ws)?;
    run_command(process::cargo(ws)?.args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-Dwarnings",
    ]))
}

/// Checks chaos-ebpf with the compiler that builds it, warnings being errors. Clippy where it belongs to that
/// compiler: another version's clippy cannot read its `core`.
fn kernel(ws: &Workspace) -> Result<()> {
    let toolchain = crate::setup::bpf_toolchain(ws)?;
    let verb = match toolchain {
        BpfToolchain::RustupNightly { .. } => "clippy",
        BpfToolchain::Debian { .. } => "check",
    };
    run_command(&mut toolchain.cargo(ws, verb, &["-Dwarnings"])?)
}

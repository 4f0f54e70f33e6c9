//! `cargo xtask setup`: makes the machine able to build and test, and changes nothing when it already is.

mod apt;
mod debian;
mod emulator;
mod kernels;
mod linker;
mod programs;
mod rustup;
mod store;
mod toolchain;

use anyhow::Result;

pub(crate) use emulator::Emulator;
pub(crate) use kernels::{Kernel, Series};
pub(crate) use programs::Purpose;
pub(crate) use store::Store;
pub(crate) use toolchain::{BPF_TARGET, BpfToolchain};

use crate::process::step;
use crate::workspace::Workspace;

/// Find or install what compiles Rust to BPF.
///
/// Looks for a private toolchain first, then for rustup's nightly with rust-src and bpf-linker on PATH;
/// else unpacks Debian's precompiled compiler into a private folder (CHAOS_TOOLCHAIN, by default
/// ~/.cache/chaos-toolchain). Works offline once done.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Install the programs that the tests drive (nginx, iperf3, bpftool, …) instead; needs root and apt.
    #[arg(long)]
    tests: bool,
}

pub(crate) fn run(ws: &Workspace, args: &Args) -> Result<()> {
    if args.tests {
        return programs::ensure(Purpose::Tests);
    }
    let toolchain = bpf_toolchain(ws)?;
    step(format_args!("ready: {}", toolchain.describe()));
    Ok(())
}

/// The compiler for the kernel programs, installed first when there is none.
pub(crate) fn bpf_toolchain(ws: &Workspace) -> Result<BpfToolchain> {
    let store = Store::open()?;
    if let Some(found) = debian::installed(&store) {
        return Ok(found);
    }
    let no_rustup = match rustup::find() {
        Ok(found) => return Ok(found),
        Err(reason) => reason,
    };
    let _lock = store.lock()?;
    // Another set-up may have finished while this one waited.
    if let Some(found) = debian::installed(&store) {
        return Ok(found);
    }
    step(format_args!(
        "no BPF compiler yet ({no_rustup}); setting one up in {}",
        store.root().display()
    ));
    debian::install(&store, ws).map_err(|error| {
        error.context(format!(
            "cannot set up a compiler from Rust to BPF.\n\
             Either way is enough:\n  \
             rustup: {no_rustup}\n          \
             rustup toolchain install nightly --component rust-src && cargo install bpf-linker\n  \
             Debian: packages rustc-web, libstd-rust-web-dev-bpf and llvm-<N>-dev (Debian 12 and 13 have them), \
             which this command downloads by itself where apt can reach them; what stopped it follows"
        ))
    })
}

/// Makes sure that the programs for `purpose` are there.
pub(crate) fn programs_for(purpose: Purpose) -> Result<()> {
    programs::ensure(purpose)
}

/// What boots a kernel, and the kernels; fetched from Debian once.
pub(crate) fn virtual_machine(series: &[Series]) -> Result<(Emulator, Vec<(Series, Kernel)>)> {
    let store = Store::open()?;
    let emulator = Emulator::get(&store)?;
    let kernels = series
        .iter()
        .map(|&series| Ok((series, series.get(&store, &emulator)?)))
        .collect::<Result<_>>()?;
    Ok((emulator, kernels))
}

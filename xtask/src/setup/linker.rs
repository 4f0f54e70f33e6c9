//! bpf-linker, built once against the LLVM of the private compiler.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::store::Store;
use crate::process::{self, run, step};
use crate::workspace::Workspace;

/// Goes with aya 0.14; newer ones are taken when aya is.
const BPF_LINKER_VERSION: &str = "0.13.0";

/// Folder of the linker's binary. Its name carries both versions, so an LLVM upgrade builds a new one.
pub(super) fn dir(store: &Store, llvm: u32) -> PathBuf {
    store
        .dir(&format!("bpf-linker-{BPF_LINKER_VERSION}-llvm{llvm}"))
        .join("bin")
}

pub(super) fn is_installed(store: &Store, llvm: u32) -> bool {
    dir(store, llvm).join("bpf-linker").is_file()
}

/// Builds it with the checkout's own (stable) compiler. `llvm_prefix` holds `bin/llvm-config`, and
/// `libraries` what llvm-config and the link step load.
pub(super) fn install(
    store: &Store,
    ws: &Workspace,
    llvm: u32,
    llvm_prefix: &Path,
    libraries: &[PathBuf],
) -> Result<()> {
    step(format_args!(
        "building bpf-linker {BPF_LINKER_VERSION} against LLVM {llvm} (a minute or two)"
    ));
    let scratch = store.scratch();
    let root = scratch.join("bpf-linker");
    let mut command = process::cargo(ws)?;
    process::set_library_path(&mut command, ws, libraries);
    command
        .args([
            "install",
            "--quiet",
            "--locked",
            "--version",
            BPF_LINKER_VERSION,
            "--no-default-features",
        ])
        .args(["--features", &format!("llvm-{llvm}"), "--no-track", "--root"])
        .arg(&root)
        .arg("bpf-linker")
        .env("LLVM_PREFIX", llvm_prefix)
        .env("CARGO_TARGET_DIR", scratch.join("build"));
    run(&mut command).with_context(|| {
        format!("cannot build bpf-linker {BPF_LINKER_VERSION} for LLVM {llvm}; it needs `cc` and the crates registry")
    })?;
    let wanted = dir(store, llvm);
    let wanted = wanted.parent().context("the linker's folder has a parent")?;
    std::fs::rename(&root, wanted)
        .with_context(|| format!("cannot move bpf-linker to {}", wanted.display()))?;
    store.clear_scratch()
}

//! A compiler for the kernel programs, whichever way it came.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::process;
use crate::workspace::Workspace;

/// The target that the kernel programs are compiled for; every supported host is little-endian.
pub(crate) const BPF_TARGET: &str = "bpfel-unknown-none";

/// How Rust becomes BPF on this machine.
#[derive(Debug)]
pub(crate) enum BpfToolchain {
    /// Debian's compiler, unpacked privately, with its precompiled `core` for BPF.
    Debian {
        rustc: PathBuf,
        version: String,
        libraries: Vec<PathBuf>,
        linker_dir: PathBuf,
    },
    /// rustup's nightly, which compiles `core` from rust-src; bpf-linker is on PATH.
    RustupNightly { version: String },
}

impl BpfToolchain {
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Debian { rustc, version, .. } => {
                format!("{version} with precompiled core at {}", rustc.display())
            }
            Self::RustupNightly { version } => format!("{version} with rust-src, bpf-linker on PATH"),
        }
    }

    /// `cargo <verb>` for the kernel programs in chaos-ebpf/, outputs below target/bpf.
    /// `lints` are further compiler flags, such as `-Dwarnings`.
    pub(crate) fn cargo(&self, ws: &Workspace, verb: &str, lints: &[&str]) -> Result<Command> {
        let mut command = process::cargo(ws)?;
        if let Self::RustupNightly { .. } = self {
            command.arg("+nightly");
        }
        command.current_dir(ws.bpf_crate());
        command.args([verb, "--release", "--locked", "--target", BPF_TARGET]);
        let arch = format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH);
        let mut flags = vec!["-Cdebuginfo=2", "-Clink-arg=--btf", arch.as_str()];
        flags.extend_from_slice(lints);
        command
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
            .env("CARGO_TARGET_DIR", ws.target().join("bpf"))
            // A compiler cache set up for the user's own rustc must not answer for this one.
            .env("RUSTC_WRAPPER", "");
        match self {
            Self::Debian {
                rustc,
                libraries,
                linker_dir,
                ..
            } => {
                process::set_library_path(&mut command, ws, libraries);
                // aya-ebpf uses a few unstable features; this is a stable compiler.
                command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
                command.env("PATH", process::path_with(linker_dir)?);
            }
            Self::RustupNightly { .. } => {
                command.args(["-Z", "build-std=core"]);
            }
        }
        Ok(command)
    }
}

//! Licences, banned crates and sources of the dependencies, by cargo-deny at a pinned version.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::{self, capture, find_program, run, step};
use crate::setup::Store;
use crate::workspace::Workspace;

const VERSION: &str = "0.20.2";

pub(super) fn check(ws: &Workspace) -> Result<()> {
    let program = find_or_install(ws)?;
    for manifest in [ws.root().join("Cargo.toml"), ws.bpf_crate().join("Cargo.toml")] {
        let cargo = process::cargo(ws)?;
        // cargo-deny starts cargo by itself; it gets the same clean environment.
        let mut command = Command::new(&program);
        for (name, value) in cargo.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
            .current_dir(ws.root())
            .args(["--locked", "--log-level", "error", "--manifest-path"])
            .arg(manifest)
            .arg("--config")
            .arg(ws.root().join("deny.toml"))
            .args(["check", "bans", "licenses", "sources"]);
        run(&mut command)?;
    }
    Ok(())
}

fn find_or_install(ws: &Workspace) -> Result<PathBuf> {
    if let Some(program) = find_program("cargo-deny")
        && capture(Command::new(&program).arg("--version")).is_ok_and(|text| is_pinned(&text))
    {
        return Ok(program);
    }
    let store = Store::open()?;
    let wanted = store.dir(&format!("cargo-deny-{VERSION}"));
    let program = wanted.join("bin").join("cargo-deny");
    if program.is_file() {
        return Ok(program);
    }
    let _lock = store.lock()?;
    if program.is_file() {
        return Ok(program);
    }
    step(format_args!("building cargo-deny {VERSION} (once; some minutes)"));
    let root = store.scratch().join("cargo-deny");
    run(process::cargo(ws)?
        .args([
            "install",
            "--quiet",
            // It runs for a second; optimising it would take minutes.
            "--debug",
            "--locked",
            "--no-track",
            "--version",
            VERSION,
            "--root",
        ])
        .arg(&root)
        .arg("cargo-deny")
        .env("CARGO_TARGET_DIR", store.scratch().join("build")))
    .context("cannot build cargo-deny; it needs `cc` and the crates registry")?;
    std::fs::rename(&root, &wanted)
        .with_context(|| format!("cannot move cargo-deny to {}", wanted.display()))?;
    store.clear_scratch()?;
    Ok(program)
}

fn is_pinned(version_line: &str) -> bool {
    version_line.split_whitespace().nth(1) == Some(VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pinned_version_is_taken_from_path() {
        assert!(is_pinned(&format!("cargo-deny {VERSION}\n")));
        assert!(!is_pinned("cargo-deny 0.1.0"));
        assert!(!is_pinned(""));
    }
}

//! The usual way elsewhere: rustup's nightly with rust-src, and bpf-linker on PATH.

use std::path::Path;
use std::process::Command;

use super::toolchain::BpfToolchain;
use crate::process::{capture, find_program};

/// Finds it, or says in one line what is missing. Never installs: a nightly belongs to the user.
pub(super) fn find() -> Result<BpfToolchain, String> {
    let rustup = find_program("rustup").ok_or("rustup is not installed")?;
    // Asked first, because `rustc +nightly` would download a nightly that is absent.
    let list =
        capture(Command::new(&rustup).args(["toolchain", "list"])).map_err(|error| error.to_string())?;
    if !has_nightly(&list) {
        return Err("rustup has no nightly toolchain".into());
    }
    let rustc = |arg: &str| {
        capture(
            Command::new(&rustup)
                .args(["run", "nightly", "rustc", arg])
                .env_remove("RUSTC"),
        )
        .map_err(|error| error.to_string())
    };
    let sysroot = capture(Command::new(&rustup).args(["run", "nightly", "rustc", "--print", "sysroot"]))
        .map_err(|error| error.to_string())?;
    if !Path::new(sysroot.trim())
        .join("lib/rustlib/src/rust/library/core")
        .is_dir()
    {
        return Err("rustup's nightly has no rust-src".into());
    }
    find_program("bpf-linker").ok_or("rustup's nightly has rust-src, but bpf-linker is not on PATH")?;
    Ok(BpfToolchain::RustupNightly {
        version: rustc("--version")?.trim().to_owned(),
    })
}

/// Is there a toolchain named plainly `nightly` (not a dated one, which `+nightly` would not choose)?
fn has_nightly(list: &str) -> bool {
    list.lines().any(|line| {
        line.strip_prefix("nightly-")
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::has_nightly;

    #[test]
    fn only_the_undated_nightly_counts() {
        assert!(has_nightly(
            "stable-x86_64-unknown-linux-gnu (default)\nnightly-x86_64-unknown-linux-gnu\n"
        ));
        assert!(!has_nightly(
            "stable-x86_64-unknown-linux-gnu\nnightly-2026-01-02-x86_64-unknown-linux-gnu\n"
        ));
        assert!(!has_nightly(""));
    }
}

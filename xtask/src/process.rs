//! Child processes: a cargo whose environment is the user's, not that of the cargo which started us.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::workspace::Workspace;

/// Settings of the user's cargo that must reach the children; every other `CARGO*` variable was set by
/// the cargo that runs us and would describe the wrong package or compiler.
const KEPT_CARGO_VARS: [&str; 8] = [
    "CARGO_BUILD_JOBS",
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRY_",
    "CARGO_REGISTRIES_",
    "CARGO_TERM_",
    "CARGO_INCREMENTAL",
];

/// Says what is being done, on stderr: stdout is for results.
pub(crate) fn step(message: impl std::fmt::Display) {
    eprintln!("==> {message}");
}

/// A detail below the current step.
pub(crate) fn note(message: impl std::fmt::Display) {
    eprintln!("    {message}");
}

/// Must a variable be taken away before cargo or rustc is started again?
fn is_inherited_from_cargo(name: &str) -> bool {
    if KEPT_CARGO_VARS.iter().any(|kept| name.starts_with(kept)) {
        return false;
    }
    name.starts_with("CARGO")
        || name.starts_with("RUSTC")
        || matches!(
            name,
            "RUSTUP_TOOLCHAIN" | "RUSTUP_TOOLCHAIN_SOURCE" | "RUSTDOC" | "RUSTDOCFLAGS" | "RUSTFLAGS"
        )
        || name == "RUST_RECURSION_COUNT"
}

/// The user's own library path: cargo and rustup put their toolchain and the target folder in front of it,
/// and a second compiler must not find the first one's libraries.
fn own_library_path(target: &Path) -> Vec<PathBuf> {
    let Some(value) = std::env::var_os("LD_LIBRARY_PATH") else {
        return Vec::new();
    };
    std::env::split_paths(&value)
        .filter(|dir| !dir.as_os_str().is_empty())
        .filter(|dir| !dir.starts_with(target) && !dir.components().any(|c| c.as_os_str() == "toolchains"))
        .collect()
}

/// `cargo` of the pinned toolchain, started in the checkout, with a clean environment and our target folder.
pub(crate) fn cargo(ws: &Workspace) -> Result<Command> {
    let program = match find_program("cargo") {
        Some(path) => path,
        None => std::env::var_os("CARGO")
            .map(PathBuf::from)
            .context("no `cargo` on PATH")?,
    };
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_inherited_from_cargo) {
            command.env_remove(name);
        }
    }
    set_library_path(&mut command, ws, &[]);
    command
        .current_dir(ws.root())
        .env("CARGO_TARGET_DIR", ws.target());
    Ok(command)
}

/// `cargo test` of one program of the crate `chaos-tests`, optimized; more arguments may follow.
pub(crate) fn cargo_test(ws: &Workspace, program: &str) -> Result<Command> {
    let mut command = cargo(ws)?;
    command.args([
        "test",
        "--locked",
        "--release",
        "-p",
        "chaos-tests",
        "--test",
        program,
    ]);
    Ok(command)
}

/// Sets the library path of a child: `first`, then what the user had.
pub(crate) fn set_library_path(command: &mut Command, ws: &Workspace, first: &[PathBuf]) {
    let dirs: Vec<PathBuf> = first
        .iter()
        .cloned()
        .chain(own_library_path(&ws.target()))
        .collect();
    match std::env::join_paths(&dirs) {
        Ok(joined) if !dirs.is_empty() => command.env("LD_LIBRARY_PATH", joined),
        _ => command.env_remove("LD_LIBRARY_PATH"),
    };
}

/// PATH with `first` in front.
pub(crate) fn path_with(first: &Path) -> Result<OsString> {
    let rest = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(first.to_path_buf()).chain(std::env::split_paths(&rest)))
        .context("a folder name with a colon cannot be on PATH")
}

/// Looks a program up on PATH and in the sbin folders, which an ordinary user's PATH leaves out.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Runs a command to its end with the caller's stdio.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start `{}`", describe(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", describe(command));
    }
    Ok(())
}

/// Runs a command and gives its stdout; its stderr becomes part of the error.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", describe(command)))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{}` failed: {}\n{}",
            describe(command),
            output.status,
            stderr.trim()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` printed no UTF-8", describe(command)))
}

/// The command as a person would type it, without its environment.
pub(crate) fn describe(command: &Command) -> String {
    let name = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program());
    std::iter::once(name)
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Is this process root? Asked of the kernel through /proc, so that no unsafe call is needed.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_the_calling_cargo_are_taken_away_and_the_users_settings_stay() {
        for gone in [
            "CARGO",
            "CARGO_PKG_NAME",
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTC",
            "RUSTUP_TOOLCHAIN",
            "RUSTFLAGS",
        ] {
            assert!(is_inherited_from_cargo(gone), "{gone}");
        }
        for kept in [
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_TERM_COLOR",
            "RUSTUP_HOME",
            "PATH",
            "RUST_BACKTRACE",
        ] {
            assert!(!is_inherited_from_cargo(kept), "{kept}");
        }
    }

    #[test]
    fn a_command_is_described_as_typed() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["build", "--release"]);
        assert_eq!(describe(&command), "cargo build --release");
    }
}

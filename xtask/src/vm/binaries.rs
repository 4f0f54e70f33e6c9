//! What of the product and its tests goes into the guest, built on this machine.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::process::{capture, cargo_test, describe, step};
use crate::{build, workspace::Workspace};

/// Programs on this machine, and their names in the guest.
#[derive(Debug)]
pub(super) struct Binaries {
    files: Vec<(PathBuf, &'static str)>,
    tests: PathBuf,
}

impl Binaries {
    /// Builds all of them, with the test program of this name.
    pub(super) fn build(ws: &Workspace, program: &'static str) -> Result<Self> {
        build::binaries(ws)?;
        step("building the tests");
        let mut command = cargo_test(ws, program)?;
        command.args(["--no-run", "--message-format=json-render-diagnostics"]);
        let tests = built_test(&mut command, program)?;
        let bin = |name: &str| ws.release_bins().join(name);
        Ok(Self {
            files: vec![
                (ws.daemon(), "chaos-daemon"),
                (ws.ctl(), "chaosctl"),
                (bin("chaos-traffic"), "chaos-traffic"),
                (bin("chaos-checkout"), "chaos-checkout"),
                (tests.clone(), program),
            ],
            tests,
        })
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (&Path, &'static str)> {
        self.files.iter().map(|(file, name)| (file.as_path(), *name))
    }

    /// Names of all tests, as libtest prints them.
    pub(super) fn test_names(&self) -> Result<Vec<String>> {
        let list = capture(Command::new(&self.tests).args(["--list", "--format", "terse"]))?;
        Ok(list
            .lines()
            .filter_map(|line| line.strip_suffix(": test"))
            .map(str::to_owned)
            .collect())
    }
}

/// Runs cargo and takes the test program's path out of its messages.
fn built_test(command: &mut Command, program: &str) -> Result<PathBuf> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", describe(command)))?;
    let output = child.stdout.take().context("the child's stdout is a pipe")?;
    let mut found = None;
    for line in BufReader::new(output).lines() {
        found = test_program(&line.context("reading cargo's messages")?, program).or(found);
    }
    let status = child.wait().context("waiting for cargo")?;
    if !status.success() {
        bail!("`{}` failed: {status}", describe(command));
    }
    found.with_context(|| format!("cargo built no test program `{program}`"))
}

fn test_program(message: &str, program: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let is_ours = message["target"]["name"] == program && message["target"]["kind"][0] == "test";
    is_ours
        .then(|| message["executable"].as_str().map(PathBuf::from))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_program_is_found_among_cargos_messages() {
        let ours = r#"{"reason":"compiler-artifact","target":{"kind":["test"],"name":"netns"},"executable":"/t/netns-1"}"#;
        assert_eq!(test_program(ours, "netns"), Some("/t/netns-1".into()));
        let other =
            r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"netns"},"executable":null}"#;
        assert_eq!(test_program(ours, "netem"), None);
        assert_eq!(test_program(other, "netns"), None);
        assert_eq!(test_program("warning: text", "netns"), None);
    }
}

//! The daemon under demonstration, and chaosctl to command it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::interrupt::Interrupt;
use super::process::{Place, Running};
use super::stage;
use crate::process::{capture, find_program};
use crate::workspace::Workspace;

/// Loading and verifying the programs takes most of it.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A real daemon with socket and state of its own.
pub(super) struct Daemon {
    running: Running,
    log: PathBuf,
}

impl Daemon {
    /// Starts it in `place` and waits until it answers. The place's namespace is "the host" to it, so no
    /// mistake can reach an interface of this machine.
    pub(super) fn start(
        ws: &Workspace,
        place: &Place,
        dir: &Path,
        ctl: &Ctl,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let log = dir.join("daemon.log");
        let output = fs::File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let mut command = place.command(&ws.daemon())?;
        command
            .arg("--socket")
            .arg(&ctl.socket)
            .arg("--state-dir")
            .arg(dir.join("state"));
        command
            .stdout(output.try_clone().context("the daemon's log")?)
            .stderr(output);
        let mut daemon = Self {
            running: Running::start("chaos-daemon", &mut command)?,
            log,
        };
        interrupt.wait_for("the daemon to answer", START_LIMIT, || {
            if let Some(status) = daemon.running.ended()? {
                bail!(
                    "the daemon ended with {status} and said:\n{}",
                    daemon.last_words()
                );
            }
            Ok(ctl
                .command(&["status"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .context("cannot start chaosctl")?
                .success())
        })?;
        Ok(daemon)
    }

    pub(super) fn pid(&self) -> u32 {
        self.running.pid()
    }

    pub(super) fn stop(&mut self) -> Result<()> {
        let status = self.running.stop()?;
        if !status.success() {
            bail!("the daemon ended with {status} and said:\n{}", self.last_words());
        }
        Ok(())
    }

    pub(super) fn kill(&mut self) -> Result<()> {
        self.running.kill().map(drop)
    }

    /// Kernel ids of the BPF programs that it holds.
    pub(super) fn programs(&self) -> Result<BTreeSet<u64>> {
        let dir = format!("/proc/{}/fdinfo", self.pid());
        let mut ids = BTreeSet::new();
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {dir}"))? {
            // A descriptor that was closed meanwhile holds no program.
            let text = fs::read_to_string(entry?.path()).unwrap_or_default();
            ids.extend(
                text.lines()
                    .filter_map(|line| line.strip_prefix("prog_id:")?.trim().parse::<u64>().ok()),
            );
        }
        Ok(ids)
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// Ids of all BPF programs in the kernel, or none when there is no bpftool.
pub(super) fn kernel_programs() -> Result<Option<BTreeSet<u64>>> {
    let Some(bpftool) = find_program("bpftool") else {
        return Ok(None);
    };
    let list: Value = serde_json::from_str(&capture(Command::new(bpftool).args(["-j", "prog", "show"]))?)
        .context("bpftool's output is no JSON")?;
    Ok(Some(
        list.as_array()
            .into_iter()
            .flatten()
            .filter_map(|program| program["id"].as_u64())
            .collect(),
    ))
}

/// chaosctl, bound to the demo's socket.
pub(super) struct Ctl {
    program: PathBuf,
    socket: PathBuf,
}

/// A fault's state, as far as the demo tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) phase: String,
    pub(super) matched: u64,
    pub(super) dropped: u64,
    pub(super) rejected: u64,
    pub(super) interfaces: Vec<String>,
}

impl Ctl {
    pub(super) fn new(ws: &Workspace, dir: &Path) -> Self {
        Self {
            program: ws.ctl(),
            socket: dir.join("api.sock"),
        }
    }

    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        // Its own process group: Ctrl-C is for the demo, which then ends the faults in order.
        command
            .arg("--socket")
            .arg(&self.socket)
            .args(args)
            .stdin(Stdio::null())
            .process_group(0);
        command
    }

    /// Runs a command line as a user would type it, shows it, and shows its answer.
    pub(super) fn show(&self, line: &str) -> Result<()> {
        println!("  $ chaosctl {line}");
        let answer = capture(&mut self.command(&line.split(' ').collect::<Vec<_>>()))?;
        for text in answer.lines() {
            println!("    {text}");
        }
        Ok(())
    }

    /// Injects, then makes sure that the fault is active and touches nothing but the demo's own interface.
    pub(super) fn inject(&self, name: &str, line: &str) -> Result<()> {
        self.show(&format!("{line} --name {name}"))?;
        let fault = self.fault(name)?;
        if let Some(foreign) = fault
            .interfaces
            .iter()
            .find(|interface| !stage::is_own(interface))
        {
            self.delete(name)?;
            bail!(
                "fault/{name} was attached to {foreign}, which the demo did not make; it was ended at once"
            );
        }
        if fault.phase != "Active" || fault.interfaces.is_empty() {
            bail!(
                "fault/{name} is {} on {:?}, not active",
                fault.phase,
                fault.interfaces
            );
        }
        Ok(())
    }

    pub(super) fn delete(&self, name: &str) -> Result<()> {
        self.show(&format!("delete {name} --yes"))
    }

    pub(super) fn fault(&self, name: &str) -> Result<Fault> {
        let text = capture(&mut self.command(&["get", "faults", "-o", "json"]))?;
        parse_fault(&text, name)
            .with_context(|| format!("fault/{name} is not in the daemon's answer: {text}"))
    }
}

fn parse_fault(text: &str, name: &str) -> Option<Fault> {
    let list: Value = serde_json::from_str(text).ok()?;
    let fault = list["items"]
        .as_array()?
        .iter()
        .find(|item| item["metadata"]["name"] == name)?;
    let status = &fault["status"];
    let count = |what: &str| status["packets"][what].as_u64().unwrap_or(0);
    let attachments = status["attachments"].as_array().into_iter().flatten();
    Some(Fault {
        phase: status["phase"].as_str()?.to_owned(),
        matched: count("matched"),
        dropped: count("dropped"),
        rejected: count("rejected"),
        interfaces: attachments
            .filter_map(|a| a["interface"].as_str())
            .map(str::to_owned)
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_read_from_the_list() {
        let text = r#"{"items": [
            {"metadata": {"name": "other"}, "status": {"phase": "Ended"}},
            {"metadata": {"name": "slow"}, "status": {"phase": "Active",
             "packets": {"matched": 10, "dropped": 3},
             "attachments": [{"netns": "host", "interface": "demo-client", "hook": "tc-egress", "mode": "tcx"}]}}]}"#;
        let fault = parse_fault(text, "slow").expect("it is there");
        assert_eq!(
            (fault.phase.as_str(), fault.matched, fault.dropped, fault.rejected),
            ("Active", 10, 3, 0)
        );
        assert_eq!(fault.interfaces, ["demo-client"]);
        assert_eq!(parse_fault(text, "gone"), None);
    }
}

//! Processes of the demo: each in a process group of its own, each held by a guard.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Where a process runs.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) netns: PathBuf,
    pub(super) cgroup: Option<PathBuf>,
}

impl Place {
    /// `program` in this place. Its own process group keeps the terminal's Ctrl-C away from it: the guards
    /// stop it in their order.
    pub(super) fn command(&self, program: &Path) -> Result<Command> {
        let this = std::env::current_exe().context("cannot find this program again")?;
        let mut command = Command::new(this);
        command
            .args([
                "demo-enter",
                "--parent",
                &std::process::id().to_string(),
                "--netns",
            ])
            .arg(&self.netns);
        if let Some(cgroup) = &self.cgroup {
            command.arg("--cgroup").arg(cgroup);
        }
        command
            .arg("--")
            .arg(program)
            .process_group(0)
            .stdin(Stdio::null());
        Ok(command)
    }
}

/// A running program, ended when dropped: SIGTERM first, so that it can clean up, then SIGKILL.
#[derive(Debug)]
pub(super) struct Running {
    name: &'static str,
    child: Child,
}

/// A daemon that undoes faults may take a moment.
const GRACE: Duration = Duration::from_secs(10);

impl Running {
    pub(super) fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The reading end of its stdout, once, if that is a pipe.
    pub(super) fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Its exit status, if it has ended.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("cannot look after {}", self.name))
    }

    /// Ends it politely and says how that went.
    pub(super) fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if start.elapsed() > GRACE {
                crate::process::note(format_args!("{} does not end; killing it", self.name));
                return self.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGKILL: no clean-up of its own.
    pub(super) fn kill(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGKILL)?;
        self.child
            .wait()
            .with_context(|| format!("cannot wait for {}", self.name))
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        // A process that was waited for no longer owns its number.
        if self.ended()?.is_none() {
            let pid = Pid::from_raw(i32::try_from(self.child.id()).context("a process number")?);
            kill(pid, signal).with_context(|| format!("cannot signal {}", self.name))?;
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            crate::process::note(format_args!("{error:#}"));
        }
    }
}

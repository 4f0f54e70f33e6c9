//! A program in a process group of its own, which does not outlive the sample.

use std::process::{ExitStatus, Stdio};

use chaos_spec::{ExecProbe, Expect};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use super::text::Text;
use crate::net::Net;
use crate::prober::ProbeError;
use crate::{Fail, Reading};

/// What a program may write to stdout.
const MOST_OUTPUT: usize = 64 << 10;
/// How much of stderr is kept for the reason.
const MOST_REASON: usize = 400;
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(crate) struct Exec {
    command: Vec<String>,
    text: Text,
}

/// Ends all of the group when it is dropped. Its leader is not waited for before that, so that its number is its own.
struct Group {
    leader: Pid,
}

impl Drop for Group {
    fn drop(&mut self) {
        // ESRCH: nobody is left.
        let _ = killpg(self.leader, Signal::SIGKILL);
    }
}

impl Exec {
    pub(super) fn new(probe: &ExecProbe, expect: &Expect) -> Result<Self, ProbeError> {
        if probe.command.is_empty() {
            return Err(ProbeError::Request("no program".to_owned()));
        }
        Ok(Self {
            command: probe.command.clone(),
            text: Text::new(&expect.body)?,
        })
    }

    pub(super) async fn take(&self, net: &dyn Net) -> Result<Reading, Fail> {
        let (status, stdout, stderr) = self.run(net).await?;
        if !status.success() {
            let said = String::from_utf8_lossy(&stderr);
            let said = said.trim();
            let ended = match status.code() {
                Some(code) => format!("exits with {code}"),
                None => format!("was ended ({status})"),
            };
            return Err(Fail::Program(if said.is_empty() {
                ended
            } else {
                format!("{ended}: {said}")
            }));
        }
        self.text.check(&stdout)?;
        Ok(Reading::default())
    }

    async fn run(&self, net: &dyn Net) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), Fail> {
        let failed = |what: &str, error: std::io::Error| Fail::Program(format!("{what}: {error}"));
        let mut words = self.command.iter();
        let program = words.next().map(String::as_str).unwrap_or_default();
        let mut command = Command::new(program);
        command
            .args(words)
            .env_clear()
            .env("PATH", PATH)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child: Child = net
            .spawn(&mut command)
            .await
            .map_err(|error| failed("cannot be started", error))?;
        let id = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .ok_or_else(|| Fail::Program("has no number".to_owned()))?;
        // Dropped before the child, which is then waited for in the background.
        let group = Group {
            leader: Pid::from_raw(id),
        };
        let leader =
            rustix::process::Pid::from_raw(id).ok_or_else(|| Fail::Program("has no number".to_owned()))?;
        let pidfd = pidfd_open(leader, PidfdFlags::NONBLOCK)
            .map_err(|error| failed("cannot be watched", error.into()))?;
        #[expect(
            deprecated,
            reason = "sound for an OwnedFd, which is always the same descriptor"
        )]
        let pidfd = AsyncFd::new(pidfd).map_err(|error| failed("cannot be watched", error))?;
        let exited = async || match pidfd.readable().await {
            // Never cleared: a program that has ended stays so.
            Ok(_) => Ok(()),
            Err(error) => Err(failed("cannot be watched", error)),
        };
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let (out, err) = (child.stdout.take(), child.stderr.take());
        {
            let output = async {
                tokio::try_join!(
                    gather(out, &mut stdout, MOST_OUTPUT, Overflow::Fails),
                    gather(err, &mut stderr, MOST_REASON, Overflow::IsLeftOut)
                )
            };
            tokio::pin!(output);
            let whole = tokio::select! {
                biased;
                whole = &mut output => Some(whole),
                over = exited() => {
                    over?;
                    None
                }
            };
            if let Some(whole) = whole {
                whole?;
                exited().await?;
                // What it started goes with it; only then may its number be given to somebody else.
                drop(group);
            } else {
                drop(group);
                // Nobody is left to write: this is what was on its way.
                output.await?;
            }
        }
        let status = child
            .wait()
            .await
            .map_err(|error| failed("cannot be waited for", error))?;
        Ok((status, stdout, stderr))
    }
}

/// What becomes of more output than is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Overflow {
    Fails,
    IsLeftOut,
}

/// Reads to the end and keeps the first bytes.
async fn gather(
    pipe: Option<impl AsyncRead + Unpin>,
    kept: &mut Vec<u8>,
    most: usize,
    overflow: Overflow,
) -> Result<(), Fail> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    let mut buffer = [0; 4096];
    while let Ok(length) = pipe.read(&mut buffer).await {
        if length == 0 {
            break;
        }
        let room = most - kept.len();
        kept.extend_from_slice(buffer.get(..length.min(room)).unwrap_or_default());
        if length > room && overflow == Overflow::Fails {
            return Err(Fail::TooLarge(most));
        }
    }
    Ok(())
}

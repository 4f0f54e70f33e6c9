#[cfg(target_os = "linux")]
mod local;

use std::path::PathBuf;

use clap::Args;

use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, Paint, rendered};

/// Stop everything, at once: all faults end, and new ones are refused until release
///
/// Never asks. The halt also outlives a restart of the daemon.
///
/// Example:
///   chaosctl halt --reason "checkout is down"
///   chaosctl halt --release
///   sudo chaosctl halt --local      when the daemon does not answer
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Halt {
    /// Allow faults again. Those that were ended stay ended.
    #[arg(long, conflicts_with = "reason")]
    release: bool,
    /// Without asking the daemon, which may hang: keep the halt for its next start and end its process, and its
    /// faults with it. As root, on the daemon's own host.
    #[arg(long, conflicts_with_all = ["release", "output"])]
    local: bool,
    /// Where the daemon keeps its state (its own --state-dir).
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/var/lib/chaos-daemon",
        requires = "local"
    )]
    state_dir: PathBuf,
    /// Why, for whoever wants to start a fault next.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Taken for scripts that pass it everywhere: halt never asks.
    #[arg(long, hide = true)]
    yes: bool,
    /// Print the state of the halt instead of a sentence.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

impl Halt {
    pub(crate) async fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        if self.local {
            return self.halt_locally(session);
        }
        // The call comes first: whoever stops has no time for questions.
        let state = if self.release {
            session.daemon.release().await?
        } else {
            session.daemon.halt(self.reason).await?
        };
        if state.halted == self.release {
            let wanted = if self.release { "released" } else { "halted" };
            return Err(Failure::RollbackIncomplete(format!(
                "the daemon does not say that it is {wanted} – see `chaosctl status`, or stop the daemon: its \
                 faults end with it"
            )));
        }
        let text = match self
            .output
            .map(|format| rendered(format, &state))
            .transpose()?
            .flatten()
        {
            Some(text) => text,
            None if self.release => Paint::stdout().good("released: faults are accepted again"),
            None => {
                let halted = Paint::stdout().warning("halted");
                format!(
                    "{halted}: all faults have ended; new ones are refused until `chaosctl halt --release`"
                )
            }
        };
        session.out.data(&text)?;
        Ok(Exit::DONE)
    }

    #[cfg(target_os = "linux")]
    fn halt_locally(self, session: &mut Session) -> Result<Exit, Failure> {
        use local::Ended;

        let ended = local::halt(&self.state_dir, self.reason).map_err(|error| match error {
            local::LocalError::StateDir { .. } => Failure::Usage(error.to_string()),
            other => Failure::RollbackIncomplete(other.to_string()),
        })?;
        let became = match ended {
            Ended::NotRunning => "no daemon runs".to_owned(),
            Ended::InOrder(pid) => format!("the daemon (pid {pid}) has undone everything and ended"),
            Ended::Killed(pid) => format!(
                "the daemon (pid {pid}) was killed and its faults with it; what it changed on the host is undone by its \
                 next start"
            ),
        };
        let halted = Paint::stdout().warning("halted");
        let text =
            format!("{halted}: {became}; the next one refuses new faults until `chaosctl halt --release`");
        session.out.data(&text)?;
        Ok(Exit::DONE)
    }

    #[cfg(not(target_os = "linux"))]
    fn halt_locally(self, _: &mut Session) -> Result<Exit, Failure> {
        Err(Failure::Usage(
            "--local works on the daemon's own host, which runs Linux".to_owned(),
        ))
    }
}

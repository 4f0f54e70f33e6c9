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
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Halt {
    /// Allow faults again. Those that were ended stay ended.
    #[arg(long, conflicts_with = "reason")]
    release: bool,
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
}

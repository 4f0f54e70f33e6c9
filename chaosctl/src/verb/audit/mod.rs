//! `chaosctl audit …`.

mod verify;

use clap::{Args, Subcommand};

use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;

/// Check the daemon's audit log
///
/// Example:
///   sudo chaosctl audit verify
///   chaosctl audit verify /backup/chaos-daemon/audit/audit.jsonl
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Audit {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Verify(verify::Verify),
}

impl Audit {
    pub(crate) async fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        match self.action {
            Action::Verify(verify) => verify.run(session).await,
        }
    }
}

use clap::Args;

use super::submit::{faults_of, placed, print, submit};
use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::manifest::Sources;
use crate::output::Format;

/// Start the faults of files, or change them while they run
///
/// All documents of all files go to the daemon in one request: either all of them are carried out or none.
/// A fault of the same name that runs already is changed in place.
///
/// Example:
///   chaosctl apply -f slow-orders-db.yaml
///   chaosctl apply -f faults/ -o name
///   generate-faults | chaosctl apply -f -
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Apply {
    #[command(flatten)]
    sources: Sources,
    /// Print the faults instead of one line each.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

impl Apply {
    pub(crate) async fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        let located = self.sources.read()?;
        let before = session.daemon.faults().await?;
        let submitted = submit(session, faults_of(&located), &before).await;
        let submitted = submitted.map_err(|failure| placed(failure, &located))?;
        print(session, &submitted, self.output)?;
        Ok(Exit::DONE)
    }
}

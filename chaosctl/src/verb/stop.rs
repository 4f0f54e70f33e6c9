use clap::Args;

use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;

/// Stop an experiment and undo everything; its report stays
///
/// Example:
///   chaosctl stop checkout
///   chaosctl stop 20261121-203015123-4f2a
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Stop {
    /// The experiment, by its name or by the id of its run.
    #[arg(value_name = "NAME|ID")]
    name: String,
}

impl Stop {
    pub(crate) async fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        let name = self.name.strip_prefix("experiment/").unwrap_or(&self.name);
        let Some(view) = session.daemon.stop_experiment(name).await? else {
            return Err(super::report::unknown(session, name).await);
        };
        let text = match view.status.outcome {
            None => format!("experiment/{} stops", view.id),
            Some(outcome) => format!("experiment/{} is over already: {}", view.id, outcome.words()),
        };
        session.out.data(&text)?;
        Ok(Exit::DONE)
    }
}

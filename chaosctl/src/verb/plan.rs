use chaos_spec::NetworkFault;
use clap::Args;

use super::submit::{faults_of, placed};
use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::manifest::Sources;
use crate::output::{Format, plan_text, rendered};

/// Show what faults would do on this host, without doing it
///
/// Names the targets that were found, the rules in the order in which they act (faults that run already
/// included), where programs would be attached, and what would be changed on the host.
/// For the flags of inject: `chaosctl inject … --dry-run`.
///
/// Example:
///   chaosctl plan -f slow-orders-db.yaml
///   chaosctl plan -f faults/*.yaml -o json
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Plan {
    #[command(flatten)]
    sources: Sources,
    /// How to print the plan.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

impl Plan {
    pub(crate) async fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        let located = self.sources.read()?;
        let shown = show(session, faults_of(&located), self.output).await;
        shown.map_err(|failure| placed(failure, &located))?;
        Ok(Exit::DONE)
    }
}

/// Asks for the plan and prints it.
pub(super) async fn show(
    session: &mut Session,
    faults: Vec<NetworkFault>,
    format: Format,
) -> Result<(), Failure> {
    let plan = session.daemon.plan(faults).await?;
    let several = plan.faults.len() > 1;
    for fault in &plan.faults {
        session
            .out
            .warnings(several.then_some(fault.name.as_str()), &fault.warnings);
    }
    let text = match rendered(format, &plan)? {
        Some(text) => text,
        None if format == Format::Name => plan
            .faults
            .iter()
            .map(|fault| format!("fault/{}\n", fault.name))
            .collect(),
        None => plan_text(&plan),
    };
    session.out.data(&text)
}

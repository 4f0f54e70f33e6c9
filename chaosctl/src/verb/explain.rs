use clap::Args;
use serde::Serialize;

use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::manifest::Sources;
use crate::output::{Format, rendered};

/// Say in plain words what faults do, and which tc or iptables commands come nearest
///
/// Needs no daemon.
///
/// Example:
///   chaosctl explain -f slow-orders-db.yaml
///   chaosctl explain -f faults/ -o json
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Explain {
    #[command(flatten)]
    sources: Sources,
    /// How to print it.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

#[derive(Serialize)]
struct Explanations {
    items: Vec<chaos_spec::explain::Explanation>,
}

impl Explain {
    pub(crate) fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        let located = self.sources.read()?;
        let items: Vec<_> = located
            .iter()
            .map(|located| chaos_spec::explain::explain(&located.fault))
            .collect();
        if self.output == Format::Name {
            let names: String = items
                .iter()
                .map(|item| format!("fault/{}\n", item.name))
                .collect();
            session.out.data(&names)?;
            return Ok(Exit::DONE);
        }
        let explanations = Explanations { items };
        let text = match rendered(self.output, &explanations)? {
            Some(text) => text,
            None => {
                let texts: Vec<String> = explanations.items.iter().map(ToString::to_string).collect();
                texts.join("\n")
            }
        };
        session.out.data(&text)?;
        Ok(Exit::DONE)
    }
}

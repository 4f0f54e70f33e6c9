//! Says in words what a fault does: one line for tables ([`summary`]), a sentence for each rule ([`rules`]), and
//! at length ([`explain`]) with the nearest commands of the tools people know and where this differs from them.

mod advice;
mod differences;
mod iptables;
mod netem;
mod place;
mod recurrence;
mod requests;
mod summary;
mod words;

use std::fmt;

use serde::Serialize;

pub use advice::advice;
pub use summary::summary;
pub use words::{matching, rules};

use crate::{NetworkFault, Warning};

/// What a fault does, at length. Displays as text for a terminal; serializes for `-o json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    pub name: String,
    pub summary: String,
    /// Which packets, then what happens to them in that order, then for how long.
    pub meaning: Vec<String>,
    /// The nearest that other tools can do.
    pub nearest: Vec<Equivalent>,
    /// Where those differ from this.
    pub differences: Vec<String>,
    pub warnings: Vec<Warning>,
}

/// Commands of another tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Equivalent {
    /// `tc` or `iptables`.
    pub tool: String,
    pub commands: Vec<String>,
}

/// Explains a valid fault. Of an invalid one it says what can be said.
pub fn explain(fault: &NetworkFault) -> Explanation {
    let spec = &fault.spec;
    let mut meaning = vec![format!("Whose and which packets: {}.", matching(spec))];
    meaning.extend(
        rules(spec)
            .into_iter()
            .map(|rule| format!("What happens: {rule}.")),
    );
    meaning.push(words::ending(spec));
    let mut nearest = Vec::new();
    nearest.extend(netem::commands(spec));
    nearest.extend(iptables::commands(spec));
    Explanation {
        name: fault.name().to_owned(),
        summary: summary(spec),
        meaning,
        differences: differences::list(spec, &nearest),
        nearest,
        warnings: advice(spec).into_iter().map(Warning::from).collect(),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.name, self.summary)?;
        for line in &self.meaning {
            writeln!(f, "  {line}")?;
        }
        if self.nearest.is_empty() {
            writeln!(f, "\nNo tc or iptables command comes near it.")?;
        }
        for equivalent in &self.nearest {
            writeln!(f, "\nNearest with {}:", equivalent.tool)?;
            for command in &equivalent.commands {
                writeln!(f, "  {command}")?;
            }
        }
        writeln!(f, "\nWhere this differs:")?;
        for difference in &self.differences {
            writeln!(f, "  - {difference}")?;
        }
        for warning in &self.warnings {
            writeln!(
                f,
                "\nWarning {}: {}\n  {}",
                warning.code, warning.message, warning.advice
            )?;
        }
        Ok(())
    }
}

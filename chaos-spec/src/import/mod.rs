//! What other tools were told, said as NetworkFaults. Nothing is dropped silently: whatever cannot be said is listed,
//! with the reason.

mod chaos_mesh;
mod document;
mod litmus;
mod netem;
mod tcconfig;
#[cfg(test)]
mod tests;
mod toxiproxy;

pub use chaos_mesh::chaos_mesh;
pub use litmus::litmus;
pub use netem::netem;
pub use tcconfig::tcconfig;
pub use toxiproxy::toxiproxy;

use serde_json::{Value, json};

use self::document::{line, word};
use crate::parse::node::Node;
use crate::{API_VERSION, DnsName, Duration, KIND, NetworkFault, Target, parse_body};

/// What tools for clusters leave to the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Here {
    /// What their pods are, on this node.
    pub target: Target,
    /// How long faults last that do not say so.
    pub duration: Duration,
}

/// What came of a file of another tool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Imported {
    pub faults: Vec<NetworkFault>,
    /// What is different, or cannot be said at all.
    pub unsaid: Vec<Unsaid>,
}

/// One thing that a fault does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsaid {
    /// Line of the file, from 1; 0: the file as a whole.
    pub line: usize,
    pub what: String,
    pub why: String,
}

impl std::fmt::Display for Unsaid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.what, self.why),
            line => write!(f, "line {line}: {}: {}", self.what, self.why),
        }
    }
}

impl Imported {
    fn cannot(&mut self, line: usize, what: impl Into<String>, why: impl Into<String>) {
        self.unsaid.push(Unsaid {
            line,
            what: what.into(),
            why: why.into(),
        });
    }

    /// Adds a fault, read as a body is; one that is refused is listed with its reasons.
    fn add(&mut self, line: usize, name: &str, mut spec: Value, duration: Duration) {
        spec["duration"] = json!(duration.to_string());
        let taken = self
            .faults
            .iter()
            .filter(|fault| fault.name().starts_with(name))
            .count();
        let name = match taken {
            0 => name.to_owned(),
            before => format!("{name}-{}", before + 1),
        };
        let fault =
            json!({"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec});
        match parse_body(fault.to_string().as_bytes()) {
            Ok(faults) => self.faults.extend(faults),
            Err(wrong) => {
                for error in wrong.0 {
                    self.cannot(
                        line,
                        error.path.to_string(),
                        format!("{} – {}", error.message, error.remedy),
                    );
                }
            }
        }
    }
}

/// A name for a fault: what is no letter or digit becomes a hyphen.
fn named(text: &str) -> String {
    let name: String = text
        .to_lowercase()
        .chars()
        .map(|c| {
            if c.is_ascii_lowercase() || c.is_ascii_digit() {
                c
            } else {
                '-'
            }
        })
        .take(50)
        .collect();
    let name = name.trim_matches('-');
    if name.is_empty() {
        "imported".to_owned()
    } else {
        name.to_owned()
    }
}

/// A number and what stands behind it.
fn split_number(text: &str) -> Option<(f64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    number.is_finite().then_some((number, unit))
}

/// Names for look-ups. One that has its wildcard elsewhere than on the left is listed; nothing when none is left, for a
/// fault without names would hit them all.
fn names_of(patterns: &[&Node], path: &str, imported: &mut Imported) -> Option<Vec<DnsName>> {
    let mut names = Vec::new();
    for pattern in patterns {
        let Some(text) = word(pattern) else { continue };
        match text.parse::<DnsName>() {
            Ok(name) => names.push(name),
            Err(_) if text.contains(['*', '?']) => {
                let why =
                    "a wildcard stands for whole labels on the left: write the names, or `*.example.com`";
                imported.cannot(line(pattern), format!("{path}: {text}"), why);
            }
            Err(error) => imported.cannot(line(pattern), format!("{path}: {text}"), error.to_string()),
        }
    }
    (patterns.is_empty() || !names.is_empty()).then_some(names)
}

use std::collections::BTreeMap;

use super::assembly::Assembly;
use super::parameter::{Parameter, ParameterType, Setting};
use super::template::Values;
use super::{CatalogEntry, ENTRY_KIND, TARGET};
use crate::experiment::{LocatedRun, placed};
use crate::parse::node::Node;
use crate::parse::{self, collect};
use crate::{Diagnostic, Diagnostics, SpecError, SpecPath};

/// An entry that knows where it was written.
#[derive(Clone, Debug)]
pub struct LocatedEntry {
    pub entry: CatalogEntry,
    pub(super) file: String,
    pub(super) node: Node,
}

/// The entries of one file.
///
/// # Errors
/// Everything that is wrong with the form of each; [`LocatedEntry::lint`] tells what is wrong with its meaning.
pub fn parse_entries(file: &str, text: &[u8]) -> Result<Vec<LocatedEntry>, Diagnostics> {
    let mut entries = Vec::new();
    let mut wrong = Vec::new();
    for node in parse::documents_of(file, text)? {
        match collect::document::<CatalogEntry>(&node, ENTRY_KIND) {
            Ok(entry) => entries.push(LocatedEntry {
                entry,
                file: file.to_owned(),
                node,
            }),
            Err(errors) => wrong.extend(placed(file, &SpecPath::root(), errors)),
        }
    }
    if entries.is_empty() && wrong.is_empty() {
        wrong.push(parse::nothing_in(file, ENTRY_KIND));
    }
    if wrong.is_empty() {
        Ok(entries)
    } else {
        Err(Diagnostics(wrong))
    }
}

impl LocatedEntry {
    /// A part of its `spec`, as it is written.
    pub(super) fn part(&self, field: &str) -> Option<&Node> {
        self.node.get("spec").and_then(|spec| spec.get(field))
    }

    pub fn file(&self) -> &str {
        &self.file
    }

    pub fn name(&self) -> &str {
        self.entry.name()
    }

    /// The experiment and the faults that it makes with these values. A target that is set several times makes a copy
    /// for each of the faults that name it, side by side.
    ///
    /// # Errors
    /// A value is of another type, or of no parameter, or missing; or what comes out is no valid run, with the places in
    /// the entry.
    pub fn run(&self, name: &str, settings: &[Setting]) -> Result<LocatedRun, Diagnostics> {
        let values = self.values(settings)?;
        let targets = targets(settings, &values)?;
        Assembly::new(self, &values).run(name, &targets)
    }

    /// What each parameter is.
    fn values(&self, settings: &[Setting]) -> Result<Values<'_>, Diagnostics> {
        let mut wrong = Vec::new();
        let mut given: BTreeMap<&str, Node> = BTreeMap::new();
        for setting in settings {
            let whole = |message: String, remedy: String| {
                Diagnostic::whole(&setting.source, setting.value.mark, message, remedy)
            };
            let Some(parameter) = self.entry.spec.parameters.get(&setting.name) else {
                let known: Vec<&str> = self.entry.spec.parameters.keys().map(String::as_str).collect();
                wrong.push(whole(
                    format!("{} has no parameter `{}`", self.name(), setting.name),
                    format!("it has {}", known.join(", ")),
                ));
                continue;
            };
            match parameter.kind.read(&setting.value) {
                Ok(node) => {
                    let before = given.insert(&setting.name, node);
                    if before.is_some() && parameter.kind != ParameterType::Target {
                        wrong.push(whole(
                            format!("`{}` is set twice", setting.name),
                            "keep one of them".to_owned(),
                        ));
                    }
                }
                Err(error) => {
                    wrong.push(whole(
                        format!("{}: {}", setting.name, error.message),
                        error.remedy,
                    ));
                }
            }
        }
        let mut values = Values::new();
        for (name, parameter) in &self.entry.spec.parameters {
            let value = given.remove(name.as_str()).or_else(|| usual(parameter));
            if value.is_none() && !parameter.optional {
                let example = parameter.example.as_ref().map_or_else(String::new, plain);
                wrong.push(Diagnostic::whole(
                    self.name(),
                    None,
                    format!("`{name}` has to be given: {}", parameter.description),
                    format!("for example `--set {name}={example}`"),
                ));
            }
            values.insert(name, value);
        }
        if wrong.is_empty() {
            Ok(values)
        } else {
            Err(Diagnostics(wrong))
        }
    }

    /// Adds file and line to an error about the entry.
    pub(super) fn told(
        &self,
        path: SpecPath,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Diagnostic {
        let mark = self.node.locate(&path);
        let error = SpecError::new(path, message, remedy);
        parse::place(&self.file, &SpecPath::root(), error, mark)
    }
}

/// What a parameter is that nobody sets.
fn usual(parameter: &Parameter) -> Option<Node> {
    parameter.default.as_ref()?;
    parameter.kind.read(&parameter.sample()?).ok()
}

/// The targets that were set, or the default one.
fn targets(settings: &[Setting], values: &Values<'_>) -> Result<Vec<Node>, Diagnostics> {
    let mut targets: Vec<Node> = Vec::new();
    for setting in settings.iter().filter(|setting| setting.name == TARGET) {
        // It was read once before.
        let target = ParameterType::Target.read(&setting.value);
        targets.extend(target.ok());
        if let [before @ .., last] = targets.as_slice()
            && before.iter().any(|it| it.value == last.value)
        {
            let message = "this target is named twice";
            let wrong = Diagnostic::whole(&setting.source, setting.value.mark, message, "keep one of them");
            return Err(wrong.into());
        }
    }
    if targets.is_empty() {
        targets.extend(values.get(TARGET).cloned().flatten());
    }
    Ok(targets)
}

fn plain(value: &serde_json::Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned)
}

pub(super) fn spec() -> SpecPath {
    SpecPath::of("spec")
}

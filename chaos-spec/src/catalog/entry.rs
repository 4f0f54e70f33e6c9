use std::collections::{BTreeMap, BTreeSet};

use super::parameter::{Parameter, ParameterType, Setting};
use super::template::{self, Unfit, Values, filled, names};
use super::{CatalogEntry, DURATION, ENTRY_KIND, Shows, TARGET};
use crate::experiment::{EXPERIMENT_KIND, LocatedRun, placed, run_of};
use crate::parse::node::{Node, Value};
use crate::parse::{self, collect};
use crate::{API_VERSION, Diagnostic, Diagnostics, KIND, SpecError, SpecPath};

/// An entry that knows where it was written.
#[derive(Clone, Debug)]
pub struct LocatedEntry {
    pub entry: CatalogEntry,
    file: String,
    node: Node,
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
        self.assemble(name, &values, &targets)
    }

    /// What is wrong with it: parameters, what it says to look at, and the run that its defaults and examples make.
    pub fn lint(&self) -> Vec<Diagnostic> {
        let mut wrong = self.lint_parameters();
        wrong.extend(self.lint_signals());
        for (field, text) in [
            ("title", &self.entry.spec.title),
            ("description", &self.entry.spec.description),
            ("trigger", &self.entry.spec.trigger),
            ("scope", &self.entry.spec.scope),
            ("rollback", &self.entry.spec.rollback),
            ("runbook", &self.entry.spec.runbook),
        ] {
            if text.trim().is_empty() {
                wrong.push(self.told(
                    spec().field(field),
                    "nothing is written here",
                    "somebody will read it at night",
                ));
            }
        }
        if wrong.is_empty() {
            let samples = self.samples();
            let target = samples.get(TARGET).cloned().flatten();
            let run = self.assemble(self.name(), &samples, target.as_slice());
            wrong.extend(run.err().into_iter().flat_map(|errors| errors.0));
        }
        wrong
    }

    fn lint_parameters(&self) -> Vec<Diagnostic> {
        let mut wrong = Vec::new();
        let parameters = &self.entry.spec.parameters;
        for (name, kind) in [
            (TARGET, ParameterType::Target),
            (DURATION, ParameterType::Duration),
        ] {
            if parameters
                .get(name)
                .is_none_or(|parameter| parameter.kind != kind)
            {
                let remedy = format!("write `{name}: {{type: {kind}, …}}`");
                let message = format!("there is no parameter `{name}` of type {kind}");
                wrong.push(self.told(spec().field("parameters"), message, remedy));
            }
        }
        let used = self.used();
        for (name, parameter) in parameters {
            let at = spec().field("parameters").field(name.clone());
            let said = [
                parameter.default.is_some(),
                parameter.example.is_some(),
                parameter.optional,
            ];
            if said.into_iter().filter(|it| *it).count() != 1 {
                wrong.push(self.told(
                    at.clone(),
                    "what it is when nobody says so is not clear",
                    "write exactly one of `default: …`, `example: …` (it has to be given) and `optional: true`",
                ));
            }
            if let Some(Err(error)) = parameter.sample().map(|sample| parameter.kind.read(&sample)) {
                wrong.push(self.told(at.clone(), error.message, error.remedy));
            }
            if !used.contains(name) {
                let remedy = format!("write `${{{name}}}` where it belongs, or leave it out");
                wrong.push(self.told(at, "nothing uses it", remedy));
            }
        }
        for name in used.iter().filter(|name| !parameters.contains_key(*name)) {
            let message = format!("`${{{name}}}` is used, and there is no such parameter");
            wrong.push(self.told(
                spec().field("parameters"),
                message,
                "add it, or write `$${` for the two characters",
            ));
        }
        wrong
    }

    fn lint_signals(&self) -> Vec<Diagnostic> {
        let mut wrong = Vec::new();
        let signals = &self.entry.spec.signals;
        let at = |index: usize| spec().field("signals").index(index).field("shows");
        for (index, signal) in signals.iter().enumerate() {
            if let Some(Shows::Counted(counted)) = &signal.shows
                && !self
                    .entry
                    .spec
                    .faults
                    .iter()
                    .any(|fault| fault.name == counted.fault)
            {
                let message = format!("there is no fault `{}`", counted.fault);
                wrong.push(self.told(at(index), message, "name one of `faults`"));
            }
            if let Some(Shows::Beyond(beyond)) = &signal.shows {
                let probes = self.entry.spec.experiment["steadyState"].as_array();
                let known = probes.is_some_and(|probes| probes.iter().any(|it| it["name"] == beyond.probe));
                if !known {
                    let message = format!("there is no probe `{}`", beyond.probe);
                    wrong.push(self.told(at(index), message, "name one of `experiment.steadyState`"));
                }
            }
        }
        if signals.iter().all(|signal| signal.shows.is_none()) {
            wrong.push(self.told(
                spec().field("signals"),
                "no run shows any of these",
                "add `shows: {fault: NAME, counter: dropped}` to one of them",
            ));
        }
        wrong
    }

    /// The parameters that the templates name.
    fn used(&self) -> BTreeSet<String> {
        let templates =
            ["faults", "experiment"].map(|field| self.node.get("spec").and_then(|it| it.get(field)));
        templates.into_iter().flatten().flat_map(names).collect()
    }

    /// Defaults and examples.
    fn samples(&self) -> Values<'_> {
        let parameters = self.entry.spec.parameters.iter();
        parameters
            .map(|(name, parameter)| {
                let sample = parameter.sample().and_then(|it| parameter.kind.read(&it).ok());
                (name.as_str(), sample)
            })
            .collect()
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

    fn assemble(&self, name: &str, values: &Values<'_>, targets: &[Node]) -> Result<LocatedRun, Diagnostics> {
        let mut wrong = Vec::new();
        let mut documents = Vec::new();
        let template = |path: &SpecPath, node: &Node, values: &Values<'_>, wrong: &mut Vec<Diagnostic>| {
            filled(node, values).unwrap_or_else(|unfit| {
                wrong.push(self.unfit(path, unfit));
                None
            })
        };
        let part = |field: &str| self.node.get("spec").and_then(|spec| spec.get(field));
        // How often there is each fault, where it is more than once.
        let mut copies: BTreeMap<&str, usize> = BTreeMap::new();
        if let Some(Value::List(items)) = part("faults").map(|node| &node.value) {
            for (fault, item) in self.entry.spec.faults.iter().zip(items) {
                let Some(node) = item.node.get("spec") else {
                    continue;
                };
                let path = spec().field("faults").index(item.index).field("spec");
                let several = targets.len() > 1 && names(node).contains(TARGET);
                if !several {
                    let filled = template(&path, node, values, &mut wrong);
                    documents.extend(filled.map(|node| document(KIND, &fault.name, node)));
                    continue;
                }
                copies.insert(&fault.name, targets.len());
                for (index, target) in targets.iter().enumerate() {
                    let mut values = values.clone();
                    values.insert(TARGET, Some(target.clone()));
                    let filled = template(&path, node, &values, &mut wrong);
                    let name = format!("{}-{}", fault.name, index + 1);
                    documents.extend(filled.map(|node| document(KIND, &name, node)));
                }
            }
        }
        let path = spec().field("experiment");
        if let Some(node) = part("experiment")
            && let Some(mut filled) = template(&path, node, values, &mut wrong)
        {
            if let Value::Map(entries) = &mut filled.value {
                let method = entries.iter_mut().filter(|entry| entry.key == "method");
                method.for_each(|entry| side_by_side(&mut entry.node, &copies));
            }
            documents.push(document(EXPERIMENT_KIND, name, filled));
        }
        let documents = documents
            .into_iter()
            .map(|node| (self.file.as_str(), node))
            .collect();
        run_of(&self.file, documents, wrong)
    }

    fn unfit(&self, prefix: &SpecPath, unfit: Unfit) -> Diagnostic {
        let remedy = format!(
            "correct the template, or add it to `parameters` of {}",
            self.name()
        );
        self.told(unfit.path.below(prefix), unfit.message, remedy)
    }

    fn told(&self, path: SpecPath, message: impl Into<String>, remedy: impl Into<String>) -> Diagnostic {
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

/// Steps on a fault of which there are several are steps on all of them.
fn side_by_side(node: &mut Node, copies: &BTreeMap<&str, usize>) {
    let Value::List(items) = &mut node.value else {
        return;
    };
    for item in items {
        let Value::Map(entries) = &mut item.node.value else {
            continue;
        };
        for entry in entries {
            if ["parallel", "serial"].contains(&entry.key.as_str()) {
                side_by_side(&mut entry.node, copies);
            }
            let Value::Text(fault) = &entry.node.value else {
                continue;
            };
            if let Some(count) = copies.get(fault.as_str()).filter(|_| entry.key == "fault") {
                let all = (1..=*count).map(|number| Node {
                    value: Value::Text(format!("{fault}-{number}")),
                    mark: entry.node.mark,
                });
                entry.node.value = Node::list(all.collect());
                entry.key = "faults".to_owned();
            }
        }
    }
}

fn document(kind: &str, name: &str, spec: Node) -> Node {
    let text = |text: &str| Node::new(Value::Text(text.to_owned()));
    let mark = spec.mark;
    Node {
        value: template::map([
            ("apiVersion", text(API_VERSION)),
            ("kind", text(kind)),
            ("metadata", Node::new(template::map([("name", text(name))]))),
            ("spec", spec),
        ]),
        mark,
    }
}

fn plain(value: &serde_json::Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned)
}

fn spec() -> SpecPath {
    SpecPath::of("spec")
}

//! What is wrong with an entry, beyond its form.

use std::collections::BTreeSet;

use super::assembly::Assembly;
use super::entry::{LocatedEntry, spec};
use super::parameter::ParameterType;
use super::template::{Values, names};
use super::{DURATION, Shows, TARGET};
use crate::Diagnostic;

impl LocatedEntry {
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
            let run = Assembly::new(self, &samples).run(self.name(), target.as_slice());
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
        let templates = ["faults", "experiment"].map(|field| self.part(field));
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
}

//! An entry and values become the documents of a run.

use std::collections::BTreeMap;

use super::TARGET;
use super::entry::{LocatedEntry, spec};
use super::template::{self, Values, filled, names};
use crate::experiment::{EXPERIMENT_KIND, LocatedRun, run_of};
use crate::parse::node::{Node, Value};
use crate::{API_VERSION, Diagnostic, Diagnostics, KIND, SpecPath};

/// A run in the making.
pub(super) struct Assembly<'a> {
    entry: &'a LocatedEntry,
    values: &'a Values<'a>,
    documents: Vec<Node>,
    /// How often there is each fault, where it is more than once.
    copies: BTreeMap<&'a str, usize>,
    wrong: Vec<Diagnostic>,
}

impl<'a> Assembly<'a> {
    pub(super) fn new(entry: &'a LocatedEntry, values: &'a Values<'a>) -> Self {
        Self {
            entry,
            values,
            documents: Vec::new(),
            copies: BTreeMap::new(),
            wrong: Vec::new(),
        }
    }

    /// The run of this name. Faults that name the target are there once for each of `targets`.
    pub(super) fn run(mut self, name: &str, targets: &[Node]) -> Result<LocatedRun, Diagnostics> {
        self.faults(targets);
        self.experiment(name);
        let file = self.entry.file.as_str();
        let documents = self.documents.into_iter().map(|node| (file, node)).collect();
        run_of(file, documents, self.wrong)
    }

    fn faults(&mut self, targets: &[Node]) {
        let Some(Value::List(items)) = self.entry.part("faults").map(|node| &node.value) else {
            return;
        };
        for (fault, item) in self.entry.entry.spec.faults.iter().zip(items) {
            let Some(node) = item.node.get("spec") else {
                continue;
            };
            let path = spec().field("faults").index(item.index).field("spec");
            if targets.len() < 2 || !names(node).contains(TARGET) {
                self.fault(&fault.name, &path, node, self.values);
                continue;
            }
            self.copies.insert(&fault.name, targets.len());
            for (index, target) in targets.iter().enumerate() {
                let mut values = self.values.clone();
                values.insert(TARGET, Some(target.clone()));
                self.fault(&format!("{}-{}", fault.name, index + 1), &path, node, &values);
            }
        }
    }

    fn fault(&mut self, name: &str, path: &SpecPath, node: &Node, values: &Values<'_>) {
        let filled = self.filled(path, node, values);
        self.documents
            .extend(filled.map(|spec| document(KIND, name, spec)));
    }

    fn experiment(&mut self, name: &str) {
        let Some(node) = self.entry.part("experiment") else {
            return;
        };
        let Some(mut filled) = self.filled(&spec().field("experiment"), node, self.values) else {
            return;
        };
        if let Value::Map(entries) = &mut filled.value {
            let method = entries.iter_mut().filter(|entry| entry.key == "method");
            method.for_each(|entry| side_by_side(&mut entry.node, &self.copies));
        }
        self.documents.push(document(EXPERIMENT_KIND, name, filled));
    }

    fn filled(&mut self, prefix: &SpecPath, node: &Node, values: &Values<'_>) -> Option<Node> {
        match filled(node, values) {
            Ok(filled) => filled,
            Err(unfit) => {
                let entry = self.entry;
                let remedy = format!(
                    "correct the template, or add it to `parameters` of {}",
                    entry.name()
                );
                self.wrong
                    .push(entry.told(unfit.path.below(prefix), unfit.message, remedy));
                None
            }
        }
    }
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

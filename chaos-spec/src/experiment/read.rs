//! The files of one run, and the body that carries it to a daemon.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EXPERIMENT_KIND, Experiment, validate_run};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::parse::collect::{self, Placed};
use crate::parse::node::{Node, Value};
use crate::parse::{self, Located, same_names};
use crate::path::SpecPath;
use crate::{NetworkFault, SpecError};

/// An experiment and its faults, which know where they were written.
#[derive(Clone, Debug)]
pub struct LocatedRun {
    pub experiment: Experiment,
    pub faults: Vec<Located>,
    file: String,
    node: Node,
}

/// What a daemon is asked to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunSubmission {
    pub experiment: Experiment,
    /// Those that its steps name.
    #[serde(default)]
    pub faults: Vec<NetworkFault>,
}

impl LocatedRun {
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Adds file and line to an error about the experiment.
    pub fn diagnose(&self, error: SpecError) -> Diagnostic {
        let mark = self.node.locate(&error.path);
        parse::place(&self.file, &SpecPath::root(), error, mark)
    }

    pub fn submission(&self) -> RunSubmission {
        RunSubmission {
            experiment: self.experiment.clone(),
            faults: self.faults.iter().map(|located| located.fault.clone()).collect(),
        }
    }
}

/// The experiment and the faults of some files. `files` are names, for the messages, and texts.
///
/// # Errors
/// Everything that is wrong with the form and the meaning of each document; or there is no experiment, or several.
pub fn parse_run(files: &[(String, Vec<u8>)]) -> Result<LocatedRun, Diagnostics> {
    let mut wrong = Vec::new();
    let mut documents = Vec::new();
    for (file, text) in files {
        match parse::documents_of(file, text) {
            Ok(found) => documents.extend(found.into_iter().map(|document| (file.as_str(), document))),
            Err(diagnostic) => wrong.push(diagnostic),
        }
    }
    let first = files.first().map_or("", |(file, _)| file.as_str());
    run_of(first, documents, wrong)
}

/// The same, of documents. `whole` is the file that a message names that is about all of them; `wrong` is known already.
pub(crate) fn run_of(
    whole: &str,
    documents: Vec<(&str, Node)>,
    mut wrong: Vec<Diagnostic>,
) -> Result<LocatedRun, Diagnostics> {
    let mut faults = Vec::new();
    let mut experiments: Vec<(&str, Node, Experiment)> = Vec::new();
    for (file, document) in documents {
        if kind_of(&document) != Some(EXPERIMENT_KIND) {
            match parse::located(file, &document) {
                Ok(located) => faults.extend(located),
                Err(errors) => wrong.extend(errors),
            }
            continue;
        }
        match collect::document::<Experiment>(&document, EXPERIMENT_KIND) {
            Ok(experiment) => experiments.push((file, document, experiment)),
            Err(errors) => wrong.extend(placed(file, &SpecPath::root(), errors)),
        }
    }
    wrong.extend(same_names(&faults));
    let run = match <[_; 1]>::try_from(experiments) {
        Ok([(file, node, experiment)]) => LocatedRun {
            experiment,
            faults,
            file: file.to_owned(),
            node,
        },
        Err(experiments) => {
            if wrong.is_empty() {
                let (message, remedy) = not_one(experiments.len());
                wrong.push(Diagnostic::whole(whole, None, message, remedy));
            }
            return Err(Diagnostics(wrong));
        }
    };
    if wrong.is_empty() {
        let submission = run.submission();
        let errors = validate_run(&submission.experiment, &submission.faults);
        wrong.extend(errors.into_iter().map(|error| run.diagnose(error)));
    }
    wrong.sort_by(|a, b| (&a.file, a.mark).cmp(&(&b.file, b.mark)));
    if wrong.is_empty() {
        Ok(run)
    } else {
        Err(Diagnostics(wrong))
    }
}

fn not_one(experiments: usize) -> (String, &'static str) {
    if experiments == 0 {
        (
            "there is no Experiment in it".to_owned(),
            "write one, or use `chaosctl apply` for faults alone",
        )
    } else {
        (
            format!("there are {experiments} experiments"),
            "run them one by one",
        )
    }
}

/// A [`RunSubmission`] from a request body. Errors carry paths into the body.
///
/// # Errors
/// Everything that is wrong with the form and the meaning of the experiment and of each fault.
pub fn parse_run_body(body: &[u8]) -> Result<RunSubmission, Diagnostics> {
    submission_of(&parse::json_of(body)?, &SpecPath::root())
}

/// The same of a part of a body, which stands at `prefix`.
pub(crate) fn submission_of(document: &Node, prefix: &SpecPath) -> Result<RunSubmission, Diagnostics> {
    let at = |path: SpecPath| path.below(prefix);
    let told = |path: SpecPath, message: &str, remedy: &str| {
        let error = SpecError::new(at(path), message, remedy);
        parse::place("", &SpecPath::root(), error, None)
    };
    let place = SpecPath::of("experiment");
    let Some(experiment) = document.get("experiment") else {
        return Err(told(
            place,
            "there is no experiment in it",
            "send `{\"experiment\": {…}, \"faults\": [{…}]}`",
        )
        .into());
    };
    if let Value::Map(entries) = &document.value
        && let Some(entry) = entries
            .iter()
            .find(|entry| !["experiment", "faults"].contains(&entry.key.as_str()))
    {
        let path = SpecPath::root().field(entry.key.clone());
        return Err(told(path, "there is no such field beside `experiment`", "leave it out").into());
    }
    let place = at(place);
    let mut wrong = Vec::new();
    let experiment = match collect::document::<Experiment>(experiment, EXPERIMENT_KIND) {
        Ok(experiment) => Some(experiment),
        Err(errors) => {
            wrong.extend(placed("", &place, errors));
            None
        }
    };
    let mut faults = Vec::new();
    match document.get("faults").map(|node| &node.value) {
        None => {}
        Some(Value::List(items)) => {
            for item in items {
                let prefix = at(SpecPath::of("faults").index(item.index));
                match collect::fault(&item.node) {
                    Ok(fault) => {
                        let unread = parse::unread_file(&fault);
                        wrong.extend(unread.map(|error| parse::place("", &prefix, error, None)));
                        faults.push(fault);
                    }
                    Err(errors) => wrong.extend(placed("", &prefix, errors)),
                }
            }
        }
        Some(_) => wrong.push(told(
            SpecPath::of("faults"),
            "expected a list of NetworkFaults",
            "send `[{…}, {…}]`",
        )),
    }
    let Some(experiment) = experiment.filter(|_| wrong.is_empty()) else {
        return Err(Diagnostics(wrong));
    };
    let errors = validate_run(&experiment, &faults);
    wrong.extend(
        errors
            .into_iter()
            .map(|error| parse::place("", &place, error, None)),
    );
    if wrong.is_empty() {
        Ok(RunSubmission { experiment, faults })
    } else {
        Err(Diagnostics(wrong))
    }
}

pub(crate) fn kind_of(document: &Node) -> Option<&str> {
    match document.get("kind").map(|node| &node.value) {
        Some(Value::Text(kind)) => Some(kind),
        _ => None,
    }
}

pub(crate) fn placed<'a>(
    file: &'a str,
    prefix: &'a SpecPath,
    errors: Vec<Placed>,
) -> impl Iterator<Item = Diagnostic> + 'a {
    errors
        .into_iter()
        .map(move |(error, mark)| parse::place(file, prefix, error, mark))
}

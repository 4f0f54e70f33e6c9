//! Text → faults. YAML with any number of documents, or JSON; strict about both. What comes back is valid in
//! itself, or a list of everything that is wrong, each with file, line, column, reason and remedy.

pub(crate) mod collect;
mod json;
mod nearest;
pub(crate) mod node;
mod read_error;
mod reader;
mod yaml;

use std::collections::HashMap;

use crate::diagnostic::{Diagnostic, Diagnostics, Mark};
use crate::path::SpecPath;
use crate::{KIND, NetworkFault, SpecError};
use node::Node;

/// The largest text that is read, in bytes. 65,536 addresses fit in with room.
pub const MAX_TEXT_BYTES: usize = 4 << 20;

/// Errors of one text that are told: more than anybody reads.
const MOST_ERRORS: usize = 1000;

/// A fault that knows where it was written: errors that are found later, by the daemon too, get a line.
#[derive(Clone, Debug)]
pub struct Located {
    pub fault: NetworkFault,
    file: String,
    /// Where the fault stands inside its document: the root, or `items[n]`.
    prefix: SpecPath,
    node: Node,
}

impl Located {
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Where a field of this fault is written (`spec.target.cgroup`); for one that was left out, where the
    /// nearest written part above it is.
    pub fn locate(&self, path: &SpecPath) -> Option<Mark> {
        self.node.locate(path)
    }

    /// Adds file and line to an error about this fault.
    pub fn diagnose(&self, error: SpecError) -> Diagnostic {
        let mark = self.locate(&error.path);
        place(&self.file, &self.prefix, error, mark)
    }
}

/// A text of megabytes can have as many errors as bytes: the first are told, and that there are more.
fn shorten_list(file: &str, wrong: &mut Vec<Diagnostic>) {
    if wrong.len() > MOST_ERRORS {
        wrong.truncate(MOST_ERRORS);
        let message = format!("there are more errors than these {MOST_ERRORS}");
        wrong.push(Diagnostic::whole(
            file,
            None,
            message,
            "correct these first, and try again",
        ));
    }
}

pub(crate) fn place(file: &str, prefix: &SpecPath, error: SpecError, mark: Option<Mark>) -> Diagnostic {
    Diagnostic {
        file: file.to_owned(),
        mark,
        path: error.path.below(prefix),
        message: error.message,
        remedy: error.remedy,
    }
}

/// The faults of a file, in the order in which they are written. `file` is for the messages; a name that ends in
/// `.json` makes the text JSON, any other YAML (which nearly every JSON text is as well).
///
/// # Errors
/// Everything that is wrong with the form and the meaning of each document.
pub fn parse(file: &str, text: &[u8]) -> Result<Vec<Located>, Diagnostics> {
    let documents = documents_of(file, text)?;
    let mut located = Vec::new();
    let mut wrong = Vec::new();
    for document in &documents {
        match self::located(file, document) {
            Ok(faults) => located.extend(faults),
            Err(errors) => wrong.extend(errors),
        }
    }
    wrong.extend(same_names(&located));
    wrong.sort_by_key(|diagnostic| diagnostic.mark);
    shorten_list(file, &mut wrong);
    if located.is_empty() && wrong.is_empty() {
        wrong.push(nothing_in(file, KIND));
    }
    if wrong.is_empty() {
        Ok(located)
    } else {
        Err(Diagnostics(wrong))
    }
}

/// A text without a document.
pub(crate) fn nothing_in(file: &str, kind: &str) -> Diagnostic {
    Diagnostic::whole(
        file,
        None,
        "there is no document in it",
        format!("write a {kind} into it"),
    )
}

/// The faults of one document, or all that is wrong with them.
pub(crate) fn located(file: &str, document: &Node) -> Result<Vec<Located>, Vec<Diagnostic>> {
    let mut located = Vec::new();
    let mut wrong = Vec::new();
    match collect::items(document) {
        Ok(items) => {
            for (prefix, node) in items {
                if wrong.len() > MOST_ERRORS {
                    break;
                }
                match collect::fault(node) {
                    Ok(fault) => {
                        located.push(Located {
                            fault,
                            file: file.to_owned(),
                            prefix,
                            node: node.clone(),
                        });
                    }
                    Err(errors) => {
                        wrong.extend(
                            errors
                                .into_iter()
                                .map(|(error, mark)| place(file, &prefix, error, mark)),
                        );
                    }
                }
            }
        }
        Err(error) => {
            let mark = document.locate(&error.path);
            wrong.push(place(file, &SpecPath::root(), error, mark));
        }
    }
    if wrong.is_empty() { Ok(located) } else { Err(wrong) }
}

/// The document of a request body.
pub(crate) fn json_of(body: &[u8]) -> Result<Node, Diagnostics> {
    check_size("", body)?;
    Ok(json::document("", body)?)
}

/// The faults of a request body: JSON, one `NetworkFault` or `{"items": […]}`. Errors carry paths (and pointers)
/// into the body, and line and column only where the JSON itself is broken.
///
/// # Errors
/// Everything that is wrong with the form and the meaning of each fault.
pub fn parse_body(body: &[u8]) -> Result<Vec<NetworkFault>, Diagnostics> {
    let document = json_of(body)?;
    let items = collect::items(&document).map_err(|error| place("", &SpecPath::root(), error, None))?;
    let mut faults = Vec::new();
    let mut wrong = Vec::new();
    for (prefix, node) in items {
        if wrong.len() > MOST_ERRORS {
            break;
        }
        match collect::fault(node) {
            Ok(fault) => {
                wrong.extend(unread_file(&fault).map(|error| place("", &prefix, error, None)));
                faults.push((prefix, fault));
            }
            Err(errors) => wrong.extend(
                errors
                    .into_iter()
                    .map(|(error, mark)| place("", &prefix, error, mark)),
            ),
        }
    }
    let mut seen: HashMap<&str, &SpecPath> = HashMap::new();
    for (prefix, fault) in &faults {
        if let Some(first) = seen.insert(fault.name(), prefix) {
            let path = SpecPath::of("metadata.name").below(prefix);
            let message = format!("the name `{}` is taken by {first}", fault.name());
            let remedy = "give each fault a name of its own".to_owned();
            wrong.push(Diagnostic {
                file: String::new(),
                mark: None,
                path,
                message,
                remedy,
            });
        }
    }
    shorten_list("", &mut wrong);
    if wrong.is_empty() {
        Ok(faults.into_iter().map(|(_, fault)| fault).collect())
    } else {
        Err(Diagnostics(wrong))
    }
}

/// A file that nobody has read yet: whoever asks a daemon over a wire may not have it open files.
pub(crate) fn unread_file(fault: &NetworkFault) -> Option<SpecError> {
    let source = fault.distribution_table()?;
    source.file.as_ref()?;
    Some(SpecError::new(
        SpecPath::of("spec.fault.delay.distribution.file"),
        "the daemon reads no files for its callers",
        "send the offsets as `table: […]`; chaosctl does so by itself",
    ))
}

/// One diagnostic for each fault whose name an earlier one has; across files as well.
pub fn same_names(faults: &[Located]) -> Vec<Diagnostic> {
    let path = SpecPath::of("metadata.name");
    let mut seen: HashMap<&str, &Located> = HashMap::new();
    let mut wrong = Vec::new();
    for located in faults {
        let name = located.fault.name();
        let Some(first) = seen.get(name) else {
            seen.insert(name, located);
            continue;
        };
        let place = match first.locate(&path) {
            Some(mark) if first.file == located.file => format!("line {}", mark.line),
            Some(mark) => format!("{}:{mark}", first.file),
            None => first.file.clone(),
        };
        let message = format!("the name `{name}` is taken at {place}");
        wrong.push(located.diagnose(SpecError::new(
            path.clone(),
            message,
            "give each fault a name of its own",
        )));
    }
    wrong
}

/// The documents of a file of any kind.
pub(crate) fn documents_of(file: &str, text: &[u8]) -> Result<Vec<Node>, Diagnostic> {
    check_size(file, text)?;
    let text = std::str::from_utf8(text).map_err(|error| not_text(file, text, error.valid_up_to()))?;
    documents(file, text)
}

fn documents(file: &str, text: &str) -> Result<Vec<Node>, Diagnostic> {
    if !std::path::Path::new(file)
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("json"))
    {
        return yaml::documents(file, text);
    }
    // The JSON parser decides whether it is JSON; the YAML parser then knows where everything stands. What only
    // JSON allows (there is little) is read without places.
    let mut document = json::document(file, text.as_bytes())?;
    Ok(yaml::documents(file, text).unwrap_or_else(|_| {
        document.stand_at(Mark { line: 1, column: 1 });
        vec![document]
    }))
}

fn check_size(file: &str, text: &[u8]) -> Result<(), Diagnostic> {
    if text.len() <= MAX_TEXT_BYTES {
        return Ok(());
    }
    let mebibytes = MAX_TEXT_BYTES >> 20;
    let message = format!(
        "{} bytes are more than the {mebibytes} MiB that are read",
        text.len()
    );
    Err(Diagnostic::whole(file, None, message, "split it into several"))
}

fn not_text(file: &str, text: &[u8], valid: usize) -> Diagnostic {
    let good = &text[..valid];
    let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
    let mark = u32::try_from(line).ok().map(|line| Mark { line, column: 1 });
    Diagnostic::whole(file, mark, "this is not UTF-8 text", "save the file as UTF-8")
}

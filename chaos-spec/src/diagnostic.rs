//! What is wrong in what somebody wrote, where, and what to write instead.

use std::fmt;

use crate::api::ProblemError;
use crate::path::SpecPath;
use crate::units::REMEDY_MARK;

/// A place in a text, both from 1; the column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    pub line: u32,
    pub column: u32,
}

/// Something that a well-formed spec says and may not say. Knows the field, not the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}{}{remedy}", if remedy.is_empty() { "" } else { REMEDY_MARK })]
pub struct SpecError {
    pub path: SpecPath,
    pub message: String,
    pub remedy: String,
}

/// One thing wrong, with its place. Displays as `file:line:column: path: message – remedy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Empty for a request body.
    pub file: String,
    pub mark: Option<Mark>,
    /// Inside the document; the root when the text as a whole is meant.
    pub path: SpecPath,
    pub message: String,
    pub remedy: String,
}

/// Everything that is wrong in one text: never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

/// The longest reason or remedy, in characters. They quote what was written, which may be megabytes of it.
const MOST: usize = 600;

/// At most `most` characters of a text that others wrote, and `…` where there were more.
pub fn cut(text: impl Into<String>, most: usize) -> String {
    let mut text = text.into();
    if let Some((end, _)) = text.char_indices().nth(most) {
        text.truncate(end);
        text.shrink_to_fit();
        text.push('…');
    }
    text
}

impl SpecError {
    /// What is longer than people read is cut.
    pub fn new(path: SpecPath, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            path,
            message: cut(message, MOST),
            remedy: cut(remedy, MOST),
        }
    }
}

impl Diagnostic {
    /// About the text as a whole, or about a place that is no field.
    pub fn whole(
        file: &str,
        mark: Option<Mark>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            file: file.to_owned(),
            mark,
            path: SpecPath::root(),
            message: cut(message, MOST),
            remedy: cut(remedy, MOST),
        }
    }

    pub fn line(&self) -> Option<u32> {
        self.mark.map(|mark| mark.line)
    }

    pub fn column(&self) -> Option<u32> {
        self.mark.map(|mark| mark.column)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file.is_empty(), self.mark) {
            (false, Some(mark)) => write!(f, "{}:{mark}: ", self.file)?,
            (false, None) => write!(f, "{}: ", self.file)?,
            (true, Some(mark)) => write!(f, "{mark}: ")?,
            (true, None) => {}
        }
        if !self.path.is_root() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if self.remedy.is_empty() {
            Ok(())
        } else {
            write!(f, "{REMEDY_MARK}{}", self.remedy)
        }
    }
}

impl fmt::Display for Diagnostics {
    /// One line for each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, diagnostic) in self.0.iter().enumerate() {
            let end = if place == 0 { "" } else { "\n" };
            write!(f, "{end}{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl From<SpecError> for ProblemError {
    fn from(error: SpecError) -> Self {
        Self {
            pointer: error.path.pointer(),
            path: error.path.to_string(),
            message: error.message,
            remedy: error.remedy,
            ..Self::default()
        }
    }
}

impl From<Diagnostic> for ProblemError {
    fn from(diagnostic: Diagnostic) -> Self {
        Self {
            pointer: diagnostic.path.pointer(),
            path: diagnostic.path.to_string(),
            fault: None,
            file: (!diagnostic.file.is_empty()).then_some(diagnostic.file),
            line: diagnostic.mark.map(|mark| mark.line),
            column: diagnostic.mark.map(|mark| mark.column),
            message: diagnostic.message,
            remedy: diagnostic.remedy,
            rule: None,
        }
    }
}

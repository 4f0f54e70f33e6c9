use std::fmt;

use chaos_spec::api::{Problem, ProblemError};
use hyper::StatusCode;

use crate::exit::Exit;

/// What the daemon said instead of doing it. Displays with one line for each thing that is wrong.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: u16,
    problem: Problem,
}

impl Refusal {
    /// From an answer that is no success. A body that is no problem document is shown as it is.
    pub(super) fn from_answer(status: StatusCode, body: &[u8]) -> Self {
        let problem = serde_json::from_slice(body).unwrap_or_else(|_| {
            const MOST: usize = 400;
            let text = String::from_utf8_lossy(body);
            let title = status.canonical_reason().unwrap_or("refused by the daemon");
            Problem::new(
                status.as_u16(),
                title,
                text.trim().chars().take(MOST).collect::<String>(),
            )
        });
        Self {
            status: status.as_u16(),
            problem,
        }
    }

    pub(crate) const fn status(&self) -> u16 {
        self.status
    }

    pub(crate) fn errors_mut(&mut self) -> &mut [ProblemError] {
        &mut self.problem.errors
    }

    /// `halted` of `urn:chaos-daemon:problem:halted`.
    fn kind(&self) -> &str {
        let kind = self.problem.kind.as_str();
        kind.rsplit([':', '/']).next().unwrap_or(kind)
    }

    pub(crate) fn exit(&self) -> Exit {
        match self.status {
            // 507: what is done cannot be taken down, so nothing new is done.
            401 | 403 | 423 | 507 => Exit::REFUSED,
            // What a conflict is about stands at the end of its type.
            409 if ["halted", "policy", "limit"].contains(&self.kind()) => Exit::REFUSED,
            409 if self.kind() == "no-steady-state" => Exit::UNSTEADY,
            500.. => Exit::INTERNAL,
            _ => Exit::USAGE,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem {
            title,
            detail,
            errors,
            ..
        } = &self.problem;
        let title = if title.is_empty() {
            "the daemon refuses"
        } else {
            title
        };
        f.write_str(title)?;
        if !detail.is_empty() {
            write!(f, ": {detail}")?;
        }
        write!(f, " (HTTP {})", self.status)?;
        for error in errors {
            f.write_str("\n  ")?;
            write_error(f, error)?;
        }
        Ok(())
    }
}

/// `file:line:column: fault NAME: path: message – remedy`, without what is not known.
fn write_error(f: &mut fmt::Formatter<'_>, error: &ProblemError) -> fmt::Result {
    if let Some(file) = &error.file {
        write!(f, "{file}:")?;
        if let (Some(line), column) = (error.line, error.column) {
            write!(f, "{line}:")?;
            if let Some(column) = column {
                write!(f, "{column}:")?;
            }
        }
        f.write_str(" ")?;
    }
    if let Some(fault) = &error.fault {
        write!(f, "fault {fault}: ")?;
    }
    let path = if error.path.is_empty() {
        &error.pointer
    } else {
        &error.path
    };
    if !path.is_empty() {
        write!(f, "{path}: ")?;
    }
    f.write_str(&error.message)?;
    if let Some(rule) = &error.rule {
        write!(f, " (policy {rule})")?;
    }
    if error.remedy.is_empty() {
        Ok(())
    } else {
        write!(f, " – {}", error.remedy)
    }
}

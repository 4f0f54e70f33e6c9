//! Everything that stops a verb, with the exit code that scripts see.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::daemon::{ClientError, PlaceError, Refusal};
use crate::exit::Exit;
use crate::manifest::ManifestError;
use crate::output::Paint;
use crate::verb::pki::PkiError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What was asked for makes no sense; the text says what to write.
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// It may not begin at this time.
    #[error("{0}")]
    NotNow(String),
    /// A fault was to end, and whether it did is not known.
    #[error("{0}")]
    RollbackIncomplete(String),
    /// The daemon could not carry out what it had accepted.
    #[error("{0}")]
    NotCarriedOut(String),
    #[error("cannot write to {to}: {source}")]
    Write { to: String, source: io::Error },
    #[error("cannot read {from}: {source}")]
    Read { from: String, source: io::Error },
    #[error("cannot render as JSON: {0}")]
    Render(serde_json::Error),
    #[error("cannot render as YAML: {0}")]
    RenderYaml(String),
    #[error("cannot start the client: {0}")]
    Runtime(io::Error),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl Failure {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::Manifest(_) | Self::Place(_) | Self::Pki(_) | Self::Read { .. } => {
                Exit::USAGE
            }
            Self::NotNow(_) => Exit::REFUSED,
            Self::Client(error) if error.is_refusal() => Exit::REFUSED,
            Self::Client(error) if error.is_unreachable() => Exit::UNREACHABLE,
            Self::Refused(refusal) => refusal.exit(),
            Self::RollbackIncomplete(_) => Exit::ROLLBACK_INCOMPLETE,
            Self::Client(_)
            | Self::NotCarriedOut(_)
            | Self::Write { .. }
            | Self::Render(_)
            | Self::RenderYaml(_)
            | Self::Runtime(_) => Exit::INTERNAL,
        }
    }

    /// Whether there was nobody to ask.
    pub(crate) const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Client(error) if error.is_unreachable())
    }

    /// Prints `error: …` and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        // With nobody reading stderr there is nobody to tell.
        let _ = writeln!(io::stderr(), "{} {self}", Paint::stderr().error("error:"));
        self.exit().into()
    }
}

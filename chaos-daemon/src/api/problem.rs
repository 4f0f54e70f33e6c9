//! Every refusal is an RFC 9457 problem document.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chaos_spec::api::{PROBLEM_CONTENT_TYPE, Problem, ProblemError};
use chaos_spec::{SpecError, SpecPath};

use crate::datapath::DatapathError;
use crate::engine::{EngineError, Refused, Why};
use crate::safety::approvals::ApprovalError;

/// Names of the kinds of problem, as they end the `type` URI.
mod kind {
    pub(super) const HALTED: &str = "halted";
    pub(super) const INVALID: &str = "invalid";
    pub(super) const POLICY: &str = "policy";
    pub(super) const LIMIT: &str = "limit";
    pub(super) const NO_SUCH_FAULT: &str = "no-such-fault";
    pub(super) const UNSTEADY: &str = "no-steady-state";
    pub(super) const UNSUPPORTED: &str = "unsupported";
    pub(super) const DATAPATH: &str = "datapath";
    pub(super) const APPROVAL: &str = "approval";
    pub(super) const AUDIT: &str = "audit";
    pub(super) const NOT_KEPT: &str = "halt-not-kept";
    pub(super) const STOPPED: &str = "stopped";
}

/// An answer that is no success. The request's path is put in by [`super::finish`].
#[derive(Clone, Debug)]
pub(super) struct Refusal(pub(super) Box<Problem>);

impl Refusal {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("refused");
        Self(Box::new(Problem::new(status.as_u16(), title, detail)))
    }

    /// `halted` of `urn:chaos-daemon:problem:halted`; else the title.
    pub(super) fn rule(&self) -> &str {
        self.0
            .kind
            .rsplit_once(':')
            .filter(|_| self.0.kind.starts_with("urn:"))
            .map_or(&self.0.title, |(_, rule)| rule)
    }

    #[must_use]
    pub(super) fn of_kind(mut self, kind: &str, title: &str) -> Self {
        self.0.kind = format!("urn:chaos-daemon:problem:{kind}");
        title.clone_into(&mut self.0.title);
        self
    }

    #[must_use]
    pub(super) fn with_errors(mut self, errors: Vec<ProblemError>) -> Self {
        self.0.errors = errors;
        self
    }

    /// What was sent has the right form and the wrong content.
    pub(super) fn invalid(errors: Vec<ProblemError>) -> Self {
        let count = errors.len();
        let detail = match count {
            1 => "one thing is wrong; nothing has been changed".to_owned(),
            _ => format!("{count} things are wrong; nothing has been changed"),
        };
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
            .of_kind(kind::INVALID, "this cannot be accepted")
            .with_errors(errors)
    }

    /// From the engine; `single` when the body was one fault, so that pointers begin at the fault itself.
    pub(super) fn from_engine(error: EngineError, single: bool) -> Self {
        let text = error.to_string();
        match error {
            EngineError::Halted(_) => {
                Self::new(StatusCode::CONFLICT, text).of_kind(kind::HALTED, "the daemon is halted")
            }
            EngineError::Invalid(refused) => Self::invalid(
                refused
                    .into_iter()
                    .map(|refused| locate(refused, single))
                    .collect(),
            ),
            EngineError::Policy(refused) => {
                let errors = refused.into_iter().map(|refused| locate(refused, single));
                Self::new(StatusCode::FORBIDDEN, "nothing has been changed")
                    .of_kind(kind::POLICY, "refused by this node's policy")
                    .with_errors(errors.collect())
            }
            EngineError::TooMany { .. } => {
                Self::new(StatusCode::CONFLICT, text).of_kind(kind::LIMIT, "too many faults")
            }
            EngineError::Unsteady(refused) => {
                let errors = refused.into_iter().map(|refused| locate(refused, single));
                Self::new(StatusCode::CONFLICT, "nothing has been changed")
                    .of_kind(kind::UNSTEADY, "no steady state, not started")
                    .with_errors(errors.collect())
            }
            EngineError::NodeUnsteady { .. } => {
                Self::new(StatusCode::CONFLICT, text).of_kind(kind::UNSTEADY, "no steady state, not started")
            }
            EngineError::TooManyChecks { .. } => {
                Self::new(StatusCode::CONFLICT, text).of_kind(kind::LIMIT, "too many health checks")
            }
            EngineError::EndedMeanwhile(_) => Self::new(StatusCode::CONFLICT, text),
            EngineError::NoSuchFault(_) => {
                Self::new(StatusCode::NOT_FOUND, text).of_kind(kind::NO_SUCH_FAULT, "no such fault")
            }
            EngineError::Datapath(error) => Self::from_datapath(&error, text),
            EngineError::Halt(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
                .of_kind(kind::NOT_KEPT, "the halt file is stuck"),
            EngineError::NeedsApproval(_) => Self::new(StatusCode::FORBIDDEN, text)
                .of_kind(kind::APPROVAL, "a second person has to approve this"),
            EngineError::Approval(ApprovalError::Unknown(_)) => Self::new(StatusCode::NOT_FOUND, text),
            EngineError::Approval(ApprovalError::Own) => {
                Self::new(StatusCode::FORBIDDEN, text).of_kind(kind::APPROVAL, "not by yourself")
            }
            EngineError::Approval(ApprovalError::NotKept { .. }) => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, text)
            }
            EngineError::Audit(_) => Self::new(StatusCode::INSUFFICIENT_STORAGE, text)
                .of_kind(kind::AUDIT, "nothing is done that cannot be taken down"),
            EngineError::Stopped | EngineError::Hung(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
                .of_kind(kind::STOPPED, "the engine does not answer"),
        }
    }

    fn from_datapath(error: &DatapathError, text: String) -> Self {
        let detail = format!("{text}; nothing has been changed");
        match error {
            DatapathError::Plan(_)
            | DatapathError::Target(_)
            | DatapathError::Crowded { .. }
            | DatapathError::Unsupported { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
                .of_kind(kind::UNSUPPORTED, "this host cannot carry it out"),
            DatapathError::Full { .. } | DatapathError::Files { .. } => {
                Self::new(StatusCode::CONFLICT, detail).of_kind(kind::LIMIT, "no room left")
            }
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
                .of_kind(kind::DATAPATH, "the kernel did not do it"),
        }
    }
}

/// Where in the body the refused fault is, and what about it.
fn locate(refused: Refused, single: bool) -> ProblemError {
    let Refused { index, name, why } = refused;
    let spec = SpecPath::root().field("spec");
    let mut rule = None;
    let error = match why {
        Why::Spec(error) => error,
        Why::Policy(violation) => {
            rule = Some(format!("{}: {}", violation.at, violation.rule));
            SpecError::new(violation.path, violation.message, violation.remedy)
        }
        Why::Target(error) => {
            let text = error.to_string();
            // The messages of that room end with the remedy behind a dash.
            let (message, remedy) = text.split_once(" – ").unwrap_or((&text, ""));
            SpecError::new(spec.field("target"), message, remedy)
        }
    };
    let error = if single {
        error
    } else {
        let items = SpecPath::root().field("items").index(index);
        SpecError {
            path: error.path.below(&items),
            ..error
        }
    };
    ProblemError {
        fault: Some(name),
        rule,
        ..ProblemError::from(error)
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        Self::from_engine(error, true)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The body of a refusal, now that the path is known.
pub(super) fn render(Refusal(problem): Refusal, status: StatusCode, path: &str) -> Response {
    let problem = problem.with_instance(path);
    // Text and numbers only: always JSON.
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = (status, body).into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(PROBLEM_CONTENT_TYPE),
    );
    response
}

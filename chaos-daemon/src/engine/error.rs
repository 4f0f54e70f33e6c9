use chaos_spec::SpecError;
use chaos_spec::api::HaltState;

use crate::datapath::DatapathError;
use crate::observe::audit::AuditError;
use crate::safety::approvals::{ApprovalError, NeedsApproval};
use crate::safety::halt::HaltError;
use crate::safety::policy::Violation;
use crate::target::TargetError;

/// Why the engine did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("halted{}: new faults are refused until somebody releases it – `chaosctl halt --release`", by(.0))]
    Halted(HaltState),
    #[error("{}", summary(.0))]
    Invalid(Vec<Refused>),
    #[error("refused by policy: {}", summary(.0))]
    Policy(Vec<Refused>),
    #[error(
        "{running} faults run and {asked} more were asked for, but this daemon takes {limit} – end some, or start it \
         with a higher --max-faults"
    )]
    TooMany {
        running: usize,
        asked: usize,
        limit: usize,
    },
    #[error("no steady state, not started: {}", summary(.0))]
    Unsteady(Vec<Refused>),
    #[error("no steady state on this node, not started: {why} ({rule}) – make it well first")]
    NodeUnsteady { rule: String, why: String },
    #[error(
        "{limit} health checks are all that this daemon takes at a time – end some faults, or check less"
    )]
    TooManyChecks { limit: usize },
    #[error("fault {0} ended while it was being changed – apply it again")]
    EndedMeanwhile(String),
    #[error("there is no fault named `{0}` – `chaosctl get faults` lists them")]
    NoSuchFault(String),
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    #[error(transparent)]
    Halt(#[from] HaltError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    NeedsApproval(#[from] NeedsApproval),
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    #[error(
        "the engine has not answered for {0:?} – faults are void once the lease is over; restart the daemon if it stays so"
    )]
    Hung(std::time::Duration),
    #[error(
        "the engine has stopped – the daemon is ending, or look into its log for a panic; faults end with it"
    )]
    Stopped,
}

/// Why the engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("a thread cannot be started ({0}) – raise the limit of tasks (TasksMax=, ulimit -u)")]
    Thread(#[from] std::io::Error),
    #[error(transparent)]
    Names(#[from] TargetError),
    #[error(transparent)]
    Datapath(#[from] DatapathError),
}

/// One fault of a request that cannot be accepted.
#[derive(Debug)]
pub struct Refused {
    /// Its place in the request, from 0.
    pub index: usize,
    pub name: String,
    pub why: Why,
}

#[derive(Debug)]
pub enum Why {
    Spec(SpecError),
    Target(TargetError),
    Policy(Violation),
}

/// The first refusal in full, and how many more there are.
fn summary(refused: &[Refused]) -> String {
    let Some(first) = refused.first() else {
        return "nothing was accepted".to_owned();
    };
    let why = match &first.why {
        Why::Spec(error) => error.to_string(),
        Why::Target(error) => error.to_string(),
        Why::Policy(violation) => violation.to_string(),
    };
    match refused.len() {
        1 => format!("{}: {why}", first.name),
        more => format!("{}: {why} (and {} more)", first.name, more - 1),
    }
}

fn by(state: &HaltState) -> String {
    let mut text = String::new();
    if let Some(by) = &state.by {
        text = format!("{text} by {by}");
    }
    if let Some(since) = &state.since {
        text = format!("{text} since {since}");
    }
    if let Some(reason) = &state.reason {
        text = format!("{text} ({reason})");
    }
    text
}

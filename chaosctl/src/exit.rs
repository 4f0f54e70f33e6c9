//! Exit codes: part of the contract with scripts.

use std::process::ExitCode;

use chaos_spec::api::Outcome;

/// How a run of `chaosctl` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit(u8);

impl Exit {
    pub(crate) const DONE: Self = Self(0);
    /// Something inside us or inside the daemon.
    pub(crate) const INTERNAL: Self = Self(1);
    /// Bad flags, a bad file, a name that does not exist.
    pub(crate) const USAGE: Self = Self(2);
    /// The fault ended before its time (health, halt, …) and everything was rolled back.
    pub(crate) const ABORTED: Self = Self(11);
    /// A health check is not well: the fault was not started.
    pub(crate) const UNSTEADY: Self = Self(12);
    /// A fault was to end, and whether it did is not known.
    pub(crate) const ROLLBACK_INCOMPLETE: Self = Self(13);
    /// By policy, or because the node is halted.
    pub(crate) const REFUSED: Self = Self(14);
    pub(crate) const UNREACHABLE: Self = Self(20);
    /// Ctrl-C, and what was started is undone.
    pub(crate) const INTERRUPTED: Self = Self(130);
}

impl Exit {
    /// Of an experiment.
    pub(crate) const fn of_outcome(outcome: Outcome) -> Self {
        Self(outcome.exit_code())
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

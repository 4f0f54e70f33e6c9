use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One line of `GET /v1/events` (server-sent events; `seq` is the event id).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Counts up by one from the daemon's start; a gap means events were missed.
    pub seq: u64,
    pub time: Timestamp,
    pub kind: EventKind,
    /// Name of the fault it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum EventKind {
    FaultAccepted,
    FaultActive,
    FaultChanged,
    FaultEnded,
    FaultRefused,
    Warning,
    Halted,
    Released,
    /// What a previous daemon left behind was undone.
    Recovered,
    /// The node's policy was read again.
    PolicyReloaded,
    ExperimentStarted,
    ExperimentEnded,
    /// An experiment was due, and did not begin.
    ScheduleSkipped,
    DaemonStarted,
    DaemonStopping,
    /// A kind that this version does not know yet.
    #[serde(other)]
    Unknown,
}

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Packets, Reason};

/// `GET /v1/history`: what ran on this node, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct History {
    pub items: Vec<Run>,
    /// There is more: ask again with `before` set to this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}

/// One run of a fault, or of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Counts up; never used twice.
    pub id: i64,
    /// `fault` or `experiment`.
    pub kind: String,
    pub name: String,
    /// Who started it.
    pub by: String,
    pub phase: RunPhase,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    pub started_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// As it was at the end.
    pub packets: Packets,
    /// As it was written, last change included.
    pub spec: serde_json::Value,
    /// What happened to it, in order.
    #[serde(default)]
    pub transitions: Vec<Transition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RunPhase {
    Active,
    Ended,
    /// The daemon died while it ran: it ended with it, and was not started again.
    Interrupted,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    pub time: Timestamp,
    /// As in events: `FaultActive`, `FaultChanged`, …
    pub kind: String,
    pub message: String,
}

impl RunPhase {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Ended => "Ended",
            Self::Interrupted => "Interrupted",
        }
    }
}

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Metadata;
use crate::schedule::ScheduleSpec;

/// One schedule, and how it goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleView {
    pub metadata: Metadata,
    pub spec: ScheduleSpec,
    /// Name of the experiment that it begins.
    pub experiment: String,
    pub status: ScheduleStatus,
}

/// `GET /v1/schedules`, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleList {
    pub items: Vec<ScheduleView>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScheduleStatus {
    /// Who wrote it: its experiments begin in their name.
    pub by: String,
    /// When the next one begins, jitter included; none: never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// When one was due last, and what came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_message: Option<String>,
    /// The last experiment that it began, by its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run: Option<String>,
    pub begun: u64,
    /// Due, and not begun, for a reason that was told.
    pub skipped: u64,
    /// Due while nobody was there to begin them.
    pub missed: u64,
}

impl ScheduleView {
    pub fn name(&self) -> &str {
        &self.metadata.name
    }
}

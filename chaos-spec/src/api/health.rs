use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// One health check of a fault, in the order of its spec.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthStatus {
    /// Its name, or what it probes.
    pub name: String,
    pub state: HealthState,
    /// Samples so far, those before the start included.
    #[serde(default)]
    pub samples: u64,
    /// Of these, not well.
    #[serde(default)]
    pub failed: u64,
    /// Failures that are not forgotten.
    #[serde(default)]
    pub failures: u32,
    /// So many end the fault.
    #[serde(default)]
    pub failure_threshold: u32,
    /// Why the last sample is not well; absent when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The last samples, oldest first.
    #[serde(default)]
    pub last: Vec<HealthSample>,
    /// From the end of the sample that decided to the end of the fault; only of the check that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detached_after: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum HealthState {
    /// Nothing was seen yet.
    #[default]
    Unknown,
    Well,
    /// Some failures, not enough of them yet.
    Failing,
    /// It has ended the fault.
    Failed,
}

/// One look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthSample {
    pub at: Timestamp,
    pub took: Duration,
    pub well: bool,
    /// The number that a query gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl HealthState {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Well => "Well",
            Self::Failing => "Failing",
            Self::Failed => "Failed",
        }
    }
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

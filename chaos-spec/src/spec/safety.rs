use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lists::not_empty;
use crate::Duration;

/// What ends the fault early.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Safety {
    /// The fault goes quiet when it has acted on so many wire packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_packets: Option<u64>,
    /// The fault ends when one of these fails.
    #[serde(
        default,
        deserialize_with = "not_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub health: Vec<HealthCheck>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthCheck {
    pub http: HttpProbe,
    #[serde(default = "one_second")]
    pub interval: Duration,
    #[serde(default = "half_a_second")]
    pub timeout: Duration,
    #[serde(default = "three")]
    #[schemars(range(min = 1))]
    pub failure_threshold: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpProbe {
    pub url: String,
}

fn one_second() -> Duration {
    Duration::from_secs(1)
}

fn half_a_second() -> Duration {
    Duration::from_millis(500)
}

fn three() -> u32 {
    3
}

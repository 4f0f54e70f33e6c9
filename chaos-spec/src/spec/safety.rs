use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::HealthCheck;
use super::lists::not_empty;

/// What ends the fault early.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Safety {
    /// The fault goes quiet when it has acted on so many wire packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_packets: Option<u64>,
    /// The fault acts on the first so many flows it meets, and leaves every other alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_536))]
    pub max_flows: Option<u64>,
    /// Guards that do not hold for this fault, one by one: `ssh`, `dhcp`, … (`chaosctl status` lists them).
    #[serde(
        default,
        deserialize_with = "not_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub unguard: Vec<String>,
    /// The fault does not start unless all of these are well, and ends when one of them fails.
    #[serde(
        default,
        deserialize_with = "not_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub health: Vec<HealthCheck>,
}

//! What a node allows: `policy.yaml`. Written by whoever owns the node, enforced by its daemon whatever the caller
//! says. A section that is left out allows everything.

mod read;
mod scope;
mod who;
mod window;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use read::LocatedPolicy;
pub use scope::{Scope, TargetWord};
pub use who::{Account, Approval, ROLE_URI, Role, Roles, Severity, Who};
pub use window::{ClockTime, Days, TimeZoneName, Window};

use crate::{Chance, Duration, FaultKind, HealthCheck, Rate};

pub const POLICY_KIND: &str = "Policy";

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// Always `chaos-daemon.dev/v1alpha1`.
    pub api_version: String,
    /// Always `Policy`.
    pub kind: String,
    /// How much.
    #[serde(default)]
    pub limits: Limits,
    /// What no fault may name or be aimed at. A fault that names no ports or networks at all is not refused for them.
    #[serde(default)]
    pub deny: Scope,
    /// What faults may be aimed at, and nothing else.
    #[serde(default)]
    pub allow: Scope,
    /// When faults may run; left out: always. A fault must be over before its window closes.
    #[serde(default)]
    pub windows: Vec<Window>,
    /// What has to be well on this node whenever a fault is to start, and while any is active: else all end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<HealthCheck>,
    /// Who may do what; left out: whoever may open the socket may do everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Roles>,
    /// What needs a second person; left out: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
}

/// The most that is allowed. Left out: no limit but the daemon's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Faults at the same time on this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<u32>,
    /// Faults at the same time in one network namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults_per_netns: Option<u32>,
    /// Different targets at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<u32>,
    /// How long a fault may last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// Share of flows that a fault may name (`traffic.flows`; one that says nothing names 100 %).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_share: Option<Chance>,
    /// Flows that a fault may act on (`safety.maxFlows`, which is then required).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flows: Option<u64>,
    /// Wire packets that a fault may act on (`safety.maxPackets`, which is then required).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets: Option<u64>,
    /// The greatest chance, by fault; 0 % forbids it. A `partition`, and whatever else hits every packet, counts
    /// as 100 %.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub chance: BTreeMap<FaultKind, Chance>,
    /// `delay`: latency and jitter together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// `bandwidth`: the least rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_rate: Option<Rate>,
}

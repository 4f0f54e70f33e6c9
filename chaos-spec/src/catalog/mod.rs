//! The catalogue: experiments that somebody thought through, with the places left open that differ from service to
//! service.
//!
//! * [`CatalogEntry`]: what goes wrong in the world, what should be seen, when to stop, what to do, and the templates.
//! * [`Parameter`]: what is left open, of which type, with a default or an example.
//! * [`LocatedEntry`]: an entry that knows where it was written; with values it makes a run.
//! * [`Mission`]: an entry bound to targets and to hours of the day.
//! * [`signals_of`]: whether what should be seen was seen.

mod assembly;
mod entry;
mod lint;
mod mission;
mod parameter;
mod signal;
mod template;
#[cfg(test)]
mod tests;

pub use entry::{LocatedEntry, parse_entries};
pub(crate) use mission::mission_of;
pub use mission::{LocatedMission, MISSION_KIND, Mission, MissionSpec, parse_mission};
pub use parameter::{Parameter, ParameterType, Setting};
pub use signal::{Counter, Shows, Signal, SignalSeen, signals_of};

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Metadata;
use crate::policy::Severity;
use crate::spec::not_empty;

pub const ENTRY_KIND: &str = "CatalogEntry";

/// The parameters that every entry has: whose traffic, how long, and what share of the flows.
pub const TARGET: &str = "target";
pub const DURATION: &str = "duration";

/// One entry of the catalogue, as it stands in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CatalogEntry {
    /// Always `chaos-daemon.dev/v1alpha1`.
    pub api_version: String,
    /// Always `CatalogEntry`.
    pub kind: String,
    pub metadata: Metadata,
    pub spec: EntrySpec,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntrySpec {
    /// In a line.
    pub title: String,
    pub category: Category,
    /// What happens to the traffic.
    pub description: String,
    /// What in the world does this.
    pub trigger: String,
    /// What it acts on, and what it leaves alone.
    pub scope: String,
    /// How much it can break with its defaults.
    pub severity: Severity,
    /// What should be seen while it acts.
    #[serde(deserialize_with = "not_empty")]
    pub signals: Vec<Signal>,
    /// How all is undone.
    pub rollback: String,
    /// When a person stops it, whatever the probes say.
    #[serde(deserialize_with = "not_empty")]
    pub stop_rules: Vec<String>,
    /// Before, during and after, step by step.
    pub runbook: String,
    /// What is left open, by name.
    pub parameters: BTreeMap<String, Parameter>,
    /// NetworkFaults, with `${parameter}` where something is left open.
    #[serde(deserialize_with = "not_empty")]
    pub faults: Vec<FaultTemplate>,
    /// The `spec` of an Experiment, likewise.
    pub experiment: Value,
}

/// A NetworkFault in an entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultTemplate {
    /// What the steps of the experiment call it.
    pub name: String,
    pub spec: Value,
}

/// What kind of trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    DependencyLatency,
    DependencyErrors,
    FlakyNetwork,
    Corruption,
    Dns,
    Partition,
    SlowLink,
    Failover,
    PoolExhaustion,
    RetryStorm,
    RegionLoss,
}

impl CatalogEntry {
    pub fn name(&self) -> &str {
        &self.metadata.name
    }
}

impl Category {
    pub const ALL: [Self; 11] = [
        Self::DependencyLatency,
        Self::DependencyErrors,
        Self::FlakyNetwork,
        Self::Corruption,
        Self::Dns,
        Self::Partition,
        Self::SlowLink,
        Self::Failover,
        Self::PoolExhaustion,
        Self::RetryStorm,
        Self::RegionLoss,
    ];

    pub const fn word(self) -> &'static str {
        match self {
            Self::DependencyLatency => "dependency-latency",
            Self::DependencyErrors => "dependency-errors",
            Self::FlakyNetwork => "flaky-network",
            Self::Corruption => "corruption",
            Self::Dns => "dns",
            Self::Partition => "partition",
            Self::SlowLink => "slow-link",
            Self::Failover => "failover",
            Self::PoolExhaustion => "pool-exhaustion",
            Self::RetryStorm => "retry-storm",
            Self::RegionLoss => "region-loss",
        }
    }
}

impl std::fmt::Display for Category {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.word())
    }
}

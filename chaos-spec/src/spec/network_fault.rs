use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Distribution, DistributionTable, Fault, Safety, Target, Traffic, is_default};
use crate::Duration;

pub const API_VERSION: &str = "chaos-daemon.dev/v1alpha1";
pub const KIND: &str = "NetworkFault";

/// One network fault, as it stands in a file and in the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkFault {
    /// Always `chaos-daemon.dev/v1alpha1`.
    pub api_version: String,
    /// Always `NetworkFault`.
    pub kind: String,
    pub metadata: Metadata,
    pub spec: FaultSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Lower-case letters, digits and hyphens, at most 63: unique on a daemon.
    pub name: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What a fault does, to whom, for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultSpec {
    /// Whose traffic.
    pub target: Target,
    /// Which of its packets; left out: everything the target sends.
    #[serde(default, skip_serializing_if = "is_default")]
    pub traffic: Traffic,
    /// What happens to them.
    pub fault: Fault,
    /// How long; enforced in the kernel.
    pub duration: Duration,
    /// Same seed and same packets give the same verdicts. Left out: the daemon draws one and records it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub safety: Safety,
}

impl NetworkFault {
    /// A fault with today's `apiVersion` and no labels.
    pub fn new(name: impl Into<String>, spec: FaultSpec) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            metadata: Metadata {
                name: name.into(),
                labels: BTreeMap::new(),
            },
            spec,
        }
    }

    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// The table of its `delay`, if it has one.
    pub fn distribution_table(&self) -> Option<&DistributionTable> {
        match self.spec.fault.delay.as_ref()?.distribution.as_ref()? {
            Distribution::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The same, to put there what a file says.
    pub fn distribution_table_mut(&mut self) -> Option<&mut DistributionTable> {
        match self.spec.fault.delay.as_mut()?.distribution.as_mut()? {
            Distribution::Table(table) => Some(table),
            _ => None,
        }
    }
}

impl FaultSpec {
    /// All that the target sends, no seed, no safety net beyond the daemon's own.
    pub fn new(target: impl Into<Target>, fault: Fault, duration: Duration) -> Self {
        Self {
            target: target.into(),
            traffic: Traffic::default(),
            fault,
            duration,
            seed: None,
            safety: Safety::default(),
        }
    }

    #[must_use]
    pub fn with_traffic(mut self, traffic: Traffic) -> Self {
        self.traffic = traffic;
        self
    }

    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }
}

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Attachment;
use crate::Warning;
use crate::policy::Severity;

/// What the daemon would do, without doing it: `POST /v1/plan`, `POST /v1/faults?dryRun=true`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    pub faults: Vec<PlannedFault>,
    /// Absent from daemons before this was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<PlanApproval>,
}

/// What the node's policy makes of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanApproval {
    /// SHA-256 over the faults and their targets as they were found.
    pub plan: String,
    pub severity: Severity,
    /// Somebody else has to approve it before it goes ahead.
    pub needed: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedFault {
    pub name: String,
    pub targets: Vec<ResolvedTarget>,
    /// In the order in which they act on a packet, faults that run already included.
    pub rules: Vec<PlannedRule>,
    pub attachments: Vec<Attachment>,
    #[serde(default)]
    pub warnings: Vec<Warning>,
    #[serde(default)]
    pub host_changes: Vec<HostChange>,
}

/// What a target turned out to be on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedTarget {
    /// Path or name of the network namespace; `host` for the daemon's own.
    pub netns: String,
    /// Inode number of the namespace, as `ls -L -i` shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns_inode: Option<u64>,
    pub interfaces: Vec<String>,
    /// Ids of the cgroups whose sockets are meant; empty: every socket of the namespace.
    #[serde(default)]
    pub cgroup_ids: Vec<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup_path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
}

/// One rule in plain words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedRule {
    /// Place in the composition on this target, from 1.
    pub order: u32,
    /// The fault it comes from: this one, or one that runs already.
    pub fault: String,
    pub text: String,
}

/// Something on the host that is changed for the fault, and how that is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostChange {
    pub what: String,
    pub undone_by: String,
}

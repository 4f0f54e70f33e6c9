use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// The daemon and its host: `GET /v1/node`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeInfo {
    /// Of the daemon.
    pub version: String,
    pub hostname: String,
    /// Release and machine, as uname says; for reading only, never for decisions.
    pub kernel: String,
    pub capabilities: Vec<Capability>,
    pub guards: Vec<Guard>,
    pub halt: HaltState,
    pub started_at: Timestamp,
    pub uptime_seconds: u64,
    /// How long faults outlive a daemon that hangs.
    pub lease: Duration,
    pub counts: Counts,
    /// Path of the audit log on the daemon's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_log: Option<String>,
}

/// Something the host can or cannot do, found out by trying.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capability {
    /// `tcx`, `clsact`, `xdp-native`, `cgroup2`, …
    pub name: String,
    pub available: bool,
    /// How it was found out, or what is missing and since which kernel it exists.
    pub why: String,
}

/// Traffic that no fault touches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Guard {
    pub name: String,
    /// What it protects, in plain words.
    pub protects: String,
}

/// Faults by phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Counts {
    pub pending: u64,
    pub active: u64,
    pub ended: u64,
}

/// `GET /v1/halt`. While `halted`, new faults are refused, also after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HaltState {
    pub halted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Who called it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Body of `POST /v1/halt`; may be left out. `DELETE /v1/halt` releases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HaltRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One line of the log, without its seal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Counts up by one from 1, over all files.
    pub seq: u64,
    pub time: Timestamp,
    /// Hash of the record before, in hex.
    pub previous: String,
    #[serde(flatten)]
    pub entry: Entry,
}

/// What a record tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<Who>,
    /// Method and path, such as `POST /v1/faults`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Hash of the resolved plan, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The one fault it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// All faults that were asked for, with what they were aimed at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<AuditedFault>,
    /// The rule that refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    DaemonStarted,
    DaemonStopping,
    /// Faults are about to be made so. On the disk before anything acts.
    Applying,
    FaultActive,
    FaultChanged,
    FaultEnded,
    /// Something was asked for and not done.
    Refused,
    /// A change was asked for and done.
    Done,
    Approved,
    ExperimentStarted,
    ExperimentEnded,
    Halted,
    Released,
    /// What a previous daemon left behind was undone.
    Recovered,
    Warning,
    /// Another policy is in force from here on.
    PolicyReloaded,
    /// The log itself was mended, or goes on in another file.
    Log,
    /// A kind that this version does not know.
    #[default]
    #[serde(other)]
    Other,
}

/// Who asked, as far as the daemon can know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Who {
    /// `unix`, `certificate`, `token`, `signal` or `nobody`.
    pub by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Name of the uid, of the certificate, or of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Path of the program, as the kernel names it when the connection is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// SHA-256 of the certificate, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Where the connection comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

/// A fault in a request, with its target as it was found on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditedFault {
    pub name: String,
    /// One line in plain words.
    pub what: String,
    /// As written: `cgroup /shop`.
    pub target: String,
    /// The network namespaces, cgroups and devices behind it.
    pub resolved: Vec<String>,
}

/// The newest record: kept in a file of its own, so that a log without its end is known for what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    pub seq: u64,
    pub hash: String,
}

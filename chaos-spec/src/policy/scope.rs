use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::not_empty;
use crate::{Cidr, FaultKind, PortRange, TargetKind};

/// What faults are aimed at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scope {
    /// Faults by name: `partition`, `drop`, …
    #[serde(
        default,
        deserialize_with = "not_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub faults: Vec<FaultKind>,
    /// Kinds of target: `cgroup`, `netns`, `host`, …
    #[serde(
        default,
        deserialize_with = "not_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub targets: Vec<TargetWord>,
    /// cgroups, and everything below them.
    #[serde(
        default,
        deserialize_with = "not_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub cgroups: Vec<String>,
    /// Network namespaces by path or name; `host` is the daemon's own.
    #[serde(
        default,
        deserialize_with = "not_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub netns: Vec<String>,
    /// Remote networks.
    #[serde(
        default,
        deserialize_with = "not_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub cidrs: Vec<Cidr>,
    /// TCP and UDP ports, at either end.
    #[serde(
        default,
        deserialize_with = "not_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ports: Vec<PortRange>,
    /// Guards that faults may lift (`safety.unguard`): `ssh`, `dhcp`, …
    #[serde(
        default,
        deserialize_with = "not_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub unguard: Vec<String>,
}

/// The field that names a target in a spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TargetWord {
    Cgroup,
    Pid,
    Netns,
    Container,
    Interface,
    Host,
    Pods,
}

impl TargetWord {
    pub const fn of(kind: &TargetKind) -> Self {
        match kind {
            TargetKind::Cgroup(_) => Self::Cgroup,
            TargetKind::Pid(_) => Self::Pid,
            TargetKind::Netns(_) => Self::Netns,
            TargetKind::Container(_) => Self::Container,
            TargetKind::Interface(_) => Self::Interface,
            TargetKind::Host => Self::Host,
            TargetKind::Pods(_) => Self::Pods,
        }
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Pid => "pid",
            Self::Netns => "netns",
            Self::Container => "container",
            Self::Interface => "interface",
            Self::Host => "host",
            Self::Pods => "pods",
        }
    }
}

impl fmt::Display for TargetWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

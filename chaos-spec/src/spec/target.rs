use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lists::not_empty;
use crate::Chance;

/// Whose traffic: exactly one kind, and optionally which of its interfaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "TargetFields", into = "TargetFields")]
#[schemars(with = "TargetFields")]
pub struct Target {
    pub kind: TargetKind,
    /// Interface names inside the target's network namespace; empty: every one but the loopback, and of those that stand on
    /// others (bridges, bonds, VLANs) such that a packet passes one.
    pub interfaces: Vec<String>,
}

/// The one thing that a target names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// A path below the cgroup2 mount, such as `/system.slice/orders.service`, and everything below it.
    Cgroup(String),
    /// The network namespace and the cgroup of a process.
    Pid(u32),
    /// A network namespace by path, such as `/run/netns/blue`, or by name.
    Netns(String),
    /// A container by its id or name.
    Container(String),
    /// One interface.
    Interface(InterfaceTarget),
    /// Everything in the daemon's own network namespace.
    Host,
    /// Pods of a cluster.
    Pods(PodsTarget),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InterfaceTarget {
    pub name: String,
    /// Path or name of its network namespace; left out: the daemon's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodsTarget {
    pub namespace: String,
    pub label_selector: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select: Option<PodSelect>,
    /// Whether pods that come later are hit too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow: Option<bool>,
}

/// How many of the pods that match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum PodSelect {
    All,
    Count(u32),
    Percent(Chance),
}

/// The fields as they are written, before "exactly one kind" is known to hold.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "Target", rename_all = "camelCase", deny_unknown_fields)]
struct TargetFields {
    /// A path below the cgroup2 mount, and everything below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cgroup: Option<String>,
    /// A process: its network namespace and cgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    /// A network namespace, by path or by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    netns: Option<String>,
    /// A container, by id or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    /// One interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interface: Option<InterfaceTarget>,
    /// `true`: everything in the daemon's own network namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<bool>,
    /// Pods of a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pods: Option<PodsTarget>,
    /// Interface names; left out: every one but the loopback, each packet once.
    #[serde(
        default,
        deserialize_with = "not_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    interfaces: Vec<String>,
}

const KINDS: &str = "`cgroup`, `pid`, `netns`, `container`, `interface`, `host` or `pods`";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum TargetError {
    #[error("no target is named – write exactly one of {KINDS}")]
    None,
    #[error("{0} are named together – keep exactly one of {KINDS}")]
    Several(String),
    #[error("`host: false` names no target – write `host: true`, or one of the other kinds")]
    HostFalse,
}

/// Why a text names no target, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no target – write `cgroup=/system.slice/orders.service`, or `pid=`, `netns=`, `container=` or \
     `interface=` and a value, or `host`"
)]
pub struct TargetTextError(String);

impl std::str::FromStr for Target {
    type Err = TargetTextError;

    /// In a line: `cgroup=/system.slice/orders.service`, `interface=eth0@blue`, `host`.
    fn from_str(text: &str) -> Result<Self, TargetTextError> {
        let wrong = || TargetTextError(text.to_owned());
        if text == "host" {
            return Ok(Self::host());
        }
        match text.split_once('=') {
            Some((_, "")) | None => Err(wrong()),
            Some(("cgroup", path)) => Ok(Self::cgroup(path)),
            Some(("netns", netns)) => Ok(Self::netns(netns)),
            Some(("container", id)) => Ok(Self::container(id)),
            Some(("pid", pid)) => pid.parse().map(Self::pid).map_err(|_| wrong()),
            Some(("interface", name)) => Ok(match name.split_once('@') {
                Some((name, netns)) => Self::interface(name, Some(netns.to_owned())),
                None => Self::interface(name, None),
            }),
            Some(_) => Err(wrong()),
        }
    }
}

impl TryFrom<TargetFields> for Target {
    type Error = TargetError;

    fn try_from(fields: TargetFields) -> Result<Self, TargetError> {
        let mut kinds = Vec::new();
        kinds.extend(fields.cgroup.map(TargetKind::Cgroup));
        kinds.extend(fields.pid.map(TargetKind::Pid));
        kinds.extend(fields.netns.map(TargetKind::Netns));
        kinds.extend(fields.container.map(TargetKind::Container));
        kinds.extend(fields.interface.map(TargetKind::Interface));
        match fields.host {
            Some(true) => kinds.push(TargetKind::Host),
            Some(false) => return Err(TargetError::HostFalse),
            None => {}
        }
        kinds.extend(fields.pods.map(TargetKind::Pods));
        let names: Vec<_> = kinds.iter().map(|kind| format!("`{}`", kind.word())).collect();
        let mut kinds = kinds.into_iter();
        match (kinds.next(), kinds.next()) {
            (Some(kind), None) => Ok(Self {
                kind,
                interfaces: fields.interfaces,
            }),
            (None, _) => Err(TargetError::None),
            (Some(_), Some(_)) => Err(TargetError::Several(names.join(" and "))),
        }
    }
}

impl From<Target> for TargetFields {
    fn from(target: Target) -> Self {
        let mut fields = Self {
            interfaces: target.interfaces,
            ..Self::default()
        };
        match target.kind {
            TargetKind::Cgroup(path) => fields.cgroup = Some(path),
            TargetKind::Pid(pid) => fields.pid = Some(pid),
            TargetKind::Netns(netns) => fields.netns = Some(netns),
            TargetKind::Container(id) => fields.container = Some(id),
            TargetKind::Interface(interface) => fields.interface = Some(interface),
            TargetKind::Host => fields.host = Some(true),
            TargetKind::Pods(pods) => fields.pods = Some(pods),
        }
        fields
    }
}

impl From<TargetKind> for Target {
    fn from(kind: TargetKind) -> Self {
        Self {
            kind,
            interfaces: Vec::new(),
        }
    }
}

impl Target {
    pub fn cgroup(path: impl Into<String>) -> Self {
        TargetKind::Cgroup(path.into()).into()
    }

    pub fn pid(pid: u32) -> Self {
        TargetKind::Pid(pid).into()
    }

    pub fn netns(netns: impl Into<String>) -> Self {
        TargetKind::Netns(netns.into()).into()
    }

    pub fn container(id: impl Into<String>) -> Self {
        TargetKind::Container(id.into()).into()
    }

    pub fn interface(name: impl Into<String>, netns: Option<String>) -> Self {
        TargetKind::Interface(InterfaceTarget {
            name: name.into(),
            netns,
        })
        .into()
    }

    pub fn host() -> Self {
        TargetKind::Host.into()
    }

    #[must_use]
    pub fn with_interfaces<I: Into<String>>(mut self, names: impl IntoIterator<Item = I>) -> Self {
        self.interfaces = names.into_iter().map(Into::into).collect();
        self
    }
}

impl TargetKind {
    /// The field that names it in a spec.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Cgroup(_) => "cgroup",
            Self::Pid(_) => "pid",
            Self::Netns(_) => "netns",
            Self::Container(_) => "container",
            Self::Interface(_) => "interface",
            Self::Host => "host",
            Self::Pods(_) => "pods",
        }
    }
}

impl fmt::Display for Target {
    /// `cgroup /system.slice/orders.service`, `interface eth0@blue`, `host`; with interfaces: `… (eth0, eth1)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.word())?;
        match &self.kind {
            TargetKind::Cgroup(text) | TargetKind::Netns(text) | TargetKind::Container(text) => {
                write!(f, " {text}")?;
            }
            TargetKind::Pid(pid) => write!(f, " {pid}")?,
            TargetKind::Interface(InterfaceTarget { name, netns: None }) => write!(f, " {name}")?,
            TargetKind::Interface(InterfaceTarget {
                name,
                netns: Some(netns),
            }) => write!(f, " {name}@{netns}")?,
            TargetKind::Host => {}
            TargetKind::Pods(pods) => write!(f, " {}/{}", pods.namespace, pods.label_selector)?,
        }
        if self.interfaces.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", self.interfaces.join(", "))
        }
    }
}

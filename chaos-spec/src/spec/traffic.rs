use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_default;
use super::lists::not_empty;
use crate::{Chance, Cidr, Hostname, PortRange};

/// Which packets, seen from the target. Every field narrows; none: all that it sends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Traffic {
    #[serde(default, skip_serializing_if = "is_default")]
    pub direction: Direction,
    #[serde(default, skip_serializing_if = "is_default")]
    pub protocol: Protocol,
    /// The other end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Remote>,
    /// The target's own end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<Local>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub connections: Connections,
    /// Share of the flows that are hit; a flow stays in or out for its life. Left out: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flows: Option<Chance>,
}

/// Seen from the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// What the target sends.
    #[default]
    Egress,
    /// What arrives at the target.
    Ingress,
    Both,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    Any,
    Tcp,
    Udp,
    /// ICMP for IPv4 and ICMPv6 for IPv6.
    Icmp,
}

/// Which part of a TCP connection's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Connections {
    #[default]
    Any,
    /// Only the segments that open a connection (SYN and SYN-ACK).
    New,
    /// Everything but those.
    Established,
}

/// The other end. `cidrs` and `hosts` add up; `except` takes away from both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Remote {
    #[serde(
        default,
        deserialize_with = "not_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub cidrs: Vec<Cidr>,
    #[serde(
        default,
        deserialize_with = "not_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub except: Vec<Cidr>,
    /// Names; the daemon resolves them and keeps them fresh.
    #[serde(
        default,
        deserialize_with = "not_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub hosts: Vec<Hostname>,
    #[serde(
        default,
        deserialize_with = "not_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ports: Vec<PortRange>,
}

/// The target's own end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Local {
    #[serde(
        default,
        deserialize_with = "not_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ports: Vec<PortRange>,
}

impl Direction {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::Ingress => "ingress",
            Self::Both => "both",
        }
    }

    pub const fn has_egress(self) -> bool {
        matches!(self, Self::Egress | Self::Both)
    }

    pub const fn has_ingress(self) -> bool {
        matches!(self, Self::Ingress | Self::Both)
    }
}

impl Protocol {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        }
    }

    /// Whether TCP segments are among its packets.
    pub const fn has_tcp(self) -> bool {
        matches!(self, Self::Any | Self::Tcp)
    }
}

impl Connections {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::New => "new",
            Self::Established => "established",
        }
    }
}

macro_rules! display_word {
    ($($type:ident),*) => {
        $(impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        })*
    };
}
display_word!(Direction, Protocol, Connections);

impl Remote {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Local {
    pub fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }
}

impl Traffic {
    pub fn egress() -> Self {
        Self::default()
    }

    pub fn ingress() -> Self {
        Self {
            direction: Direction::Ingress,
            ..Self::default()
        }
    }

    #[must_use]
    pub fn with_protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    #[must_use]
    pub fn with_remote(mut self, remote: Remote) -> Self {
        self.remote = (!remote.is_empty()).then_some(remote);
        self
    }

    #[must_use]
    pub fn with_local_ports(mut self, ports: Vec<PortRange>) -> Self {
        self.local = (!ports.is_empty()).then_some(Local { ports });
        self
    }
}

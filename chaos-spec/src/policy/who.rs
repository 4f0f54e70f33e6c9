use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// In a certificate's alternative names, followed by a role: what its issuer says of its owner.
pub const ROLE_URI: &str = "urn:chaos-daemon:role:";

/// Who has which role. Each role may do what the ones before it may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Roles {
    /// Looks, and halts.
    #[serde(default)]
    pub viewer: Who,
    /// Starts and ends faults.
    #[serde(default)]
    pub operator: Who,
    /// Also says yes to what others want to start.
    #[serde(default)]
    pub approver: Who,
    /// Also takes a halt back.
    #[serde(default)]
    pub admin: Who,
    /// Certificates that are worth nothing any more, by the SHA-256 of the whole certificate in hex: stolen ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<String>,
}

/// Some people, by what the kernel or their certificate says of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Who {
    /// Unix users, by name or number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<Account>,
    /// Unix groups, by name or number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Account>,
    /// Names of client certificates: the common name, or one of the alternative names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<String>,
}

/// A unix user or group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Account {
    Id(u32),
    Name(String),
}

/// In ascending order: each may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Viewer,
    Operator,
    Approver,
    Admin,
}

/// What needs the yes of a second person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approval {
    /// Plans that are more severe than this need it.
    pub above: Severity,
    /// How long a yes holds.
    #[serde(default = "an_hour")]
    pub expires: Duration,
}

/// How much a plan can break, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

fn an_hour() -> Duration {
    Duration::from_secs(3600)
}

impl Roles {
    /// Each role with those who have it, highest first: the first that fits is somebody's role.
    pub const fn descending(&self) -> [(Role, &Who); 4] {
        [
            (Role::Admin, &self.admin),
            (Role::Approver, &self.approver),
            (Role::Operator, &self.operator),
            (Role::Viewer, &self.viewer),
        ]
    }
}

impl Role {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Admin => "admin",
        }
    }
}

impl Severity {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl Serialize for Account {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Id(id) => serializer.serialize_u32(*id),
            Self::Name(name) => serializer.serialize_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for Account {
    /// Digits alone are a number, as in chown(1).
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(id) if is_number => Ok(Self::Id(id)),
            _ if is_number || text.trim().is_empty() => Err(serde::de::Error::custom(format!(
                "`{text}` is no user or group – write a name or a number"
            ))),
            _ => Ok(Self::Name(text)),
        }
    }
}

impl JsonSchema for Account {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Account".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A user or a group, by name or number.",
            "oneOf": [{"type": "integer", "minimum": 0}, {"type": "string"}],
            "examples": ["alice", 1000]
        })
    }
}

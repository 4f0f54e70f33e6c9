//! Faults whose form is settled but which this version's data path does not carry out yet: they parse, so that
//! files and schemas need not change later, and validation refuses them by name.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use schemars::JsonSchema;
use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

use super::lists::not_empty;
use crate::{Chance, Duration};

/// Plain-text HTTP/1.1 requests are answered, aborted or delayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Http {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    #[serde(default = "always", skip_serializing_if = "Chance::is_always_ref")]
    pub chance: Chance,
    #[serde(
        default,
        deserialize_with = "not_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub method: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

fn always() -> Chance {
    Chance::ALWAYS
}

/// DNS look-ups are answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dns {
    pub answer: DnsAnswer,
    #[serde(
        default,
        deserialize_with = "not_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub names: Vec<String>,
}

/// A refusal by its name, or records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DnsAnswer {
    Nxdomain,
    Servfail,
    Refused,
    Timeout,
    #[serde(untagged)]
    Records(DnsRecords),
}

/// Made-up records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DnsRecords {
    #[serde(
        default,
        deserialize_with = "not_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub a: Vec<Ipv4Addr>,
    #[serde(
        default,
        deserialize_with = "not_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub aaaa: Vec<Ipv6Addr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
}

impl<'de> Deserialize<'de> for DnsAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnswerVisitor;
        impl<'de> Visitor<'de> for AnswerVisitor {
            type Value = DnsAnswer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "`nxdomain`, `servfail`, `refused`, `timeout` or records such as `{a: [192.0.2.7]}`",
                )
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<DnsAnswer, E> {
                match word {
                    "nxdomain" => Ok(DnsAnswer::Nxdomain),
                    "servfail" => Ok(DnsAnswer::Servfail),
                    "refused" => Ok(DnsAnswer::Refused),
                    "timeout" => Ok(DnsAnswer::Timeout),
                    _ => Err(E::unknown_variant(
                        word,
                        &["nxdomain", "servfail", "refused", "timeout"],
                    )),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<DnsAnswer, A::Error> {
                DnsRecords::deserialize(MapAccessDeserializer::new(map)).map(DnsAnswer::Records)
            }
        }
        deserializer.deserialize_any(AnswerVisitor)
    }
}

//! `dns`: look-ups are answered, left without an answer, or delayed.

use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

use super::is_default;
use super::lists::{not_empty, one_or_more, one_or_more_schema};
use crate::units::REMEDY_MARK;
use crate::{Chance, DnsName, DnsType, Duration};

/// DNS look-ups over UDP are answered here or delayed: exactly one of `answer` and `delay`.
///
/// They are those of port 53, unless the fault's `traffic` names ports. The chance is of look-ups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dns {
    /// The server never sees the look-up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<DnsAnswer>,
    /// The look-up goes on so much later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// One name, or a list; left out: every name.
    #[serde(
        default,
        deserialize_with = "one_or_more",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(schema_with = "one_or_more_schema::<DnsName>")]
    pub names: Vec<DnsName>,
    /// One type of record, or a list; left out: every type, and with records A and AAAA.
    #[serde(
        default,
        deserialize_with = "one_or_more",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(schema_with = "one_or_more_schema::<DnsType>")]
    pub types: Vec<DnsType>,
    /// Share of the look-ups that `names` and `types` choose, and of the connections that `tcp: reset` tears down.
    #[serde(default = "always", skip_serializing_if = "Chance::is_always_ref")]
    pub chance: Chance,
    #[serde(default, skip_serializing_if = "is_default")]
    pub tcp: DnsTcp,
}

/// A refusal by its name, or records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DnsAnswer {
    /// There is no such name.
    Nxdomain,
    /// The server has failed.
    Servfail,
    /// The server will not answer.
    Refused,
    /// Nothing comes back.
    Timeout,
    #[serde(untagged)]
    Records(DnsRecords),
}

/// Made-up records for A and AAAA look-ups; one whose list is left out is answered that there are none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DnsRecords {
    #[serde(
        default,
        deserialize_with = "addresses",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(length(max = 8))]
    pub a: Vec<Ipv4Addr>,
    #[serde(
        default,
        deserialize_with = "addresses",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(length(max = 8))]
    pub aaaa: Vec<Ipv6Addr>,
    /// How long they may be kept, in whole seconds; 5s when left out.
    #[serde(default = "five_seconds", skip_serializing_if = "is_five_seconds")]
    pub ttl: Duration,
}

/// What becomes of look-ups over TCP. Which names they ask for is not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DnsTcp {
    /// They pass.
    #[default]
    Pass,
    /// The share of their connections that `chance` says is reset.
    Reset,
}

/// What a valid [`Dns`] does to a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsAction<'a> {
    Answer(&'a DnsAnswer),
    Delay(Duration),
}

fn always() -> Chance {
    Chance::ALWAYS
}

const FIVE_SECONDS: Duration = Duration::from_secs(5);

fn five_seconds() -> Duration {
    FIVE_SECONDS
}

fn is_five_seconds(ttl: &Duration) -> bool {
    *ttl == FIVE_SECONDS
}

/// An address that is written as it is spoken of: the standard library's own words for what is none are no help.
trait Address: FromStr {
    const WHAT: &'static str;
    const EXAMPLE: &'static str;
    /// Where addresses of the other family go.
    const OTHER: &'static str;
}

impl Address for Ipv4Addr {
    const WHAT: &'static str = "IPv4";
    const EXAMPLE: &'static str = "192.0.2.7";
    const OTHER: &'static str = "aaaa";
}

impl Address for Ipv6Addr {
    const WHAT: &'static str = "IPv6";
    const EXAMPLE: &'static str = "2001:db8::7";
    const OTHER: &'static str = "a";
}

struct Read<T>(T);

impl<'de, T: Address> Deserialize<'de> for Read<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.trim().parse().map(Self).map_err(|_| {
            let remedy: &dyn Display = if text.trim().parse::<IpAddr>().is_ok() {
                &format_args!("write it under `{}`", T::OTHER)
            } else {
                &format_args!("write for example `{}`", T::EXAMPLE)
            };
            de::Error::custom(format_args!(
                "`{text}` is no {} address{REMEDY_MARK}{remedy}",
                T::WHAT
            ))
        })
    }
}

fn addresses<'de, D: Deserializer<'de>, T: Address>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let read: Vec<Read<T>> = not_empty(deserializer)?;
    Ok(read.into_iter().map(|Read(address)| address).collect())
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            answer: None,
            delay: None,
            names: Vec::new(),
            types: Vec::new(),
            chance: Chance::ALWAYS,
            tcp: DnsTcp::Pass,
        }
    }
}

impl Dns {
    /// Where look-ups go when the traffic names no port.
    pub const PORT: u16 = 53;
    pub const MOST_NAMES: usize = 16;
    pub const MOST_TYPES: usize = 8;

    /// Every look-up gets this answer.
    pub fn answer(answer: DnsAnswer) -> Self {
        Self {
            answer: Some(answer),
            ..Self::default()
        }
    }

    /// The action, when exactly one is given (validation sees to that).
    pub const fn action(&self) -> Option<DnsAction<'_>> {
        match (&self.answer, self.delay) {
            (Some(answer), None) => Some(DnsAction::Answer(answer)),
            (None, Some(delay)) => Some(DnsAction::Delay(delay)),
            _ => None,
        }
    }

    /// The types of record that are meant; empty: every type.
    pub fn asked_types(&self) -> Vec<DnsType> {
        match &self.answer {
            Some(DnsAnswer::Records(_)) if self.types.is_empty() => vec![DnsType::A, DnsType::AAAA],
            _ => self.types.clone(),
        }
    }
}

impl DnsAnswer {
    const WORDS: [&'static str; 4] = ["nxdomain", "servfail", "refused", "timeout"];

    /// The word in a spec; `records` for those.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Nxdomain => "nxdomain",
            Self::Servfail => "servfail",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Records(_) => "records",
        }
    }

    /// The RCODE of the answer (RFC 1035, 4.1.1); none where nothing is answered.
    pub const fn rcode(&self) -> Option<u8> {
        match self {
            Self::Records(_) => Some(0),
            Self::Servfail => Some(2),
            Self::Nxdomain => Some(3),
            Self::Refused => Some(5),
            Self::Timeout => None,
        }
    }
}

impl DnsRecords {
    /// The most addresses of one family.
    pub const MOST: usize = 8;
    /// The longest that they may be kept.
    pub const MOST_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

    /// These, with a TTL of five seconds.
    pub fn new(a: Vec<Ipv4Addr>, aaaa: Vec<Ipv6Addr>) -> Self {
        Self {
            a,
            aaaa,
            ttl: FIVE_SECONDS,
        }
    }

    /// Whole seconds; of a valid fault nothing is cut off.
    pub fn ttl_seconds(&self) -> u32 {
        u32::try_from(self.ttl.as_std().as_secs()).unwrap_or(u32::MAX)
    }
}

impl DnsTcp {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Reset => "reset",
        }
    }
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
                    _ => Err(E::unknown_variant(word, &DnsAnswer::WORDS)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<DnsAnswer, A::Error> {
                DnsRecords::deserialize(MapAccessDeserializer::new(map)).map(DnsAnswer::Records)
            }
        }
        deserializer.deserialize_any(AnswerVisitor)
    }
}

//! What a probe has to find. Some of it is decided sample by sample, some over a window of samples.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::is_default;
use super::short_form::{ShortForm, text_or_fields};
use crate::units::{BoundError, StatusRange};
use crate::{LatencyBound, ShareBound, ValueBound};

/// What is well. Nothing written: the probe's own idea of well (HTTP 200 to 399, a connection, SERVING, an answer,
/// exit status 0).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Expect {
    /// HTTP status of each answer.
    #[serde(skip_serializing_if = "Statuses::is_empty")]
    pub status: Statuses,
    /// What is in the body of each HTTP answer, or in what a program writes.
    #[serde(skip_serializing_if = "is_default")]
    pub body: Body,
    /// How long each may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyBound>,
    /// The number that a query gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<ValueBound>,
    #[serde(flatten)]
    pub window: WindowExpect,
}

/// What is well over a window of samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WindowExpect {
    /// Share of samples that are well by themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success: Option<ShareBound>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<LatencyBound>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95: Option<LatencyBound>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<LatencyBound>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<LatencyBound>,
}

impl WindowExpect {
    /// Name, share in percent and limit of each percentile that is asked for.
    pub fn percentiles(&self) -> impl Iterator<Item = (&'static str, u32, LatencyBound)> {
        [
            ("p50", 50, self.p50),
            ("p95", 95, self.p95),
            ("p99", 99, self.p99),
            ("max", 100, self.max),
        ]
        .into_iter()
        .filter_map(|(name, share, limit)| Some((name, share, limit?)))
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One status or a list of them; empty: 200 to 399.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Statuses(pub Vec<StatusRange>);

impl Statuses {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contain(&self, status: u16) -> bool {
        if self.0.is_empty() {
            StatusRange::WELL.contains(status)
        } else {
            self.0.iter().any(|range| range.contains(status))
        }
    }
}

/// What a text has to have in it. Written as text, it is `contains`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Body {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// A regular expression, in the syntax of the `regex` crate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
}

/// The fields as they are written.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ExpectFields {
    /// HTTP status of each answer: `200`, `2xx`, `200-399`, or a list of these.
    #[serde(default)]
    status: Statuses,
    /// Text that is in each answer, or `{contains: …, matches: REGEX}`.
    #[serde(default)]
    body: Body,
    /// How long each may take.
    #[serde(default)]
    latency: Option<LatencyBound>,
    /// The number that a Prometheus query gives.
    #[serde(default)]
    value: Option<ValueBound>,
    /// Share of samples in the window that are well by themselves.
    #[serde(default)]
    success: Option<ShareBound>,
    /// Percentiles of how long they took, over the window.
    #[serde(default)]
    p50: Option<LatencyBound>,
    #[serde(default)]
    p95: Option<LatencyBound>,
    #[serde(default)]
    p99: Option<LatencyBound>,
    #[serde(default)]
    max: Option<LatencyBound>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct BodyFields {
    #[serde(default)]
    contains: Option<String>,
    #[serde(default)]
    matches: Option<String>,
}

impl From<ExpectFields> for Expect {
    fn from(fields: ExpectFields) -> Self {
        Self {
            status: fields.status,
            body: fields.body,
            latency: fields.latency,
            value: fields.value,
            window: WindowExpect {
                success: fields.success,
                p50: fields.p50,
                p95: fields.p95,
                p99: fields.p99,
                max: fields.max,
            },
        }
    }
}

impl From<BodyFields> for Body {
    fn from(fields: BodyFields) -> Self {
        Self {
            contains: fields.contains,
            matches: fields.matches,
        }
    }
}

impl ShortForm<'_> for Expect {
    type Fields = ExpectFields;
    const EXPECTED: &'static str = "what is well, such as `{p99: \"<= 200ms\"}`, or for a number `<= 0.5`";

    /// What the value has to be.
    fn from_text(text: &str) -> Result<Self, String> {
        let value = text.parse().map_err(|error: BoundError| error.to_string())?;
        Ok(Self {
            value: Some(value),
            ..Self::default()
        })
    }
}

impl ShortForm<'_> for Body {
    type Fields = BodyFields;
    const EXPECTED: &'static str = "a text, or `{contains: …}` or `{matches: …}`";

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(Self {
            contains: Some(text.to_owned()),
            matches: None,
        })
    }
}

impl<'de> Deserialize<'de> for Expect {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or_fields(deserializer)
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or_fields(deserializer)
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StatusVisitor;
        impl<'de> Visitor<'de> for StatusVisitor {
            type Value = Statuses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an HTTP status such as `200` or `2xx`, or a list of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Statuses, E> {
                Ok(Statuses(vec![text.parse().map_err(E::custom)?]))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Statuses, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Statuses, A::Error> {
                let mut statuses = Vec::new();
                while let Some(status) = list.next_element()? {
                    statuses.push(status);
                }
                if statuses.is_empty() {
                    return Err(de::Error::custom(
                        "the list is empty – name at least one, or leave the field out",
                    ));
                }
                Ok(Statuses(statuses))
            }
        }
        deserializer.deserialize_any(StatusVisitor)
    }
}

impl JsonSchema for Expect {
    fn schema_name() -> Cow<'static, str> {
        "Expect".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let fields = ExpectFields::json_schema(generator);
        let value = generator.subschema_for::<ValueBound>();
        json_schema!({
            "description": "What is well: fields, or for a query the number alone.",
            "oneOf": [value, fields]
        })
    }
}

impl JsonSchema for Body {
    fn schema_name() -> Cow<'static, str> {
        "Body".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let fields = BodyFields::json_schema(generator);
        json_schema!({"oneOf": [{"type": "string"}, fields]})
    }
}

impl JsonSchema for Statuses {
    fn schema_name() -> Cow<'static, str> {
        "Statuses".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<StatusRange>();
        json_schema!({"oneOf": [one, {"type": "array", "items": one}]})
    }
}

//! Faults that make packets wait: they are carried out on the line.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Distribution, NetemCompat, is_default};
use crate::{ByteSize, Chance, Duration, Rate};

/// Packets come later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Delay {
    /// The mean: how much later.
    pub latency: Duration,
    /// The unit of the distribution: its standard deviation, and half its width when uniform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Duration>,
    /// Of the jitter; normal when nothing is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    /// How much a delay is like the one before it. The distribution stays what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<Chance>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub order: Order,
    /// Draws jitter as netem does: its tables, cut off at four jitters, and without the correlation that it loses.
    /// Then the distribution is uniform when nothing is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compat: Option<NetemCompat>,
}

/// Whether jitter may make packets of one flow overtake one another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Never: a packet that would overtake waits for the one before it.
    #[default]
    Keep,
    /// As the draw will have it.
    Free,
}

/// Some packets do not wait, and so overtake those that are delayed. Without `delay`, they are held back for 10 ms and
/// are overtaken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reorder {
    pub chance: Chance,
    /// How much a packet's fate resembles the one before, of those that may; the share stays `chance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<Chance>,
    /// Only every n-th packet may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<u32>,
    /// Correlates as netem does, which does not keep `chance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compat: Option<NetemCompat>,
}

/// No more than `rate`, after a burst.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bandwidth {
    pub rate: Rate,
    /// How much may go at once after a pause; ten full packets when nothing is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<ByteSize>,
}

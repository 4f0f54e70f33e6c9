use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_default;
use crate::Chance;

/// Loses packets. Exactly one of `chance`, `every` and `gilbertElliott` says which.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Drop {
    /// Each packet by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chance: Option<Chance>,
    /// How much a packet's fate resembles the one before; the marginal loss stays `chance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<Chance>,
    /// Every N-th packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub every: Option<u32>,
    /// Loss in bursts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gilbert_elliott: Option<GilbertElliott>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub signal: DropSignal,
    /// Correlates as netem does, which does not keep `chance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compat: Option<NetemCompat>,
}

/// Two states: good and bad. `p` leads from good to bad, `r` back; `1-k` is lost in good, `1-h` in bad.
///
/// As in the literature (Gilbert 1960, Elliott 1963) and in netem's `loss gemodel`, `h` and `k` are the chances of
/// *delivery* in the bad and in the good state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GilbertElliott {
    /// From good to bad, for each packet.
    pub p: Chance,
    /// From bad to good, for each packet.
    pub r: Chance,
    /// Delivered in the bad state; left out: none (0%).
    #[serde(default = "never", skip_serializing_if = "Chance::is_never_ref")]
    pub h: Chance,
    /// Delivered in the good state; left out: all (100%).
    #[serde(default = "always", skip_serializing_if = "Chance::is_always_ref")]
    pub k: Chance,
}

fn never() -> Chance {
    Chance::NEVER
}

fn always() -> Chance {
    Chance::ALWAYS
}

/// What the sender notices of a loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DropSignal {
    /// Nothing, as on a real network.
    #[default]
    None,
    /// What a full queue of the sender's own tells it: congestion notice to TCP, ENOBUFS to UDP.
    Local,
}

/// A tool whose arithmetic is reproduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NetemCompat {
    Netem,
}

/// The one loss model of a valid [`Drop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropModel {
    /// Independent (correlation 0%) or correlated loss.
    Chance {
        chance: Chance,
        correlation: Chance,
    },
    /// Every N-th packet, N >= 1.
    Every(u32),
    GilbertElliott(GilbertElliott),
}

impl Drop {
    /// Silent, independent loss.
    pub fn chance(chance: Chance) -> Self {
        Self {
            chance: Some(chance),
            ..Self::default()
        }
    }

    /// Silent loss of every N-th packet.
    pub fn every(n: u32) -> Self {
        Self {
            every: Some(n),
            ..Self::default()
        }
    }

    pub fn gilbert_elliott(model: GilbertElliott) -> Self {
        Self {
            gilbert_elliott: Some(model),
            ..Self::default()
        }
    }

    #[must_use]
    pub fn with_correlation(mut self, correlation: Chance) -> Self {
        self.correlation = Some(correlation);
        self
    }

    /// The model, when exactly one is given (validation sees to that).
    pub fn model(&self) -> Option<DropModel> {
        match (self.chance, self.every, self.gilbert_elliott) {
            (Some(chance), None, None) => Some(DropModel::Chance {
                chance,
                correlation: self.correlation.unwrap_or(Chance::NEVER),
            }),
            (None, Some(n), None) => Some(DropModel::Every(n)),
            (None, None, Some(model)) => Some(DropModel::GilbertElliott(model)),
            _ => None,
        }
    }
}

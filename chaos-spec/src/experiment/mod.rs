//! An `Experiment`: what is well, what is done to it, when to stop, and when it has to be well again.
//!
//! * [`Experiment`]: the form of it; [`Step`] and what a step does.
//! * [`shape()`]: the fault that a stage of a ramp makes of the one that is written.
//! * [`parse_run()`]: the files of one run, its faults included; [`parse_run_body()`]: the same over the wire.

mod method;
mod read;
mod shape;
mod steady;
#[cfg(test)]
mod tests;
mod validate;

pub use method::{Action, FaultStep, Pulse, Settings, Stage, Step, Until};
pub use read::{LocatedRun, RunSubmission, parse_run, parse_run_body};
pub(crate) use read::{kind_of, placed, run_of, submission_of};
pub use shape::{DEFAULT_FLOWS, fault_name, shape};
pub use steady::{Mode, SteadyExpect, SteadyProbe};
pub use validate::validate_run;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::{is_default, not_empty};
use crate::{API_VERSION, Chance, Duration, HttpUrl, Metadata};

pub const EXPERIMENT_KIND: &str = "Experiment";

/// One experiment, as it stands in a file and in the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Experiment {
    /// Always `chaos-daemon.dev/v1alpha1`.
    pub api_version: String,
    /// Always `Experiment`.
    pub kind: String,
    pub metadata: Metadata,
    pub spec: ExperimentSpec,
}

/// What is believed, how it is seen, and what is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExperimentSpec {
    /// What will hold, in a sentence for people.
    pub hypothesis: String,
    /// What is well. Looked at before anything is done (else nothing is), during, and after.
    #[serde(deserialize_with = "not_empty")]
    pub steady_state: Vec<SteadyProbe>,
    /// What is looked at before anything is done.
    #[serde(default, skip_serializing_if = "is_default")]
    pub baseline: Baseline,
    /// What is done, one step after the other.
    #[serde(deserialize_with = "not_empty")]
    pub method: Vec<Step>,
    /// When to stop early; left out: only when somebody or a safety net says so.
    #[serde(default, skip_serializing_if = "is_default")]
    pub abort: Abort,
    /// When it has to be well again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub recovery: Recovery,
    /// Faults without a seed of their own get theirs from this one; left out: the daemon draws one and records it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// How long it is looked before anything is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Baseline {
    #[serde(rename = "for", default = "Baseline::usual")]
    pub length: Duration,
}

/// When an experiment stops early, whatever comes first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Abort {
    /// So many failures in a row of one probe: `3 failures`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Failures>,
    /// One probe has failed for so long without a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Duration>,
    /// So large a share of all the samples that a probe takes during the method may fail; with one more, it stops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_budget: Option<Chance>,
    /// Alerts of a Prometheus server that stop it when they fire.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "not_empty"
    )]
    pub alerts: Vec<Alert>,
}

/// An alerting rule of a Prometheus server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Alert {
    /// Of the server, without `/api/v1/query`.
    pub prometheus: HttpUrl,
    /// The rule's `alert:`.
    pub name: String,
    /// From the begin of one look to the begin of the next.
    #[serde(default = "Alert::usual")]
    pub every: Duration,
}

/// When it has to be well again, once everything is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recovery {
    pub within: Duration,
}

/// `3 failures`; a number alone stands for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Failures(pub u32);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no number of failures – write for example `3 failures`")]
pub struct FailuresError(String);

impl Experiment {
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// With today's `apiVersion` and no labels.
    pub fn new(name: impl Into<String>, spec: ExperimentSpec) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: EXPERIMENT_KIND.to_owned(),
            metadata: Metadata {
                name: name.into(),
                ..Metadata::default()
            },
            spec,
        }
    }
}

impl Baseline {
    const fn usual() -> Duration {
        Duration::from_secs(5)
    }
}

impl Default for Baseline {
    fn default() -> Self {
        Self {
            length: Self::usual(),
        }
    }
}

impl Alert {
    const fn usual() -> Duration {
        Duration::from_secs(1)
    }
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            within: Duration::from_secs(30),
        }
    }
}

impl std::fmt::Display for Failures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            1 => f.write_str("1 failure"),
            n => write!(f, "{n} failures"),
        }
    }
}

impl std::str::FromStr for Failures {
    type Err = FailuresError;

    fn from_str(text: &str) -> Result<Self, FailuresError> {
        let number = text
            .trim()
            .trim_end_matches("failures")
            .trim_end_matches("failure")
            .trim();
        match number.parse() {
            Ok(count @ 1..=1_000_000) => Ok(Self(count)),
            _ => Err(FailuresError(text.trim().to_owned())),
        }
    }
}

crate::units::text_form!(Failures, "a number of failures, such as `3 failures`", {
    "type": ["string", "integer"],
    "description": "So many failures in a row.",
    "pattern": r"^\s*\d+\s*(failures?)?\s*$",
    "examples": ["3 failures"]
});

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Packets, Reason};
use crate::Metadata;
use crate::experiment::ExperimentSpec;
use crate::spec::is_default;

/// One run of an experiment, under way or over: `GET /v1/experiments/{id}`, and the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentView {
    /// Unique on a daemon.
    pub id: String,
    pub metadata: Metadata,
    pub spec: ExperimentSpec,
    pub status: ExperimentStatus,
}

/// `GET /v1/experiments`: the newest first, of each series its last point alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentList {
    pub items: Vec<ExperimentView>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentStatus {
    pub phase: ExperimentPhase,
    /// How it came out; absent while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// One sentence behind the outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Who started it.
    #[serde(default)]
    pub by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// What faults without a seed of their own got theirs from.
    #[serde(default)]
    pub seed: u64,
    /// When each phase began.
    #[serde(default)]
    pub phases: Vec<PhaseAt>,
    #[serde(default)]
    pub steps: Vec<StepRun>,
    #[serde(default)]
    pub probes: Vec<ProbeRun>,
    #[serde(default)]
    pub faults: Vec<FaultRun>,
    /// Why it was stopped early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort: Option<AbortRun>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoveryRun>,
    /// What a reader should know before believing it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Where an experiment is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ExperimentPhase {
    /// Asks whether its faults would be let in.
    #[default]
    Preparing,
    /// Looks whether all is well, before anything is done.
    Baseline,
    /// Carries out its method.
    Injecting,
    /// Ends its faults.
    RollingBack,
    /// Looks whether all is well again.
    Recovering,
    Done,
}

/// How an experiment came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// The hypothesis held.
    Held,
    /// It did not, and the method was carried out to its end.
    Refuted,
    /// It was stopped early, and everything is undone.
    Aborted,
    /// Not all was well before anything was done, so nothing was.
    NoSteadyState,
    /// A fault could not be ended.
    RollbackIncomplete,
    /// Its faults are not allowed.
    RefusedByPolicy,
    /// It was not well again in time.
    NotRecovered,
    /// Somebody stopped it, and everything is undone.
    Interrupted,
    /// It could not be carried out.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PhaseAt {
    pub phase: ExperimentPhase,
    pub at: Timestamp,
}

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepRun {
    pub name: String,
    /// `flows 5%, latency 100ms`, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub settings: String,
    /// The fault that acted, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    pub started_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// One probe and what it saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeRun {
    pub name: String,
    /// What it looks at.
    pub probe: String,
    /// What is well, limits that were relative included, once they are known.
    pub expect: Vec<String>,
    #[serde(default)]
    pub baseline: Seen,
    #[serde(default)]
    pub during: Seen,
    #[serde(default)]
    pub after: Seen,
    /// Why it does not bear the hypothesis out; absent while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deviation: Option<String>,
    /// Samples in the order in which they were taken; thinned out when there are very many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<Point>,
}

/// What a probe saw in one phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Seen {
    pub samples: u64,
    /// Of these, not well by themselves.
    pub failed: u64,
    /// Milliseconds, of those that were well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ms: Option<f64>,
    /// Mean of the numbers that a query gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Why samples failed, and how many.
    #[serde(skip_serializing_if = "is_default")]
    pub failures: BTreeMap<String, u64>,
}

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// Milliseconds since the start of the run.
    pub at_ms: f64,
    pub took_ms: f64,
    pub ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

/// One fault of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FaultRun {
    /// The name that it had on the daemon.
    pub name: String,
    /// In a sentence.
    pub what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// All that its times of acting add up to.
    #[serde(default)]
    pub packets: Packets,
    /// How it ended the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The daemon says that it has ended, and its counters stand still.
    #[serde(default)]
    pub gone: bool,
}

/// Why a run was stopped early, and how soon its faults had ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AbortRun {
    pub why: String,
    /// The probe that decided it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// When the deciding sample had ended, or the word came.
    pub at: Timestamp,
    /// From then until no fault acted any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_ms: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryRun {
    /// From the end of the faults until all was well and stayed so; absent: not in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<f64>,
    /// What was still not well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacking: Vec<String>,
}

impl ExperimentPhase {
    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Baseline => "looking whether all is well",
            Self::Injecting => "injecting",
            Self::RollingBack => "rolling back",
            Self::Recovering => "looking whether all is well again",
            Self::Done => "done",
        }
    }
}

impl Outcome {
    /// What `chaosctl run` exits with.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Held => 0,
            Self::Failed => 1,
            Self::Refuted => 10,
            Self::Aborted => 11,
            Self::NoSteadyState => 12,
            Self::RollbackIncomplete => 13,
            Self::RefusedByPolicy => 14,
            Self::NotRecovered => 15,
            Self::Interrupted => 130,
        }
    }

    /// In words, after "the hypothesis" or by itself.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Held => "the hypothesis held",
            Self::Refuted => "the hypothesis is refuted",
            Self::Aborted => "aborted and rolled back",
            Self::NoSteadyState => "no steady state, not started",
            Self::RollbackIncomplete => "the rollback is incomplete",
            Self::RefusedByPolicy => "refused by policy",
            Self::NotRecovered => "the system did not recover",
            Self::Interrupted => "interrupted and rolled back",
            Self::Failed => "it could not be carried out",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for ExperimentPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl ExperimentView {
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    pub const fn is_over(&self) -> bool {
        self.status.outcome.is_some()
    }

    /// Without what is long: of each series, its last point alone.
    #[must_use]
    pub fn in_short(&self) -> Self {
        let mut short = self.clone();
        for probe in &mut short.status.probes {
            let before = probe.series.len().saturating_sub(1);
            probe.series.drain(..before);
        }
        short
    }
}

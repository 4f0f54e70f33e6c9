use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{ExperimentView, Packets, ProbeRun};
use crate::experiment::fault_name;
use crate::{LatencyTolerance, ShareBound};

/// Something that should be seen while an entry acts: that it is not is a finding as well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Signal {
    /// For people.
    pub what: String,
    /// Where a run shows it; left out: nowhere, somebody has to look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shows: Option<Shows>,
}

/// Where a run shows a signal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Shows {
    /// The counter of a fault is above zero.
    Counted(Counted),
    /// What a probe saw meanwhile is **not** this: `{probe: service, beyond: {p95: "<= 1.5x baseline"}}`.
    Beyond(Beyond),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Counted {
    pub fault: String,
    pub counter: Counter,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Beyond {
    pub probe: String,
    pub beyond: Limit,
}

/// What is left when a signal shows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Limit {
    Success(ShareBound),
    P50(LatencyTolerance),
    P95(LatencyTolerance),
    P99(LatencyTolerance),
    Max(LatencyTolerance),
}

/// What is counted of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Counter {
    Matched,
    Dropped,
    Delayed,
    Corrupted,
    Duplicated,
    Reordered,
    Rejected,
    Reset,
    Throttled,
    Answered,
}

/// A signal, and whether a run showed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SignalSeen {
    pub what: String,
    /// `None`: nothing in a run shows it.
    pub seen: Option<bool>,
}

/// Each signal of an entry, and whether a run showed it. A fault that acts on several targets is several faults, with
/// numbers behind its name; one that shows it is enough.
pub fn signals_of(signals: &[Signal], run: &ExperimentView) -> Vec<SignalSeen> {
    let one = |signal: &Signal| SignalSeen {
        what: signal.what.clone(),
        seen: signal.shows.as_ref().map(|shows| shows.in_run(run)),
    };
    signals.iter().map(one).collect()
}

impl Shows {
    fn in_run(&self, run: &ExperimentView) -> bool {
        match self {
            Self::Counted(counted) => run
                .status
                .faults
                .iter()
                .filter(|fault| is_of(&fault.name, run.name(), &counted.fault))
                .any(|fault| counted.counter.of(&fault.packets) > 0),
            Self::Beyond(beyond) => run
                .status
                .probes
                .iter()
                .filter(|probe| probe.name == beyond.probe)
                .any(|probe| beyond.beyond.is_left(probe)),
        }
    }
}

/// Whether the daemon calls a fault, or one of its copies, so.
fn is_of(name: &str, experiment: &str, fault: &str) -> bool {
    let number = name
        .rsplit_once('-')
        .and_then(|(_, number)| number.parse::<u32>().ok());
    let copy = number.map(|number| fault_name(experiment, &format!("{fault}-{number}")));
    name == fault_name(experiment, fault) || copy.is_some_and(|copy| copy == name)
}

impl Counter {
    const fn of(self, packets: &Packets) -> u64 {
        match self {
            Self::Matched => packets.matched,
            Self::Dropped => packets.dropped,
            Self::Delayed => packets.delayed,
            Self::Corrupted => packets.corrupted,
            Self::Duplicated => packets.duplicated,
            Self::Reordered => packets.reordered,
            Self::Rejected => packets.rejected,
            Self::Reset => packets.reset,
            Self::Throttled => packets.throttled,
            Self::Answered => packets.answered,
        }
    }
}

impl Limit {
    fn is_left(self, probe: &ProbeRun) -> bool {
        let (before, during) = (&probe.baseline, &probe.during);
        if during.samples == 0 {
            return false;
        }
        let (tolerance, was, is) = match self {
            Self::Success(bound) => {
                return !bound.holds(during.samples - during.failed, during.samples);
            }
            Self::P50(tolerance) => (tolerance, before.p50_ms, during.p50_ms),
            Self::P95(tolerance) => (tolerance, before.p95_ms, during.p95_ms),
            Self::P99(tolerance) => (tolerance, before.p99_ms, during.p99_ms),
            Self::Max(tolerance) => (tolerance, before.max_ms, during.max_ms),
        };
        let time = |ms: f64| std::time::Duration::from_secs_f64(ms.max(0.0) / 1000.0);
        match (was.map(time), is.map(time)) {
            (Some(was), Some(is)) => !tolerance.against(was).holds(is),
            // Nothing was well any more, so nothing has a time.
            _ => during.failed == during.samples,
        }
    }
}

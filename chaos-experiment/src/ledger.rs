//! What is known of a run so far: written by the one who carries it out, read by whoever asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use chaos_probe::Sample;
use chaos_spec::api::{
    ExperimentPhase, ExperimentStatus, ExperimentView, FaultRun, Outcome, Packets, PhaseAt, Point, ProbeRun,
    Reason, StepRun,
};
use chaos_spec::experiment::Experiment;
use jiff::Timestamp;

/// Samples of one probe that are kept; of more, every second is forgotten.
const MOST_POINTS: usize = 10_000;

/// A run. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Ledger {
    shared: Arc<Mutex<Pages>>,
    start: Instant,
}

#[derive(Debug)]
struct Pages {
    view: ExperimentView,
    /// Of so many samples of each probe one is kept, and how many came since the last.
    strides: Vec<(usize, usize)>,
}

impl Ledger {
    /// A run that begins now.
    pub fn new(id: String, experiment: &Experiment, by: String, seed: u64) -> Self {
        let now = Timestamp::now();
        let probes = experiment.spec.steady_state.iter();
        let view = ExperimentView {
            id,
            metadata: experiment.metadata.clone(),
            spec: experiment.spec.clone(),
            status: ExperimentStatus {
                by,
                seed,
                started_at: Some(now),
                phases: vec![PhaseAt {
                    phase: ExperimentPhase::Preparing,
                    at: now,
                }],
                probes: probes
                    .map(|steady| ProbeRun {
                        name: steady.name.clone(),
                        probe: steady.probe.to_string(),
                        ..ProbeRun::default()
                    })
                    .collect(),
                ..ExperimentStatus::default()
            },
        };
        let strides = vec![(1, 0); view.status.probes.len()];
        Self {
            shared: Arc::new(Mutex::new(Pages { view, strides })),
            start: Instant::now(),
        }
    }

    /// As it is now.
    pub fn view(&self) -> ExperimentView {
        self.pages().view.clone()
    }

    /// As it is now, without the samples one by one.
    pub fn in_short(&self) -> ExperimentView {
        self.pages().view.in_short()
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known.
    pub(crate) fn note(&self, change: impl FnOnce(&mut ExperimentStatus)) {
        change(&mut self.pages().view.status);
    }

    pub(crate) fn enter(&self, phase: ExperimentPhase) {
        let at = Timestamp::now();
        self.note(|status| {
            status.phase = phase;
            status.phases.push(PhaseAt { phase, at });
        });
    }

    pub(crate) fn warn(&self, text: String) {
        self.note(|status| {
            if !status.warnings.contains(&text) {
                status.warnings.push(text);
            }
        });
    }

    pub(crate) fn point(&self, probe: usize, sample: &Sample, ok: bool) {
        let since = sample.began.saturating_duration_since(self.start);
        let point = Point {
            at_ms: since.as_secs_f64() * 1000.0,
            took_ms: sample.took.as_secs_f64() * 1000.0,
            ok,
            value: sample.outcome.as_ref().ok().and_then(|reading| reading.value),
        };
        let Pages { view, strides } = &mut *self.pages();
        let (Some(run), Some((stride, since))) = (view.status.probes.get_mut(probe), strides.get_mut(probe))
        else {
            return;
        };
        *since += 1;
        // A failure is always worth a point.
        if *since < *stride && ok {
            return;
        }
        *since = 0;
        run.series.push(point);
        if run.series.len() > MOST_POINTS {
            let mut nth = 0;
            run.series.retain(|point| {
                nth += 1;
                nth % 2 == 0 || !point.ok
            });
            *stride *= 2;
            run.series.truncate(MOST_POINTS);
        }
    }

    /// Notes that a step begins; gives its place.
    pub(crate) fn step(&self, name: String, settings: String, fault: Option<String>) -> usize {
        let started_at = Timestamp::now();
        let mut place = 0;
        self.note(|status| {
            place = status.steps.len();
            status.steps.push(StepRun {
                name,
                settings,
                fault,
                started_at,
                ended_at: None,
            });
        });
        place
    }

    pub(crate) fn step_over(&self, place: usize) {
        let now = Timestamp::now();
        self.note(|status| {
            if let Some(step) = status.steps.get_mut(place) {
                step.ended_at = Some(now);
            }
        });
    }

    /// Notes that a fault is about to be made so.
    pub(crate) fn fault(&self, name: &str, what: String) {
        self.note(|status| {
            if let Some(fault) = status.faults.iter_mut().find(|fault| fault.name == name) {
                fault.gone = false;
                return;
            }
            status.faults.push(FaultRun {
                name: name.to_owned(),
                what,
                seed: None,
                packets: Packets::default(),
                reason: None,
                gone: false,
            });
        });
    }

    pub(crate) fn fault_has_seed(&self, name: &str, seed: u64) {
        self.of_fault(name, |fault| fault.seed = Some(seed));
    }

    /// Notes what one life of a fault came to.
    pub(crate) fn fault_over(&self, name: &str, packets: Option<Packets>, reason: Option<Reason>) {
        self.of_fault(name, |fault| {
            if let Some(packets) = packets {
                add(&mut fault.packets, &packets);
            }
            fault.reason = reason.or(fault.reason);
            fault.gone = true;
        });
    }

    fn of_fault(&self, name: &str, change: impl FnOnce(&mut FaultRun)) {
        self.note(|status| {
            if let Some(fault) = status.faults.iter_mut().find(|fault| fault.name == name) {
                change(fault);
            }
        });
    }

    /// Ends the run.
    pub fn close(&self, outcome: Outcome, message: String) {
        let now = Timestamp::now();
        self.note(|status| {
            for step in &mut status.steps {
                step.ended_at.get_or_insert(now);
            }
            status.phase = ExperimentPhase::Done;
            status.phases.push(PhaseAt {
                phase: ExperimentPhase::Done,
                at: now,
            });
            status.outcome = Some(outcome);
            status.message = Some(message);
            status.ended_at = Some(now);
        });
    }
}

fn add(sum: &mut Packets, more: &Packets) {
    sum.matched += more.matched;
    sum.passed += more.passed;
    sum.dropped += more.dropped;
    sum.delayed += more.delayed;
    sum.corrupted += more.corrupted;
    sum.duplicated += more.duplicated;
    sum.reordered += more.reordered;
    sum.reset += more.reset;
    sum.rejected += more.rejected;
    sum.throttled += more.throttled;
    sum.answered += more.answered;
    sum.unseen += more.unseen;
}

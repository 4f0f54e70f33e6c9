use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chaos_probe::{ProbeError, Prober, Sample, Streak, Verdict, Window};
use chaos_spec::HealthCheck;
use chaos_spec::api::{HealthSample, HealthState, HealthStatus};
use futures_util::future::join_all;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant as Tick, sleep_until};

use super::Sockets;

/// Samples of each check that are shown.
const SHOWN: usize = 20;

/// The checks of one fault, ready to be taken.
pub struct Checks {
    list: Vec<Check>,
    specs: Vec<HealthCheck>,
    /// Its share of what the daemon can take.
    _room: OwnedSemaphorePermit,
}

pub(super) struct Check {
    pub(super) spec: HealthCheck,
    prober: Prober,
    state: Mutex<State>,
}

struct State {
    window: Window,
    streak: Streak,
    status: HealthStatus,
    recent: VecDeque<HealthSample>,
    /// When the deciding sample was over.
    decided: Option<Instant>,
}

/// Why a check can never be taken.
#[derive(Debug)]
pub struct NotReady {
    pub index: usize,
    pub error: ProbeError,
}

/// A check that is not well before the fault.
#[derive(Clone, Debug)]
pub struct Unsteady {
    pub index: usize,
    pub label: String,
    pub why: String,
}

impl Checks {
    /// # Errors
    /// The first that can never be taken.
    pub fn new(
        specs: &[HealthCheck],
        sockets: &Sockets,
        room: OwnedSemaphorePermit,
    ) -> Result<Self, NotReady> {
        let ready = |(index, spec): (usize, &HealthCheck)| {
            let net = Arc::new(sockets.within(spec.netns.clone()));
            let prober = Prober::new(&spec.probe, &spec.expect, spec.timeout.as_std(), net);
            Ok(Check::new(
                spec.clone(),
                prober.map_err(|error| NotReady { index, error })?,
            ))
        };
        Ok(Self {
            list: specs.iter().enumerate().map(ready).collect::<Result<_, _>>()?,
            specs: specs.to_vec(),
            _room: room,
        })
    }

    pub fn specs(&self) -> &[HealthCheck] {
        &self.specs
    }

    pub(super) fn list(&self) -> &[Check] {
        &self.list
    }

    /// Takes all of them at the same time, each until it has passed `successThreshold` times in a row.
    ///
    /// # Errors
    /// Those that did not, each with its first failure.
    pub async fn steady(&self) -> Result<(), Vec<Unsteady>> {
        let tried = join_all(self.list.iter().map(Check::steady)).await;
        let unsteady: Vec<_> = tried
            .into_iter()
            .zip(&self.list)
            .enumerate()
            .filter_map(|(index, (tried, check))| {
                let label = check.spec.label();
                tried.err().map(|why| Unsteady { index, label, why })
            })
            .collect();
        if unsteady.is_empty() {
            Ok(())
        } else {
            Err(unsteady)
        }
    }

    /// As they are now, in the order of the spec.
    pub fn status(&self) -> Vec<HealthStatus> {
        self.list.iter().map(Check::status).collect()
    }

    /// How long the end of the fault came after the sample that decided it, when it was one of these. The first call
    /// says that it has come.
    pub fn ended(&self) -> Option<Duration> {
        self.list.iter().find_map(Check::ended)
    }
}

impl Check {
    fn new(spec: HealthCheck, prober: Prober) -> Self {
        let status = HealthStatus {
            name: spec.label(),
            failure_threshold: spec.failure_threshold,
            ..HealthStatus::default()
        };
        Self {
            prober,
            state: Mutex::new(State {
                window: Window::new(&spec),
                streak: Streak::new(&spec),
                status,
                recent: VecDeque::with_capacity(SHOWN),
                decided: None,
            }),
            spec,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn steady(&self) -> Result<(), String> {
        for passed in 0..self.spec.success_threshold {
            let begin = Tick::now();
            let sample = self.prober.sample().await;
            let judged = self.state().note(&sample);
            judged?;
            if passed + 1 < self.spec.success_threshold {
                sleep_until(begin + self.spec.interval.as_std()).await;
            }
        }
        Ok(())
    }

    /// One sample while the fault is active; why the check has failed, when it has. `counts`: not in the grace.
    pub(super) async fn look(&self, counts: bool) -> Option<String> {
        let sample = self.prober.sample().await;
        let mut state = self.state();
        let judged = state.note(&sample);
        if !counts {
            return None;
        }
        let verdict = state.streak.add(judged.is_ok(), sample.ended());
        let failures = state.streak.failures();
        state.status.failures = failures;
        state.status.state = match verdict {
            Verdict::Well => HealthState::Well,
            Verdict::Failing => HealthState::Failing,
            Verdict::Failed => HealthState::Failed,
        };
        if verdict != Verdict::Failed {
            return None;
        }
        state.decided = Some(sample.ended());
        let why = judged.err().unwrap_or_default();
        let times = if failures == 1 {
            "once".to_owned()
        } else {
            format!("{failures} times")
        };
        Some(format!(
            "the health check `{}` failed {times}: {why}",
            self.spec.label()
        ))
    }

    fn status(&self) -> HealthStatus {
        let state = self.state();
        let mut status = state.status.clone();
        status.last = state.recent.iter().cloned().collect();
        status
    }

    fn ended(&self) -> Option<Duration> {
        let mut state = self.state();
        let decided = state.decided?;
        let took = state
            .status
            .detached_after
            .get_or_insert_with(|| decided.elapsed().into());
        Some(took.as_std())
    }
}

impl State {
    /// Remembers a sample and judges it, with those before it when a window is asked for.
    fn note(&mut self, sample: &Sample) -> Result<(), String> {
        let judged = self.window.judge(sample);
        self.status.samples += 1;
        self.status.failed += u64::from(judged.is_err());
        self.status.message = judged.as_ref().err().cloned();
        if self.status.state == HealthState::Unknown && judged.is_ok() {
            self.status.state = HealthState::Well;
        }
        if self.recent.len() == SHOWN {
            self.recent.pop_front();
        }
        self.recent.push_back(HealthSample {
            at: sample.at,
            took: sample.took.into(),
            well: judged.is_ok(),
            value: sample.outcome.as_ref().ok().and_then(|reading| reading.value),
            message: judged.as_ref().err().cloned(),
        });
        judged
    }
}

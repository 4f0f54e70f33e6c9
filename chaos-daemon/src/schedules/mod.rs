//! Experiments that begin by themselves. A schedule is a file in the state directory: it outlives the daemon, and what
//! was due meanwhile is missed or made up for, as it says.
#![forbid(unsafe_code)]

mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chaos_spec::api::{EventKind, ScheduleStatus, ScheduleView};
use chaos_spec::policy::Role;
use chaos_spec::schedule::{Concurrency, Due, ScheduleSpec, ScheduleSubmission, Verdict};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use crate::engine::Engine;
use crate::experiments::{ExperimentError, Experiments, draw};
use crate::safety::{Caller, PolicyKeeper, roles};
use store::{Kept, Store};

/// Schedules that are kept.
const MOST: usize = 100;
/// How often the clock is looked at, at least: it may be set.
const LOOK: Duration = Duration::from_secs(1);

/// Why something is not done with a schedule.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    #[error("there is no schedule `{0}` – `chaosctl get schedules` lists them")]
    Unknown(String),
    #[error("{MOST} schedules are all that this daemon keeps – remove one")]
    TooMany,
    #[error("the schedule cannot be kept ({0})")]
    NotKept(std::io::Error),
    #[error(transparent)]
    Experiment(#[from] ExperimentError),
}

/// A handle; clones are the same room.
#[derive(Clone)]
pub struct Schedules {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    experiments: Experiments,
    policy: Arc<PolicyKeeper>,
    store: Store,
    kept: Mutex<BTreeMap<String, Kept>>,
    /// There is another schedule, or one less.
    changed: Notify,
    /// Schedules added so far.
    added: AtomicU64,
}

impl Schedules {
    /// Reads what is kept.
    pub fn open(
        engine: Engine,
        experiments: Experiments,
        policy: Arc<PolicyKeeper>,
        state_dir: &Path,
    ) -> Self {
        let store = Store::open(state_dir);
        let kept = store.read().into_iter();
        let kept = kept.map(|kept| (kept.submission.schedule.name().to_owned(), kept));
        Self {
            shared: Arc::new(Shared {
                engine,
                experiments,
                policy,
                kept: Mutex::new(kept.collect()),
                store,
                changed: Notify::new(),
                added: AtomicU64::new(0),
            }),
        }
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By name.
    pub fn list(&self) -> Vec<ScheduleView> {
        self.kept().values().map(view).collect()
    }

    /// # Errors
    /// There is none of that name.
    pub fn get(&self, name: &str) -> Result<ScheduleView, ScheduleError> {
        let kept = self.kept();
        kept.get(name)
            .map(view)
            .ok_or_else(|| ScheduleError::Unknown(name.to_owned()))
    }

    /// Keeps a schedule, in place of one of the same name, whose counts go on.
    ///
    /// # Errors
    /// It may not be kept; nothing has changed.
    pub async fn add(
        &self,
        submission: ScheduleSubmission,
        caller: Caller,
    ) -> Result<ScheduleView, ScheduleError> {
        Experiments::check(&submission.run, &caller)?;
        let name = submission.schedule.name().to_owned();
        let spec = &submission.schedule.spec;
        let next = spec.after(Timestamp::now());
        let before = {
            let all = self.kept();
            if all.len() >= MOST && !all.contains_key(&name) {
                return Err(ScheduleError::TooMany);
            }
            all.get(&name).map(|kept| kept.status.clone())
        };
        let mut kept = Kept {
            status: ScheduleStatus {
                by: caller.to_string(),
                ..before.unwrap_or_default()
            },
            late: drawn(spec),
            next,
            submission,
            by: caller.lasting(),
            number: self.shared.added.fetch_add(1, Ordering::Relaxed) + 1,
            busy: false,
        };
        kept.status.next_at = kept.begins_at();
        // On the disk before it is believed.
        let written = self.shared.store.write(kept.clone()).await;
        written.map_err(ScheduleError::NotKept)?;
        let view = view(&kept);
        self.kept().insert(name, kept);
        self.shared.changed.notify_one();
        Ok(view)
    }

    /// Forgets a schedule. What it began goes on.
    ///
    /// # Errors
    /// There is none, or the disk does not let go of it.
    pub async fn remove(&self, name: &str) -> Result<ScheduleView, ScheduleError> {
        let view = self.get(name)?;
        let removed = self.shared.store.remove(name.to_owned()).await;
        removed.map_err(ScheduleError::NotKept)?;
        self.kept().remove(name);
        Ok(view)
    }

    /// Begins what is due, for ever.
    pub async fn keep_time(self) {
        loop {
            for due in self.due(Timestamp::now()) {
                let room = self.clone();
                tokio::spawn(async move { room.carry_out(due).await });
            }
            let changed = self.shared.changed.notified();
            match self.rest(Timestamp::now()) {
                None => changed.await,
                Some(rest) => {
                    let _ = tokio::time::timeout(rest, changed).await;
                }
            }
        }
    }

    /// How long nothing is to be done; `None`: until there is another schedule.
    fn rest(&self, now: Timestamp) -> Option<Duration> {
        let kept = self.kept();
        let idle = kept.values().filter(|kept| !kept.busy);
        let next = idle.filter_map(Kept::begins_at).min()?;
        let rest = Duration::try_from(next.duration_since(now)).unwrap_or_default();
        Some(rest.min(LOOK))
    }

    /// What is due now. Each is told its next time. One that is still being begun is left alone until then.
    fn due(&self, now: Timestamp) -> Vec<DueNow> {
        let mut found = Vec::new();
        for (name, kept) in self.kept().iter_mut().filter(|(_, kept)| !kept.busy) {
            let Some(next) = kept.next else { continue };
            let spec = &kept.submission.schedule.spec;
            let Due::Now { of, missed, verdict } = spec.due(next, kept.late, now) else {
                continue;
            };
            kept.next = spec.after(of);
            kept.late = drawn(spec);
            kept.status.missed += missed;
            kept.status.last_at = Some(now);
            kept.status.next_at = kept.begins_at();
            kept.busy = true;
            found.push(DueNow {
                name: name.clone(),
                kept: kept.clone(),
                verdict,
            });
        }
        found
    }

    async fn carry_out(&self, due: DueNow) {
        // Before it begins: a daemon that is killed meanwhile must not begin it again.
        self.write(&due.name, due.kept.clone()).await;
        let begun = match &due.verdict {
            Verdict::Skip(why) => Err(why.clone()),
            Verdict::Begin => self.begin(&due).await,
        };
        let name = &due.name;
        if let Err(why) = &begun {
            tracing::warn!("the schedule `{name}` did not begin its experiment: {why}");
            let text = format!("{name}: {why}");
            let events = self.shared.engine.events();
            events.publish(EventKind::ScheduleSkipped, None, text);
        }
        if let Some(kept) = self.note(&due, begun) {
            self.write(name, kept).await;
        }
        self.shared.changed.notify_one();
    }

    /// Keeps how a schedule goes, unless another has taken its place.
    async fn write(&self, name: &str, kept: Kept) {
        let number = kept.number;
        if !self.is_there(name, number) {
            return;
        }
        if let Err(error) = self.shared.store.write(kept).await {
            tracing::error!(%error, name, "how a schedule goes cannot be kept; it goes on until the daemon ends");
        }
        // It may have been removed, or replaced, while it was written.
        if self.is_there(name, number) {
            return;
        }
        let now = self.kept().get(name).cloned();
        let _ = match now {
            Some(other) => self.shared.store.write(other).await,
            None => self.shared.store.remove(name.to_owned()).await,
        };
    }

    fn is_there(&self, name: &str, number: u64) -> bool {
        self.kept().get(name).is_some_and(|kept| kept.number == number)
    }

    /// What came of one that was due; the schedule as it is now, if it is still there.
    fn note(&self, due: &DueNow, begun: Result<String, String>) -> Option<Kept> {
        let mut all = self.kept();
        let kept = all.get_mut(&due.name)?;
        if kept.number != due.kept.number {
            return None;
        }
        kept.busy = false;
        match begun {
            Ok(id) => {
                kept.status.begun += 1;
                kept.status.last_message = Some(format!("began {id}"));
                kept.status.last_run = Some(id);
            }
            Err(why) => {
                kept.status.skipped += 1;
                kept.status.last_message = Some(why);
            }
        }
        Some(kept.clone())
    }

    /// The id of the experiment, or why it does not begin.
    async fn begin(&self, due: &DueNow) -> Result<String, String> {
        let by = &due.kept.by;
        let policy = self.shared.policy.current();
        let standing = roles::standing(by, policy.as_deref());
        if standing.role < Some(Role::Operator) {
            return Err(format!(
                "{} wrote it, and may not begin experiments any more: {}",
                by, standing.rule
            ));
        }
        let experiments = &self.shared.experiments;
        let run = || due.kept.submission.run.clone();
        let started = match experiments.start(run(), by.clone()).await {
            Err(ExperimentError::UnderWay { id, .. })
                if due.kept.submission.schedule.spec.concurrency == Concurrency::Replace =>
            {
                let stopped = experiments.stop(&id, by).await;
                stopped.map_err(|error| error.to_string())?;
                experiments.over(&id).await;
                experiments.start(run(), by.clone()).await
            }
            started => started,
        };
        started.map(|view| view.id).map_err(|error| error.to_string())
    }
}

/// One that is due.
struct DueNow {
    name: String,
    /// As it was when it was told its next time.
    kept: Kept,
    verdict: Verdict,
}

impl Kept {
    fn begins_at(&self) -> Option<Timestamp> {
        self.next?.checked_add(self.late).ok()
    }
}

fn view(kept: &Kept) -> ScheduleView {
    ScheduleView {
        metadata: kept.submission.schedule.metadata.clone(),
        spec: kept.submission.schedule.spec.clone(),
        experiment: kept.submission.run.experiment.name().to_owned(),
        status: kept.status.clone(),
    }
}

/// How much later than its time the next one begins.
fn drawn(spec: &ScheduleSpec) -> SignedDuration {
    let most = u64::try_from(spec.jitter.as_std().as_millis()).unwrap_or(u64::MAX);
    let millis = draw() % most.saturating_add(1);
    SignedDuration::from_millis(i64::try_from(millis).unwrap_or_default())
}

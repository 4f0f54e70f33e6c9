use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use chaos_spec::api::HealthStatus;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::Checks;
use super::check::Check;

/// Takes the checks of an active fault until it is dropped: then nothing of them is left.
pub struct Watching {
    checks: Arc<Checks>,
    failed: Arc<AtomicBool>,
    _tasks: JoinSet<()>,
}

impl Watching {
    /// From now on; `report` is told once of each check that fails and why, from whatever thread.
    pub fn start(
        checks: Arc<Checks>,
        runtime: &Handle,
        report: impl Fn(String) + Send + Sync + 'static,
    ) -> Self {
        let report = Arc::new(report);
        let failed = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        let start = Instant::now();
        let count = u32::try_from(checks.list().len()).unwrap_or(u32::MAX).max(1);
        for (place, index) in (1_u32..).zip(0..checks.list().len()) {
            let (checks, report) = (Arc::clone(&checks), Arc::clone(&report));
            let failed = Arc::clone(&failed);
            let watch = async move {
                if let Some(check) = checks.list().get(index)
                    && let Some(message) = failure(check, start, (place, count)).await
                {
                    failed.store(true, Ordering::SeqCst);
                    report(message);
                }
            };
            tasks.spawn_on(watch, runtime);
        }
        Self {
            checks,
            failed,
            _tasks: tasks,
        }
    }

    /// Whether one of them has failed, and is not taken any more.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    pub fn checks(&self) -> &Checks {
        &self.checks
    }

    /// To tell them from others.
    pub fn downgrade(&self) -> Weak<Checks> {
        Arc::downgrade(&self.checks)
    }

    pub fn status(&self) -> Vec<HealthStatus> {
        self.checks.status()
    }
}

/// Looks until the check has failed. Many checks begin one after another over the first interval, not all at once.
async fn failure(check: &Check, start: Instant, (place, count): (u32, u32)) -> Option<String> {
    let interval: Duration = check.spec.interval.as_std();
    let grace = start + check.spec.initial_grace.as_std();
    let mut ticks = interval_at(start + interval * place / count, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(message) = check.look(Instant::now() >= grace).await {
            return Some(message);
        }
    }
}

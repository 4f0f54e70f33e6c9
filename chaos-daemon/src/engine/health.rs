//! Health checks on their way into the engine: made ready, and seen to pass, before a fault starts.

use std::sync::Arc;

use chaos_spec::api::Phase;
use chaos_spec::{Probe, SpecError, SpecPath};
use tokio::sync::Semaphore;

use super::command::{Prepared, Readied};
use super::error::{Refused, Why};
use super::{Engine, EngineError};
use crate::safety::Caller;
use crate::safety::health::{Checks, Guardian, NotReady, Sockets};

/// Checks of all faults together: each is one connection or program at a time.
pub(super) const MOST_CHECKS: usize = 4096;

/// What checks are made of.
pub(super) struct HealthRoom {
    sockets: Sockets,
    room: Arc<Semaphore>,
}

impl HealthRoom {
    pub(super) fn new(guardian: Arc<dyn Guardian>) -> Self {
        Self {
            sockets: Sockets::new(guardian),
            room: Arc::new(Semaphore::new(MOST_CHECKS)),
        }
    }
}

impl Engine {
    /// Readies the checks of these faults and takes those that do not run yet. A fault that runs with the very same
    /// checks keeps them, with what they have seen.
    ///
    /// # Errors
    /// A check that the caller may not have, one that can never be taken, too many of them, or no steady state.
    pub(super) async fn make_steady(
        &self,
        faults: &mut [Prepared],
        caller: &Caller,
    ) -> Result<(), EngineError> {
        check_programs(faults, caller)?;
        let mut fresh = Vec::new();
        for (index, prepared) in faults.iter_mut().enumerate() {
            let specs = &prepared.fault.spec.safety.health;
            if specs.is_empty() {
                continue;
            }
            let name = prepared.fault.name().to_owned();
            let running = self.get(&name).await.ok();
            let keeps = running
                .is_some_and(|view| view.status.phase == Phase::Active && view.spec.safety.health == *specs);
            if keeps {
                prepared.health = Some(Readied::Running);
                continue;
            }
            let health = &self.shared.health;
            let wanted = u32::try_from(specs.len()).unwrap_or(u32::MAX);
            let room = Arc::clone(&health.room).try_acquire_many_owned(wanted);
            let room = room.map_err(|_| EngineError::TooManyChecks { limit: MOST_CHECKS })?;
            let checks = Checks::new(specs, &health.sockets, room);
            let checks = Arc::new(checks.map_err(|error| not_ready(index, &name, &error))?);
            prepared.health = Some(Readied::Fresh(Arc::clone(&checks)));
            fresh.push((index, name, checks));
        }
        let looks = fresh.iter().map(|(index, name, checks)| async move {
            let unsteady = checks.steady().await.err().unwrap_or_default();
            unsteady.into_iter().map(move |unsteady| {
                let message = format!(
                    "the health check `{}` is not well: {}",
                    unsteady.label, unsteady.why
                );
                let remedy = "make it well first, or correct the check";
                refused(
                    *index,
                    name,
                    SpecError::new(place(unsteady.index), message, remedy),
                )
            })
        });
        let unsteady: Vec<Refused> = futures_util::future::join_all(looks)
            .await
            .into_iter()
            .flatten()
            .collect();
        if unsteady.is_empty() {
            Ok(())
        } else {
            Err(EngineError::Unsteady(unsteady))
        }
    }
}

fn place(index: usize) -> SpecPath {
    let path = SpecPath::root().field("spec").field("safety").field("health");
    path.index(index)
}

fn refused(index: usize, name: &str, error: SpecError) -> Refused {
    Refused {
        index,
        name: name.to_owned(),
        why: Why::Spec(error),
    }
}

fn not_ready(index: usize, name: &str, NotReady { index: check, error }: &NotReady) -> EngineError {
    let text = error.to_string();
    let (message, remedy) = text.split_once(" – ").unwrap_or((&text, ""));
    let error = SpecError::new(place(*check), message, remedy);
    EngineError::Invalid(vec![refused(index, name, error)])
}

/// A program runs with the daemon's rights, which are more than its callers have.
fn check_programs(faults: &[Prepared], caller: &Caller) -> Result<(), EngineError> {
    if matches!(caller, Caller::Unix(peer) if peer.uid == 0) {
        return Ok(());
    }
    let mut wrong = Vec::new();
    for (index, prepared) in faults.iter().enumerate() {
        let fault = &prepared.fault;
        for (check, spec) in fault.spec.safety.health.iter().enumerate() {
            if matches!(spec.probe, Probe::Exec(_)) {
                let message = format!("programs run as root, and {caller} is not root");
                let remedy = "ask root to apply it, or write an `http` or `tcp` check";
                let error = SpecError::new(place(check).field("exec"), message, remedy);
                wrong.push(refused(index, fault.name(), error));
            }
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(EngineError::Invalid(wrong))
    }
}

//! Health checks on their way into the engine: made ready, and seen to pass, before a fault starts.

use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};

use chaos_spec::api::Phase;
use chaos_spec::{HealthCheck, Probe, SpecError, SpecPath};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::braking::Brakes;
use super::command::{Command, Prepared, Readied};
use super::error::{Refused, Why};
use super::{Engine, EngineError};
use crate::safety::Caller;
use crate::safety::health::{Checks, Guardian, NotReady, Sockets, Watching};

/// Checks of all faults together: each is one connection or program at a time.
pub(super) const MOST_CHECKS: usize = 4096;

/// What checks are made of.
pub(super) struct HealthRoom {
    sockets: Sockets,
    room: Arc<Semaphore>,
    /// The checks of the node, for as long as a fault needs them.
    node: Mutex<Weak<Watching>>,
}

impl HealthRoom {
    pub(super) fn new(guardian: Arc<dyn Guardian>) -> Self {
        Self {
            sockets: Sockets::new(guardian),
            room: Arc::new(Semaphore::new(MOST_CHECKS)),
            node: Mutex::new(Weak::new()),
        }
    }

    fn checks(&self, specs: &[HealthCheck]) -> Result<Result<Checks, NotReady>, EngineError> {
        let wanted = u32::try_from(specs.len()).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(wanted);
        let room = room.map_err(|_| EngineError::TooManyChecks { limit: MOST_CHECKS })?;
        Ok(Checks::new(specs, &self.sockets, room))
    }
}

/// Takes these checks from now on. Of each that fails the engine's thread is told, and where that is busy, the brakes.
pub(super) fn watch(
    checks: Arc<Checks>,
    runtime: &Handle,
    commands: &mpsc::Sender<Command>,
    brakes: &Brakes,
    command: impl Fn(Weak<Checks>, String) -> Command + Send + Sync + 'static,
) -> Watching {
    let watched = Arc::downgrade(&checks);
    let (commands, brakes) = (commands.clone(), brakes.clone());
    let report = move |message: String| {
        // An engine that has stopped has ended every fault.
        let _ = commands.send(command(Weak::clone(&watched), message));
        let (brakes, checks) = (brakes.clone(), Weak::clone(&watched));
        // A task of its own: that of the check goes with the fault.
        tokio::spawn(async move { brakes.failed(&checks).await });
    };
    Watching::start(checks, runtime, report)
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
        self.make_node_steady(faults).await?;
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
            let checks = self.shared.health.checks(specs)?;
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

impl Engine {
    /// Takes the checks that the policy asks for on this node, and goes on with them until no fault is active.
    async fn make_node_steady(&self, faults: &mut [Prepared]) -> Result<(), EngineError> {
        let shared = &self.shared;
        let Some(policy) = shared.options.policy.current() else {
            return Ok(());
        };
        let specs = &policy.policy.health;
        if specs.is_empty() {
            return Ok(());
        }
        let blame = |index: usize, why: String| {
            let rule = policy.place(&SpecPath::root().field("health").index(index));
            EngineError::NodeUnsteady { rule, why }
        };
        let fresh = match shared.health.checks(specs)? {
            Ok(checks) => Arc::new(checks),
            Err(NotReady { index, error }) => return Err(blame(index, error.to_string())),
        };
        if let Err(unsteady) = fresh.steady().await
            && let Some(first) = unsteady.into_iter().next()
        {
            let why = format!("the health check `{}` is not well: {}", first.label, first.why);
            return Err(blame(first.index, why));
        }
        let mut node = shared.health.node.lock().unwrap_or_else(PoisonError::into_inner);
        let running = node
            .upgrade()
            .filter(|running| !running.has_failed() && running.checks().specs() == specs.as_slice());
        let running = running.unwrap_or_else(|| {
            let unhealthy = |checks, message| Command::NodeUnhealthy { checks, message };
            let (commands, brakes) = (&shared.commands, &shared.brakes);
            Arc::new(watch(fresh, &Handle::current(), commands, brakes, unhealthy))
        });
        *node = Arc::downgrade(&running);
        for prepared in faults {
            prepared.node = Some(Arc::clone(&running));
        }
        Ok(())
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

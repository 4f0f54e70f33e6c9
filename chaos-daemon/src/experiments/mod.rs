//! Experiments on this node: carried out here, so that they outlive the terminal that began them. `chaos-experiment`
//! knows how; this room has the faults, the sockets and the files.
#![forbid(unsafe_code)]

mod node;
mod store;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chaos_experiment::{Conductor, Ledger, StopOrder, conduct};
use chaos_spec::api::{EventKind, ExperimentView, Outcome};
use chaos_spec::experiment::{Action, RunSubmission, Step};
use chaos_spec::{Probe, SpecError, SpecPath};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::engine::Engine;
use crate::safety::Caller;
use node::{Node, Unguarded};
use store::Store;

/// Experiments at the same time.
const MOST_RUNNING: usize = 16;
/// How long the end of the daemon waits for experiments to be rolled back; their faults end with the engine anyway.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why an experiment does not begin.
#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    #[error("`{name}` is under way already, as {id} – `chaosctl stop {name}` ends it")]
    UnderWay { name: String, id: String },
    #[error("{MOST_RUNNING} experiments are all that this daemon carries out at a time – stop one")]
    TooMany,
    #[error("the experiment is not right")]
    Invalid(Vec<SpecError>),
    #[error("there is no experiment `{0}` – `chaosctl get experiments` lists them")]
    Unknown(String),
    #[error("the report cannot be kept ({0}) – nothing is done that cannot be reported")]
    NotKept(std::io::Error),
    #[error("the daemon is ending")]
    Ending,
}

/// A handle; clones are the same room.
#[derive(Clone)]
pub struct Experiments {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    store: Store,
    running: Mutex<BTreeMap<String, Running>>,
    ending: watch::Sender<bool>,
    /// How many are over.
    over: watch::Sender<u64>,
}

struct Running {
    ledger: Ledger,
    stop: watch::Sender<Option<StopOrder>>,
}

impl Experiments {
    /// Reads what ran before. What was under way when the previous daemon died is marked, and not begun again.
    pub fn open(engine: Engine, state_dir: &Path) -> Self {
        Self {
            shared: Arc::new(Shared {
                engine,
                store: Store::open(state_dir),
                running: Mutex::default(),
                ending: watch::Sender::new(false),
                over: watch::Sender::new(0),
            }),
        }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.shared.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an experiment; gives it as it is at its start.
    ///
    /// # Errors
    /// It may not begin: nothing is done.
    pub async fn start(&self, run: RunSubmission, caller: Caller) -> Result<ExperimentView, ExperimentError> {
        Self::check(&run, &caller)?;
        let id = new_id();
        let seed = run.experiment.spec.seed.unwrap_or_else(draw);
        let ledger = Ledger::new(id.clone(), &run.experiment, caller.to_string(), seed);
        let view = ledger.view();
        let (stop, stopping) = watch::channel(None);
        self.enter(
            &view,
            Running {
                ledger: ledger.clone(),
                stop,
            },
        )?;
        if let Err(error) = self.shared.store.keep(&view).await {
            self.running().remove(&id);
            return Err(ExperimentError::NotKept(error));
        }
        let name = view.name().to_owned();
        self.tell(EventKind::ExperimentStarted, format!("{name} ({id}) by {caller}"));
        let conductor = Conductor {
            run,
            injector: Arc::new(Node::new(self.shared.engine.clone(), caller.clone())),
            nets: Arc::new(Unguarded::default()),
            ledger,
            stop: stopping,
        };
        let room = self.clone();
        tokio::spawn(async move {
            // A task of its own, so that the run is closed also when carrying it out panics.
            let ledger = conductor.ledger.clone();
            let view = match tokio::spawn(conduct(conductor)).await {
                Ok(view) => view,
                Err(error) => room.give_up(&ledger, &caller, &error.to_string()).await,
            };
            room.close(view).await;
        });
        Ok(view)
    }

    /// Whether a caller may ask for this at all.
    ///
    /// # Errors
    /// It has programs in it, and the caller is not root.
    pub fn check(run: &RunSubmission, caller: &Caller) -> Result<(), ExperimentError> {
        check_programs(run, caller)
    }

    fn enter(&self, view: &ExperimentView, new: Running) -> Result<(), ExperimentError> {
        let mut running = self.running();
        if *self.shared.ending.borrow() {
            return Err(ExperimentError::Ending);
        }
        let same = running
            .iter()
            .find(|(_, other)| other.ledger.in_short().name() == view.name());
        if let Some((id, _)) = same {
            return Err(ExperimentError::UnderWay {
                name: view.name().to_owned(),
                id: id.clone(),
            });
        }
        if running.len() >= MOST_RUNNING {
            return Err(ExperimentError::TooMany);
        }
        running.insert(view.id.clone(), new);
        Ok(())
    }

    /// Ends the faults of a run that nobody carries out any more.
    async fn give_up(&self, ledger: &Ledger, caller: &Caller, why: &str) -> ExperimentView {
        tracing::error!(why, "an experiment was not carried out to its end");
        let view = ledger.view();
        for fault in view.status.faults.iter().filter(|fault| !fault.gone) {
            if let Err(error) = self.shared.engine.delete(&fault.name, caller.clone()).await {
                tracing::warn!(%error, fault = fault.name, "it ends by its deadline");
            }
        }
        ledger.close(Outcome::Failed, format!("the daemon broke off: {why}"));
        ledger.view()
    }

    async fn close(&self, view: ExperimentView) {
        let status = &view.status;
        let outcome = status
            .outcome
            .map_or("without an outcome", |outcome| outcome.words());
        let message = status.message.as_deref().unwrap_or("the log says why");
        self.tell(
            EventKind::ExperimentEnded,
            format!("{} ({}): {outcome}: {message}", view.name(), view.id),
        );
        if let Err(error) = self.shared.store.keep(&view).await {
            tracing::error!(%error, id = view.id, "the report of an experiment cannot be kept; it is there until the daemon ends");
        }
        self.running().remove(&view.id);
        self.shared.over.send_modify(|over| *over += 1);
    }

    fn tell(&self, kind: EventKind, message: String) {
        tracing::info!("{kind:?}: {message}");
        self.shared.engine.events().publish(kind, None, message);
    }

    /// All of them with the last of their samples, the newest first.
    pub fn list(&self) -> Vec<ExperimentView> {
        let mut views = self.shared.store.all();
        for running in self.running().values() {
            let view = unkept(running.ledger.in_short());
            views.retain(|kept| kept.id != view.id);
            views.push(view);
        }
        views.sort_by(|a, b| b.id.cmp(&a.id));
        views
    }

    /// One, by its id, or the newest of a name, with the last of its samples.
    ///
    /// # Errors
    /// There is none.
    pub fn glance(&self, id_or_name: &str) -> Result<ExperimentView, ExperimentError> {
        let mut listed = self.list();
        let found = listed
            .iter()
            .position(|view| view.id == id_or_name)
            .or_else(|| listed.iter().position(|view| view.name() == id_or_name));
        match found {
            Some(place) => Ok(listed.swap_remove(place)),
            None => Err(ExperimentError::Unknown(id_or_name.to_owned())),
        }
    }

    /// One, by its id, or the newest of a name.
    ///
    /// # Errors
    /// There is none.
    pub async fn get(&self, id_or_name: &str) -> Result<ExperimentView, ExperimentError> {
        let id = self.glance(id_or_name)?.id;
        if let Some(running) = self.running().get(&id) {
            return Ok(unkept(running.ledger.view()));
        }
        let read = self.shared.store.read(&id).await;
        read.ok_or_else(|| ExperimentError::Unknown(id_or_name.to_owned()))
    }

    /// Orders one to stop; gives it as it is now. One that is over is left as it is.
    ///
    /// # Errors
    /// There is none.
    pub async fn stop(&self, id_or_name: &str, caller: &Caller) -> Result<ExperimentView, ExperimentError> {
        let view = self.get(id_or_name).await?;
        if let Some(running) = self.running().get(&view.id) {
            running.stop.send_replace(Some(StopOrder {
                by: caller.to_string(),
            }));
        }
        Ok(view)
    }

    /// Stops all, and waits a moment until they are rolled back.
    pub async fn shutdown(&self) {
        self.shared.ending.send_replace(true);
        for running in self.running().values() {
            running.stop.send_replace(Some(StopOrder {
                by: "the end of the daemon".to_owned(),
            }));
        }
        let mut over = self.shared.over.subscribe();
        let all = over.wait_for(|_| self.running().is_empty());
        // Their faults end with the engine.
        let _ = tokio::time::timeout(FAREWELL, all).await;
    }

    /// Waits until a run is over.
    pub async fn over(&self, id: &str) {
        let mut over = self.shared.over.subscribe();
        // The sender is ours, so this cannot fail.
        let _ = over.wait_for(|_| !self.running().contains_key(id)).await;
    }
}

/// The outcome is told once it is on the disk: whoever has heard it finds it again.
fn unkept(mut view: ExperimentView) -> ExperimentView {
    view.status.outcome = None;
    view
}

/// A program runs with the daemon's rights, which are more than its callers have.
fn check_programs(run: &RunSubmission, caller: &Caller) -> Result<(), ExperimentError> {
    if matches!(caller, Caller::Unix(peer) if peer.uid == 0) {
        return Ok(());
    }
    let mut wrong = Vec::new();
    let mut look = |probe: &Probe, at: SpecPath| {
        if matches!(probe, Probe::Exec(_)) {
            wrong.push(SpecError::new(
                at.field("exec"),
                format!("programs run as root, and {caller} is not root"),
                "ask root to run it, or write an `http` or `tcp` probe",
            ));
        }
    };
    let spec = SpecPath::root().field("experiment").field("spec");
    for (index, steady) in run.experiment.spec.steady_state.iter().enumerate() {
        look(&steady.probe, spec.clone().field("steadyState").index(index));
    }
    conditions(&run.experiment.spec.method, &spec.field("method"), &mut look);
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(ExperimentError::Invalid(wrong))
    }
}

fn conditions(steps: &[Step], at: &SpecPath, look: &mut impl FnMut(&Probe, SpecPath)) {
    for (index, step) in steps.iter().enumerate() {
        let at = at.clone().index(index);
        if let Some((field, steps)) = step.inside() {
            conditions(steps, &at.clone().field(field), look);
        }
        if let Action::Until(until) = &step.action {
            look(&until.condition.probe, at.field("until").field("condition"));
        }
    }
}

/// Sorts by time: `20261121-203015-4f2a`.
fn new_id() -> String {
    let now = Timestamp::now().strftime("%Y%m%d-%H%M%S%3f").to_string();
    format!("{now}-{:04x}", draw() & 0xffff)
}

/// JSON numbers are exact up to here.
pub(crate) fn draw() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness, the clock is as good for this.
    if getrandom::fill(&mut bytes).is_err() {
        bytes = Timestamp::now().as_nanosecond().to_le_bytes()[..8]
            .try_into()
            .unwrap_or_default();
    }
    u64::from_le_bytes(bytes) & ((1 << 53) - 1)
}

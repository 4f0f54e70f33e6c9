//! The life of faults: accepted, active, ended. One thread owns the data path and the list of faults and takes
//! commands one after another; everybody else holds an [`Engine`] and asks.
#![forbid(unsafe_code)]

mod approving;
mod braking;
mod command;
mod error;
#[cfg(test)]
pub(crate) mod fake;
mod halting;
mod health;
mod host;
mod kernel;
mod newcomers;
mod prepare;
mod registry;
mod resolved_plan;
#[cfg(test)]
mod tests;
mod watch;
mod worker;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use chaos_spec::NetworkFault;
use chaos_spec::api::{Capability, Event, EventKind, FaultView, NodeInfo, Plan};
use chaos_spec::audit::{Entry as AuditEntry, Kind};
use jiff::Timestamp;
use nix::sys::utsname::UtsName;
use tokio::sync::{broadcast, oneshot, watch as signal};

pub use command::Snapshot;
pub use error::{EngineError, Refused, StartError, Why};
pub use host::Host;
pub use kernel::{Brake, Kernel, Resolve};
pub use registry::ENDED_KEPT;

use crate::observe::{Audit, EventBus, History};
use crate::safety::journal::{Change, Entry};
use crate::safety::{
    Approvals, Caller, GuardList, HaltFile, Heart, Lease, LeaseKeeper, PolicyKeeper, Pulse, Roster,
};
use crate::target::names::{NameWatcher, NamesChanged, Servers};
use approving::Weighed;
use braking::Brakes;
use command::Command;
use halting::Halt;
use health::HealthRoom;
use prepare::Preparer;

/// How long to wait for the engine's thread. A request of thousands of faults takes a second or two.
const PATIENCE: Duration = Duration::from_secs(60);
/// How the engine is set up.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    pub lease: Duration,
    /// Active faults at most.
    pub max_faults: usize,
    pub guards: GuardList,
    /// Where the halt and the roster of running faults are kept.
    pub state_dir: PathBuf,
    /// Whom to ask for the hosts that faults name.
    pub servers: Servers,
    /// What happens is taken down there.
    pub audit: Audit,
    /// What runs is kept there.
    pub history: History,
    /// What the node's owner allows.
    pub policy: Arc<PolicyKeeper>,
}

/// A handle; clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    commands: mpsc::Sender<Command>,
    brakes: Brakes,
    events: EventBus,
    keeper: LeaseKeeper,
    halt: Arc<Halt>,
    halt_file: HaltFile,
    preparer: Preparer,
    approvals: Approvals,
    health: HealthRoom,
    capabilities: Vec<Capability>,
    options: EngineOptions,
    started: Timestamp,
    stopped: signal::Receiver<bool>,
}

impl Engine {
    /// Starts the engine's thread, the lease and the watch over targets. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// A thread cannot be started, or the name servers are not known.
    pub fn start(
        mut kernel: impl Kernel,
        heart: impl Heart,
        resolve: impl Resolve,
        options: EngineOptions,
    ) -> Result<Self, StartError> {
        let events = EventBus::new(options.audit.clone(), options.history.clone());
        let (commands, inbox) = mpsc::channel();
        let halt_file = HaltFile::new(&options.state_dir);
        let halt = Arc::new(Halt::new(halt_file.read()));
        let approvals = Approvals::open(&options.state_dir);
        let (roster, crashed) = Roster::open(&options.state_dir);
        let capabilities = kernel.capabilities();
        if let Some(signal) = kernel.newcomer_signal() {
            newcomers::tell(signal, commands.clone())?;
        }
        let health = HealthRoom::new(kernel.guardian()?);
        let brakes = Brakes::new(kernel.brake());
        let pulse = Pulse::default();
        let resolve: Arc<dyn Resolve> = Arc::new(resolve);
        let (changes, names) = tokio::sync::mpsc::channel(64);
        let watch = watch::Watch::start(Arc::clone(&resolve), commands.clone())?;
        let preparer = Preparer::new(
            resolve,
            NameWatcher::new(&options.servers, changes)?,
            Arc::clone(&options.policy),
            options.guards.clone(),
        );
        let keeper = LeaseKeeper::start(heart, options.lease, pulse.clone(), halt.is_on())?;
        let worker = worker::Worker::new(
            kernel,
            worker::Parts {
                events: events.clone(),
                halt: Arc::clone(&halt),
                pulse,
                lease: keeper.lease().clone(),
                history: options.history.clone(),
                roster,
                watch,
                policy: Arc::clone(&options.policy),
                max_faults: options.max_faults,
                commands: commands.clone(),
                brakes: brakes.clone(),
                runtime: tokio::runtime::Handle::current(),
                tick: options.lease / 4,
            },
        );
        tokio::spawn(pass_on(names, commands.clone()));
        let stopped = worker.spawn(inbox)?;
        events.publish(
            EventKind::DaemonStarted,
            None,
            concat!("chaos-daemon ", env!("CARGO_PKG_VERSION")),
        );
        if !crashed.is_empty() {
            let (count, names) = (crashed.len(), crashed.join(", "));
            tracing::warn!(
                count,
                "the previous daemon died while these faults ran; they ended with it: {names}"
            );
            let message =
                format!("the previous daemon died while {count} faults ran; they ended with it: {names}");
            events.publish(EventKind::Recovered, None, message);
        }
        let started = Timestamp::now();
        let shared = Shared {
            commands,
            brakes,
            events,
            keeper,
            halt,
            halt_file,
            preparer,
            approvals,
            health,
            capabilities,
            options,
            started,
            stopped,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Makes these faults so: all of them, or none. One that runs with the same spec is left alone; one that runs
    /// with another spec is changed in place; one that is not there, or has ended, starts.
    ///
    /// # Errors
    /// Halted, invalid, a target that is not there, too many, or the kernel refused: nothing has changed.
    pub async fn apply(
        &self,
        faults: Vec<NetworkFault>,
        caller: Caller,
    ) -> Result<Vec<FaultView>, EngineError> {
        let names: Vec<String> = faults.iter().map(|fault| fault.name().to_owned()).collect();
        let applied = self.try_apply(faults, caller.clone()).await;
        if let Err(error) = &applied {
            let name = if let [name] = names.as_slice() {
                Some(name.as_str())
            } else {
                None
            };
            tracing::info!(fault = name, %error, "refused to {caller}");
            let message = format!("refused to {caller}: {error}");
            self.shared.events.publish(EventKind::FaultRefused, name, message);
        }
        applied
    }

    async fn try_apply(
        &self,
        faults: Vec<NetworkFault>,
        caller: Caller,
    ) -> Result<Vec<FaultView>, EngineError> {
        self.shared.halt.check()?;
        let hosts: Vec<_> = faults.iter().flat_map(prepare::hosts).cloned().collect();
        let mut faults = self.shared.preparer.prepare(faults).await?;
        let weighed = Weighed::of(&faults);
        self.check_approval(&weighed, &caller)?;
        self.make_steady(&mut faults, &caller).await?;
        self.shared
            .options
            .audit
            .record(AuditEntry {
                kind: Kind::Applying,
                who: Some(caller.who()),
                plan: Some(weighed.plan),
                faults: resolved_plan::audited(&faults),
                ..AuditEntry::default()
            })
            .await?;
        let patience = PATIENCE.max(3 * worker::patience_for(faults.iter().map(|one| &*one.target)));
        let (views, leaving) = self
            .ask(patience, |reply| Command::Apply {
                faults,
                caller,
                reply,
            })
            .await?;
        let views = views?;
        for host in hosts {
            // It may have moved between the look-up and now, when nobody listened for this fault yet.
            if let Some(addresses) = self.shared.preparer.addresses(&host) {
                self.tell(Command::Named { host, addresses });
            }
        }
        leaving.gone().await;
        Ok(views)
    }

    /// What [`Engine::apply`] would do. Also while halted.
    ///
    /// # Errors
    /// What [`Engine::apply`] would refuse.
    pub async fn plan(&self, faults: Vec<NetworkFault>) -> Result<Plan, EngineError> {
        let faults = self.shared.preparer.prepare(faults).await?;
        let weighed = Weighed::of(&faults);
        let mut plan = self
            .ask(PATIENCE, |reply| Command::Plan { faults, reply })
            .await??;
        plan.approval = Some(self.weigh(&weighed));
        Ok(plan)
    }

    /// Whether [`Engine::apply`] would let these in for `caller`, as far as can be told without a look at their health
    /// checks. Nothing changes.
    ///
    /// # Errors
    /// What [`Engine::apply`] would refuse.
    pub async fn may_apply(&self, faults: Vec<NetworkFault>, caller: &Caller) -> Result<(), EngineError> {
        self.shared.halt.check()?;
        let faults = self.shared.preparer.prepare(faults).await?;
        self.check_approval(&Weighed::of(&faults), caller)?;
        self.ask(PATIENCE, |reply| Command::Plan { faults, reply })
            .await??;
        Ok(())
    }

    /// One fault, active or ended, with its counters as they are now.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn get(&self, name: &str) -> Result<FaultView, EngineError> {
        let wanted = name.to_owned();
        let found = self
            .ask(PATIENCE, |reply| Command::Get { name: wanted, reply })
            .await?;
        found.ok_or_else(|| EngineError::NoSuchFault(name.to_owned()))
    }

    /// Active faults in the order of their creation, then ended ones in the order of their end.
    ///
    /// # Errors
    /// The engine has stopped.
    pub async fn list(&self) -> Result<Vec<FaultView>, EngineError> {
        self.ask(PATIENCE, |reply| Command::List { reply }).await
    }

    /// Numbers for the metrics, with the counters of at most `most` active faults.
    ///
    /// # Errors
    /// The engine has stopped.
    pub async fn snapshot(&self, most: usize) -> Result<Snapshot, EngineError> {
        self.ask(PATIENCE, |reply| Command::Snapshot { most, reply })
            .await
    }

    /// Ends a fault. One that has ended is left as it is.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn delete(&self, name: &str, caller: Caller) -> Result<FaultView, EngineError> {
        let wanted = name.to_owned();
        let answer = self.ask(PATIENCE, |reply| Command::Delete {
            name: wanted,
            caller,
            reply,
        });
        let (found, leaving) = self.shared.brakes.deleting(name, answer).await?;
        leaving.gone().await;
        found.ok_or_else(|| EngineError::NoSuchFault(name.to_owned()))
    }

    /// The daemon and its host.
    ///
    /// # Errors
    /// The engine has stopped.
    pub async fn node(&self) -> Result<NodeInfo, EngineError> {
        let counts = self.snapshot(0).await?.counts;
        let shared = &self.shared;
        let host = nix::sys::utsname::uname().ok();
        let word = |part: fn(&UtsName) -> &OsStr| {
            host.as_ref()
                .map_or_else(String::new, |host| part(host).to_string_lossy().into_owned())
        };
        let uptime = Timestamp::now().duration_since(shared.started).as_secs();
        Ok(NodeInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: word(UtsName::nodename),
            kernel: format!("{} {}", word(UtsName::release), word(UtsName::machine)),
            capabilities: shared.capabilities.clone(),
            guards: shared.options.policy.guards(&shared.options.guards).describe(),
            halt: shared.halt.state(),
            started_at: shared.started,
            uptime_seconds: u64::try_from(uptime).unwrap_or(0),
            lease: shared.options.lease.into(),
            counts,
            audit_log: shared.options.audit.path().map(|path| path.display().to_string()),
        })
    }

    /// Remembered events after number `last`, and the stream of those to come.
    pub fn subscribe(&self, last: Option<u64>) -> (Vec<Event>, broadcast::Receiver<Event>) {
        self.shared.events.subscribe(last)
    }

    /// Where what happens is taken down.
    pub fn audit(&self) -> &Audit {
        &self.shared.options.audit
    }

    /// What ran.
    pub fn history(&self) -> &History {
        &self.shared.options.history
    }

    pub fn events(&self) -> &EventBus {
        &self.shared.events
    }

    pub fn lease(&self) -> &Lease {
        self.shared.keeper.lease()
    }

    /// Whether the engine's thread has given a sign of life within the lease.
    pub fn is_ticking(&self) -> bool {
        !*self.shared.stopped.borrow() && self.lease().engine_age() < self.shared.options.lease
    }

    /// Ends every fault, undoes every change on the host, and stops the thread. Returns when it is done.
    pub async fn shutdown(&self) {
        self.shared
            .events
            .publish(EventKind::DaemonStopping, None, "every fault ends now");
        // An engine that has stopped already has nothing left to undo.
        let _ = self.ask(PATIENCE, |reply| Command::Shutdown { reply }).await;
        self.stopped().await;
    }

    /// Tells readers what a previous daemon had left behind, and that it is undone.
    pub fn recovered(&self, leftovers: &[(Entry, Change)]) {
        for (_, change) in leftovers {
            let message = format!("a previous daemon left {change} behind; it is undone");
            self.shared.events.publish(EventKind::Recovered, None, message);
        }
    }

    /// Reads the policy again. What runs goes on; what is asked for from now on meets the new one.
    ///
    /// A file that is refused leaves the old policy in force, and says so in the log and the events.
    ///
    /// # Errors
    /// The daemon is ending, or the kernel refuses the guards of the new policy.
    pub async fn reload_policy(&self) -> Result<(), EngineError> {
        let policy = Arc::clone(&self.shared.options.policy);
        let events = &self.shared.events;
        match blocking(move || policy.reload()).await? {
            Ok(None) => tracing::info!("there is no policy to read again (--policy)"),
            Ok(Some(path)) => {
                tracing::warn!(path = %path.display(), "the policy was read again and is in force");
                let message = format!("{} was read again and is in force", path.display());
                events.publish(EventKind::PolicyReloaded, None, message);
                let list = self.shared.options.policy.guards(&self.shared.options.guards);
                self.ask(PATIENCE, |reply| Command::Guard { list, reply })
                    .await??;
            }
            Err(error) => {
                tracing::error!(%error, "the new policy is refused; the old one stays in force");
                let message = format!("the new policy is refused; the old one stays in force: {error}");
                events.publish(EventKind::Warning, None, message);
            }
        }
        Ok(())
    }

    /// Waits for the engine's thread to end: after [`Engine::shutdown`], or because it panicked.
    pub async fn stopped(&self) {
        let mut stopped = self.shared.stopped.clone();
        // An error means that the thread is gone without a word, which is stopped, too.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }

    /// An engine that has stopped has no use for it.
    fn tell(&self, command: Command) {
        let _ = self.shared.commands.send(command);
    }

    async fn ask<T>(
        &self,
        patience: Duration,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.shared
            .commands
            .send(command(reply))
            .map_err(|_| EngineError::Stopped)?;
        match tokio::time::timeout(patience, answer).await {
            Ok(answer) => answer.map_err(|_| EngineError::Stopped),
            Err(_) => Err(EngineError::Hung(patience)),
        }
    }
}

/// Hands changes of names to the engine's thread, until either side is gone.
async fn pass_on(mut names: tokio::sync::mpsc::Receiver<NamesChanged>, engine: mpsc::Sender<Command>) {
    while let Some(NamesChanged { host, addresses }) = names.recv().await {
        if engine.send(Command::Named { host, addresses }).is_err() {
            return;
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, EngineError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| EngineError::Stopped)
}

//! The life of faults: accepted, active, ended. One thread owns the data path and the list of faults and takes
//! commands one after another; everybody else holds an [`Engine`] and asks.
#![forbid(unsafe_code)]

mod command;
mod error;
#[cfg(test)]
pub(crate) mod fake;
mod host;
mod kernel;
mod prepare;
mod registry;
#[cfg(test)]
mod tests;
mod watch;
mod worker;

use std::ffi::OsStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chaos_spec::NetworkFault;
use chaos_spec::api::{Capability, Event, EventKind, FaultView, HaltState, NodeInfo, Plan};
use jiff::Timestamp;
use nix::sys::utsname::UtsName;
use tokio::sync::{broadcast, oneshot, watch as signal};

pub use command::Snapshot;
pub use error::{EngineError, Refused, StartError, Why};
pub use host::Host;
pub use kernel::{Kernel, Resolve};
pub use registry::ENDED_KEPT;

use crate::observe::EventBus;
use crate::safety::{Caller, GuardList, HaltFile, Heart, LeaseKeeper, Pulse};
use crate::target::names::{NameWatcher, NamesChanged, Servers};
use command::Command;
use prepare::Preparer;

/// How the engine is set up.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    pub lease: Duration,
    /// Active faults at most.
    pub max_faults: usize,
    pub guards: GuardList,
    pub halt: HaltFile,
    /// Whom to ask for the hosts that faults name.
    pub servers: Servers,
}

/// A handle; clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    commands: mpsc::Sender<Command>,
    events: EventBus,
    lease: LeaseKeeper,
    halt: Arc<Halt>,
    preparer: Preparer,
    capabilities: Vec<Capability>,
    options: EngineOptions,
    started: Timestamp,
    stopped: signal::Receiver<bool>,
}

/// The halt as everybody sees it. The flag is what refuses; the state is what is told.
struct Halt {
    flag: AtomicBool,
    state: Mutex<HaltState>,
}

impl Halt {
    fn state(&self) -> HaltState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn check(&self) -> Result<(), EngineError> {
        if self.flag.load(Ordering::SeqCst) {
            Err(EngineError::Halted(self.state()))
        } else {
            Ok(())
        }
    }

    fn set(&self, state: HaltState) {
        self.flag.store(state.halted, Ordering::SeqCst);
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

impl Engine {
    /// Starts the engine's thread, the lease and the watch over targets. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// A thread cannot be started, or the name servers are not known.
    pub fn start(
        kernel: impl Kernel,
        heart: impl Heart,
        resolve: impl Resolve,
        options: EngineOptions,
    ) -> Result<Self, StartError> {
        let events = EventBus::default();
        let (commands, inbox) = mpsc::channel();
        let state = options.halt.read();
        let halt = Arc::new(Halt {
            flag: AtomicBool::new(state.halted),
            state: Mutex::new(state),
        });
        let capabilities = kernel.capabilities();
        let pulse = Pulse::default();
        let resolve: Arc<dyn Resolve> = Arc::new(resolve);
        let (changes, names) = tokio::sync::mpsc::channel(64);
        let watch = watch::Watch::start(Arc::clone(&resolve), commands.clone())?;
        let preparer = Preparer::new(resolve, NameWatcher::new(&options.servers, changes)?);
        let worker = worker::Worker::new(
            kernel,
            worker::Parts {
                events: events.clone(),
                halt: Arc::clone(&halt),
                pulse: pulse.clone(),
                watch,
                max_faults: options.max_faults,
                tick: options.lease / 4,
            },
        );
        tokio::spawn(pass_on(names, commands.clone()));
        let lease = LeaseKeeper::start(heart, options.lease, pulse, halt.flag.load(Ordering::SeqCst))?;
        let stopped = worker.spawn(inbox)?;
        events.publish(
            EventKind::DaemonStarted,
            None,
            concat!("chaos-daemon ", env!("CARGO_PKG_VERSION")),
        );
        let started = Timestamp::now();
        let shared = Shared {
            commands,
            events,
            lease,
            halt,
            preparer,
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
        self.shared.halt.check()?;
        let hosts: Vec<_> = faults.iter().flat_map(prepare::hosts).cloned().collect();
        let faults = self.shared.preparer.prepare(faults).await?;
        let views = self
            .ask(|reply| Command::Apply {
                faults,
                caller,
                reply,
            })
            .await??;
        for host in hosts {
            // It may have moved between the look-up and now, when nobody listened for this fault yet.
            if let Some(addresses) = self.shared.preparer.addresses(&host) {
                self.tell(Command::Named { host, addresses });
            }
        }
        Ok(views)
    }

    /// What [`Engine::apply`] would do. Also while halted.
    ///
    /// # Errors
    /// What [`Engine::apply`] would refuse.
    pub async fn plan(&self, faults: Vec<NetworkFault>) -> Result<Plan, EngineError> {
        let faults = self.shared.preparer.prepare(faults).await?;
        self.ask(|reply| Command::Plan { faults, reply }).await?
    }

    /// One fault, active or ended, with its counters as they are now.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn get(&self, name: &str) -> Result<FaultView, EngineError> {
        let wanted = name.to_owned();
        let found = self.ask(|reply| Command::Get { name: wanted, reply }).await?;
        found.ok_or_else(|| EngineError::NoSuchFault(name.to_owned()))
    }

    /// Active faults in the order of their creation, then ended ones in the order of their end.
    ///
    /// # Errors
    /// The engine has stopped.
    pub async fn list(&self) -> Result<Vec<FaultView>, EngineError> {
        self.ask(|reply| Command::List { reply }).await
    }

    /// Numbers for the metrics, with the counters of at most `most` active faults.
    ///
    /// # Errors
    /// The engine has stopped.
    pub async fn snapshot(&self, most: usize) -> Result<Snapshot, EngineError> {
        self.ask(|reply| Command::Snapshot { most, reply }).await
    }

    /// Ends a fault. One that has ended is left as it is.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn delete(&self, name: &str, caller: Caller) -> Result<FaultView, EngineError> {
        let wanted = name.to_owned();
        let found = self
            .ask(|reply| Command::Delete {
                name: wanted,
                caller,
                reply,
            })
            .await?;
        found.ok_or_else(|| EngineError::NoSuchFault(name.to_owned()))
    }

    /// Stops everything: rules are void before this does anything that can fail or wait. Calling it again while
    /// halted ends whatever may be left and keeps the first caller's name.
    ///
    /// # Errors
    /// The halt is in force, but could not be kept for a restart; or the engine has stopped.
    pub async fn halt(&self, caller: Caller, reason: Option<String>) -> Result<HaltState, EngineError> {
        let shared = &self.shared;
        let again = shared.halt.flag.swap(true, Ordering::SeqCst);
        shared.lease.halt();
        let kept = if again && shared.options.halt.read().since.is_some() {
            Ok(())
        } else {
            let file = shared.options.halt.clone();
            let (who, why) = (caller.clone(), reason.clone());
            let (state, kept) = blocking(move || file.write(&who, why)).await?;
            shared.halt.set(state);
            kept
        };
        let why = match &reason {
            Some(reason) => format!("halted by {caller}: {reason}"),
            None => format!("halted by {caller}"),
        };
        let message = why.clone();
        let ended = self.ask(|reply| Command::Halt { why, reply }).await?;
        tracing::warn!(uid = caller.uid, pid = caller.pid, ended, "{message}");
        shared.events.publish(
            EventKind::Halted,
            None,
            format!("{message}; {ended} faults ended"),
        );
        kept?;
        Ok(shared.halt.state())
    }

    /// Lets new faults in again. Nothing that was halted comes back.
    ///
    /// # Errors
    /// The halt file cannot be removed: the halt stays.
    pub async fn release(&self, caller: Caller) -> Result<HaltState, EngineError> {
        let shared = &self.shared;
        let file = shared.options.halt.clone();
        blocking(move || file.clear()).await??;
        shared.halt.set(HaltState::default());
        shared.lease.release();
        tracing::warn!(uid = caller.uid, pid = caller.pid, "released by {caller}");
        shared
            .events
            .publish(EventKind::Released, None, format!("released by {caller}"));
        Ok(shared.halt.state())
    }

    pub fn halt_state(&self) -> HaltState {
        self.shared.halt.state()
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
            guards: shared.options.guards.describe(),
            halt: shared.halt.state(),
            started_at: shared.started,
            uptime_seconds: u64::try_from(uptime).unwrap_or(0),
            lease: shared.options.lease.into(),
            counts,
        })
    }

    /// Remembered events after number `last`, and the stream of those to come.
    pub fn subscribe(&self, last: Option<u64>) -> (Vec<Event>, broadcast::Receiver<Event>) {
        self.shared.events.subscribe(last)
    }

    pub fn events(&self) -> &EventBus {
        &self.shared.events
    }

    pub fn lease(&self) -> &LeaseKeeper {
        &self.shared.lease
    }

    /// Whether the engine's thread has given a sign of life within the lease.
    pub fn is_ticking(&self) -> bool {
        !*self.shared.stopped.borrow() && self.shared.lease.engine_age() < self.shared.options.lease
    }

    /// Ends every fault, undoes every change on the host, and stops the thread. Returns when it is done.
    pub async fn shutdown(&self) {
        self.shared
            .events
            .publish(EventKind::DaemonStopping, None, "every fault ends now");
        // An engine that has stopped already has nothing left to undo.
        let _ = self.ask(|reply| Command::Shutdown { reply }).await;
        self.stopped().await;
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

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.shared
            .commands
            .send(command(reply))
            .map_err(|_| EngineError::Stopped)?;
        answer.await.map_err(|_| EngineError::Stopped)
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

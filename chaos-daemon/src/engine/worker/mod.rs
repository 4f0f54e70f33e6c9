//! The engine's thread: the only owner of the data path and of the list of faults.

mod apply;
mod follow;
mod health;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use chaos_spec::api::{EventKind, FaultView, Packets, Reason};
use chaos_spec::{Warning, WarningKind};
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::watch as signal;

use super::Halt;
use super::braking::Brakes;
use super::command::{Command, Snapshot};
use super::kernel::Kernel;
use super::registry::{Active, Ending, Registry};
use super::watch::{TargetKey, Watch};
use crate::datapath::{Arm, Armed, DatapathError, FaultId};
use crate::observe::{EventBus, History};
use crate::safety::clock::boot_ns;
use crate::safety::{Lease, PolicyKeeper, Pulse, Roster};
use crate::target::{Interface, Resolved};

/// Between two looks at budgets and devices while faults are active.
const POLL: Duration = Duration::from_millis(100);
/// Between two tries to take away what could not be taken away.
const RETRY: Duration = Duration::from_secs(1);

/// How long a change in the kernel may take before the engine is taken for hung: attaching to many devices, or
/// verifying programs on a slow host.
const KERNEL_PATIENCE: Duration = Duration::from_secs(20);
/// As much again for each device: to link a program to one, or to take it away, takes the kernel a grace period of RCU in
/// each direction, one device after the other.
const DEVICE_PATIENCE: Duration = Duration::from_millis(100);

/// What the thread shares with others.
pub(super) struct Parts {
    pub(super) events: EventBus,
    pub(super) halt: Arc<Halt>,
    pub(super) pulse: Pulse,
    pub(super) lease: Lease,
    pub(super) roster: Roster,
    pub(super) history: History,
    pub(super) watch: Watch,
    pub(super) policy: Arc<PolicyKeeper>,
    pub(super) max_faults: usize,
    /// The way for health checks to report, and where they run.
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) brakes: Brakes,
    pub(super) runtime: Handle,
    /// Longest time between two signs of life.
    pub(super) tick: Duration,
}

pub(super) struct Worker<K> {
    kernel: K,
    parts: Parts,
    faults: Registry,
    next_id: u64,
    next_order: u32,
    polled: Instant,
    /// Endings that the kernel refused, to be tried again.
    unfinished: Vec<(Vec<FaultId>, Reason, String)>,
    retried: Instant,
}

/// A fault that is out of the kernel, and still to be told of.
struct Over {
    id: FaultId,
    notices: Vec<WarningKind>,
    ending: Ending,
}

/// Says that the thread is over, also when it panics.
struct Farewell {
    pulse: Pulse,
    stopped: signal::Sender<bool>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.pulse.stop();
        self.stopped.send_replace(true);
    }
}

impl<K: Kernel> Worker<K> {
    pub(super) fn new(kernel: K, parts: Parts) -> Self {
        let now = Instant::now();
        Self {
            kernel,
            parts,
            faults: Registry::default(),
            next_id: 1,
            next_order: 1,
            polled: now,
            unfinished: Vec::new(),
            retried: now,
        }
    }

    /// Starts the thread. The signal turns true when it is over.
    pub(super) fn spawn(mut self, inbox: mpsc::Receiver<Command>) -> std::io::Result<signal::Receiver<bool>> {
        let (stopped, signal) = signal::channel(false);
        let farewell = Farewell {
            pulse: self.parts.pulse.clone(),
            stopped,
        };
        std::thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || {
                // Dropped last, when the data path is gone as well.
                let _farewell = farewell;
                let last = self.run(&inbox);
                drop(self);
                if let Some(reply) = last {
                    // Who asked may have gone away meanwhile.
                    let _ = reply.send(());
                }
            })?;
        Ok(signal)
    }

    /// Until somebody asks for the end, or nobody is left to ask.
    fn run(&mut self, inbox: &mpsc::Receiver<Command>) -> Option<super::command::Reply<()>> {
        loop {
            self.parts.pulse.beat();
            let command = inbox.recv_timeout(self.patience());
            // Before anything else: this thread, or the whole process, may have stood still.
            self.end_if_lapsed();
            match command {
                Ok(Command::Shutdown { reply }) => {
                    self.end_all(Reason::Deleted, "the daemon was stopped");
                    self.parts.runtime.block_on(self.kernel.leaving().gone());
                    return Some(reply);
                }
                Ok(command) => self.obey(command),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.end_all(Reason::Deleted, "the daemon was stopped");
                    return None;
                }
            }
            self.end_if_lapsed();
            self.parts.pulse.beat();
            self.end_overdue();
            if !self.faults.is_empty() && self.polled.elapsed() >= POLL {
                self.poll();
                self.polled = Instant::now();
            }
            if !self.unfinished.is_empty() && self.retried.elapsed() >= RETRY {
                self.retry();
            }
        }
    }

    /// How long to wait for a command before something else is due.
    fn patience(&self) -> Duration {
        match self.faults.next_deadline() {
            Some(deadline) => {
                let left = Duration::from_nanos(deadline.saturating_sub(boot_ns()));
                left.min(POLL).min(self.parts.tick)
            }
            None => self.parts.tick,
        }
    }

    // An answer that nobody waits for any more is dropped: the client has gone, what it asked for is done.
    fn obey(&mut self, command: Command) {
        match command {
            Command::Apply {
                faults,
                caller,
                reply,
            } => {
                // Whoever was told that it failed must not find it done after all.
                if reply.is_closed() {
                    tracing::warn!("nobody waits for an apply by {caller} any more; it is not carried out");
                } else {
                    let applied = self.apply(faults, &caller);
                    let _ = reply.send((applied, self.kernel.leaving()));
                }
            }
            Command::Plan { faults, reply } => {
                let _ = reply.send(self.plan(faults));
            }
            Command::Newcomer => self.look_at_newcomers(),
            Command::Get { name, reply } => {
                let _ = reply.send(self.get(&name));
            }
            Command::List { reply } => {
                let active = self.faults.active().map(|fault| self.view(fault));
                let _ = reply.send(active.chain(self.faults.ended().cloned()).collect());
            }
            Command::Snapshot { most, reply } => {
                let numbers = |fault: &Active| (fault.metadata.name.clone(), self.packets(fault.id));
                let _ = reply.send(Snapshot {
                    counts: self.faults.counts(),
                    packets: self.faults.active().take(most).map(numbers).collect(),
                    endings: self.faults.reasons(),
                    statistics: self.kernel.statistics(),
                });
            }
            Command::Delete { name, caller, reply } => {
                if let Some(fault) = self.faults.named(&name) {
                    let id = fault.id;
                    tracing::info!(fault = name, "deleted by {caller}");
                    self.end(&[id], Reason::Deleted, &format!("deleted by {caller}"));
                }
                let _ = reply.send((self.get(&name), self.kernel.leaving()));
            }
            Command::Halt { why, reply } => {
                let ids = self.faults.active_ids();
                let over = self.stop(&ids, Reason::Halt, &why);
                // Whoever pulls the brake hears of it at once; a thousand entries in the log come after it.
                let _ = reply.send((ids.len(), self.kernel.leaving()));
                self.bury_all(over);
            }
            Command::Guard { list, reply } => {
                let _ = reply.send(self.kernel.guard(&list).map_err(Into::into));
            }
            Command::Moved { key, resolved } => self.moved(&key, &resolved),
            Command::Gone { key, why } => {
                let ids = self.faults.on_target(&key);
                self.end(&ids, Reason::TargetGone, &why);
            }
            Command::Named { host, addresses } => self.named(&host, &addresses),
            Command::NodeUnhealthy { checks, message } => self.node_unhealthy(&checks, &message),
            Command::Unhealthy { id, checks, message } => self.unhealthy(id, &checks, &message),
            // Taken by the loop.
            Command::Shutdown { .. } => {}
        }
    }

    fn get(&self, name: &str) -> Option<FaultView> {
        match self.faults.named(name) {
            Some(fault) => Some(self.view(fault)),
            None => self.faults.ended_named(name).cloned(),
        }
    }

    /// Arms, with the time it takes.
    fn arm(&mut self, arms: &[Arm]) -> Result<Vec<Armed>, DatapathError> {
        self.parts
            .pulse
            .busy(patience_for(arms.iter().map(|arm| &arm.target)));
        let armed = self.kernel.arm(arms);
        self.parts.pulse.beat();
        armed
    }

    fn view(&self, fault: &Active) -> FaultView {
        let mut view = fault.view(self.packets(fault.id));
        add_warnings(
            &mut view.status.warnings,
            self.kernel.notices(fault.id).into_iter().map(Warning::from),
        );
        view
    }

    fn packets(&self, id: FaultId) -> Packets {
        self.kernel.counters(id).unwrap_or_else(|error| {
            tracing::debug!(id = id.0, %error, "no counters");
            Packets::default()
        })
    }

    /// A lease that ran out stopped every rule, and nobody knows what happened meanwhile: faults do not take up again
    /// where they left off.
    fn end_if_lapsed(&mut self) {
        if !self.parts.lease.has_lapsed() {
            return;
        }
        self.end_overdue();
        let ended = self.end_all(Reason::Lease, "the daemon did not renew the lease in time");
        self.parts.pulse.beat();
        if self.unfinished.is_empty() {
            self.parts.lease.restart();
            tracing::warn!(ended, "the lease had run out; it begins anew");
        }
    }

    fn end_overdue(&mut self) {
        let overdue = self.faults.overdue(boot_ns());
        self.end(&overdue, Reason::Deadline, "its duration was over");
    }

    fn end_all(&mut self, reason: Reason, message: &str) -> usize {
        let ids = self.faults.active_ids();
        self.end(&ids, reason, message);
        ids.len()
    }

    /// Ends these faults together. What the kernel refuses is tried again.
    fn end(&mut self, ids: &[FaultId], reason: Reason, message: &str) {
        let over = self.stop(ids, reason, message);
        self.bury_all(over);
    }

    /// Takes these faults out of the kernel; returns what there is to write down about them.
    #[must_use = "they are over, and nobody knows"]
    fn stop(&mut self, ids: &[FaultId], reason: Reason, message: &str) -> Vec<Over> {
        // One that is being ended already has its reason.
        let mut ids: Vec<FaultId> = ids
            .iter()
            .copied()
            .filter(|id| self.faults.get(*id).is_some())
            .collect();
        ids.retain(|id| !self.unfinished.iter().any(|(others, ..)| others.contains(id)));
        if ids.is_empty() {
            return Vec::new();
        }
        self.parts.pulse.busy(KERNEL_PATIENCE);
        let quiet = self.kernel.quiet(&ids);
        if reason == Reason::Health && quiet.is_ok() {
            // From here on traffic is as it was; the rest is tidying up.
            self.note_end(&ids);
        }
        // The last counts, to the packet: nothing acts any more, and nothing has been taken away.
        let packets: Vec<_> = ids.iter().map(|id| self.packets(*id)).collect();
        let notices: Vec<_> = ids.iter().map(|id| self.kernel.notices(*id)).collect();
        let targets = ids.iter().filter_map(|id| self.faults.get(*id));
        self.parts
            .pulse
            .busy(patience_for(targets.map(|fault| &*fault.target)));
        let disarmed = quiet.and_then(|()| self.kernel.disarm(&ids));
        self.parts.pulse.beat();
        if let Err(error) = disarmed {
            tracing::error!(%error, count = ids.len(), "faults could not be ended; trying again");
            let text = format!("{} faults could not be ended, trying again: {error}", ids.len());
            self.parts.events.publish(EventKind::Warning, None, text);
            for id in &ids {
                self.faults.forget_deadline(*id);
            }
            self.unfinished.push((ids, reason, message.to_owned()));
            self.retried = Instant::now();
            return Vec::new();
        }
        let names = ids
            .iter()
            .filter_map(|id| self.faults.get(*id))
            .map(|fault| fault.metadata.name.clone());
        self.parts.roster.ended(names.collect());
        let at = Timestamp::now();
        let last_words = packets.into_iter().zip(notices);
        ids.into_iter()
            .zip(last_words)
            .map(|(id, (packets, notices))| Over {
                id,
                notices,
                ending: Ending {
                    reason,
                    message: message.to_owned(),
                    at,
                    packets,
                },
            })
            .collect()
    }

    fn bury_all(&mut self, over: Vec<Over>) {
        for Over { id, notices, ending } in over {
            self.bury(id, notices, ending);
        }
    }

    fn bury(&mut self, id: FaultId, notices: Vec<WarningKind>, mut ending: Ending) {
        if ending.reason == Reason::Health {
            self.tell_how_soon(id, &mut ending.message);
        }
        let Ending {
            reason,
            message,
            packets,
            ..
        } = ending.clone();
        let Some(key) = self.faults.get(id).map(|fault| Arc::clone(&fault.key)) else {
            return;
        };
        let notices = notices.into_iter().map(Warning::from).collect();
        let Some(view) = self.faults.end(id, notices, ending) else {
            return;
        };
        self.parts.brakes.ended(&view.metadata.name);
        self.forget_if_unused(&key);
        self.parts.history.ended(view.clone());
        let name = &view.metadata.name;
        tracing::info!(fault = name, %reason, matched = packets.matched, "ended: {message}");
        self.parts
            .events
            .publish(EventKind::FaultEnded, Some(name), format!("{reason}: {message}"));
    }

    fn forget_if_unused(&self, key: &TargetKey) {
        if self.faults.on_target(key).is_empty() {
            self.parts.watch.forget(key);
        }
    }

    fn poll(&mut self) {
        self.kernel.breathe();
        for (id, why) in self.kernel.gone() {
            self.end(&[id], Reason::TargetGone, &why);
        }
        let unfit = self.kernel.unfit();
        self.refit(&unfit);
        self.look_at_newcomers();
        let spent = |fault: &&Active| {
            let budget = fault.spec.safety.max_packets;
            budget.is_some_and(|budget| self.packets(fault.id).acted_on() >= budget)
        };
        let spent: Vec<FaultId> = self.faults.active().filter(spent).map(|fault| fault.id).collect();
        self.end(&spent, Reason::Budget, "its packet budget was spent");
    }

    fn look_at_newcomers(&mut self) {
        if !self.kernel.newcomers().is_empty() {
            self.parts.watch.look();
        }
    }

    fn retry(&mut self) {
        for (ids, reason, message) in std::mem::take(&mut self.unfinished) {
            self.end(&ids, reason, &message);
        }
        self.retried = Instant::now();
    }
}

/// How long the kernel may take to change what is attached to these targets.
pub(super) fn patience_for<'a>(targets: impl Iterator<Item = &'a Resolved>) -> Duration {
    let places = targets.flat_map(|target| &target.places);
    let devices: HashSet<_> = places
        .flat_map(|place| {
            let of = |interface: &Interface| (place.netns.dev, place.netns.inode, interface.index);
            place.interfaces.iter().map(of)
        })
        .collect();
    KERNEL_PATIENCE + DEVICE_PATIENCE * u32::try_from(devices.len()).unwrap_or(u32::MAX)
}

/// Each warning once, whichever room it comes from.
fn add_warnings(known: &mut Vec<Warning>, more: impl IntoIterator<Item = Warning>) {
    for warning in more {
        if !known.contains(&warning) {
            known.push(warning);
        }
    }
}

//! The engine's thread: the only owner of the data path and of the list of faults.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use chaos_spec::api::{EventKind, FaultView, Packets, Plan, Reason};
use chaos_spec::{FaultSpec, Hostname, Warning, WarningKind};
use jiff::Timestamp;
use tokio::sync::watch as signal;

use super::command::{Command, Prepared, Snapshot};
use super::kernel::Kernel;
use super::registry::{Active, Ending, Registry};
use super::watch::{TargetKey, Watch};
use super::{EngineError, Halt};
use crate::datapath::{Arm, FaultId};
use crate::observe::EventBus;
use crate::safety::clock::boot_ns;
use crate::safety::{Caller, Pulse};
use crate::target::Resolved;

/// Between two looks at budgets and devices while faults are active.
const POLL: Duration = Duration::from_millis(100);
/// Between two tries to take away what could not be taken away.
const RETRY: Duration = Duration::from_secs(1);

/// What the thread shares with others.
pub(super) struct Parts {
    pub(super) events: EventBus,
    pub(super) halt: Arc<Halt>,
    pub(super) pulse: Pulse,
    pub(super) watch: Watch,
    pub(super) max_faults: usize,
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
            match inbox.recv_timeout(self.patience()) {
                Ok(Command::Shutdown { reply }) => {
                    self.end_all(Reason::Deleted, "the daemon was stopped");
                    return Some(reply);
                }
                Ok(command) => self.obey(command),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.end_all(Reason::Deleted, "the daemon was stopped");
                    return None;
                }
            }
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
                let _ = reply.send(self.apply(faults, &caller));
            }
            Command::Plan { faults, reply } => {
                let _ = reply.send(self.plan(faults));
            }
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
                    tracing::info!(
                        fault = name,
                        uid = caller.uid,
                        gid = caller.gid,
                        pid = caller.pid,
                        "deleted by {caller}"
                    );
                    self.end(&[id], Reason::Deleted, &format!("deleted by {caller}"));
                }
                let _ = reply.send(self.get(&name));
            }
            Command::Halt { why, reply } => {
                let _ = reply.send(self.end_all(Reason::Halt, &why));
            }
            Command::Moved { key, resolved } => self.moved(&key, &resolved),
            Command::Gone { key, why } => {
                let ids = self.faults.on_target(&key);
                self.end(&ids, Reason::TargetGone, &why);
            }
            Command::Named { host, addresses } => self.named(&host, &addresses),
            // Taken by the loop.
            Command::Shutdown { .. } => {}
        }
    }

    fn apply(&mut self, faults: Vec<Prepared>, caller: &Caller) -> Result<Vec<FaultView>, EngineError> {
        // Halted since the caller was let in? Then the halt came first.
        self.parts.halt.check()?;
        let now = (boot_ns(), Timestamp::now());
        let mut due = Vec::new();
        let mut names = Vec::with_capacity(faults.len());
        let mut fresh = 0;
        for prepared in faults {
            names.push(prepared.fault.metadata.name.clone());
            let running = self.faults.named(prepared.fault.name());
            if running.is_some_and(|running| is_same(running, &prepared)) {
                continue;
            }
            let changed = running.is_some();
            let fault = self.candidate(prepared, fresh, now);
            if !changed {
                fresh += 1;
            }
            due.push((fault, changed));
        }
        let running = self.faults.len();
        if running + fresh as usize > self.parts.max_faults {
            let limit = self.parts.max_faults;
            return Err(EngineError::TooMany {
                running,
                asked: fresh as usize,
                limit,
            });
        }
        if !due.is_empty() {
            let arms: Vec<Arm> = due.iter().map(|(fault, _)| fault.arm()).collect();
            let armed = self.kernel.arm(&arms)?;
            self.next_id += u64::from(fresh);
            self.next_order += fresh;
            for ((mut fault, changed), armed) in due.into_iter().zip(armed) {
                fault.attachments = armed.attachments;
                add_warnings(&mut fault.warnings, armed.warnings.into_iter().map(Warning::from));
                self.adopt(fault, changed, caller);
            }
        }
        Ok(names.iter().filter_map(|name| self.get(name)).collect())
    }

    /// The fault as it would be; `fresh` counts the new ones of the same request before it.
    fn candidate(&self, prepared: Prepared, fresh: u32, (boot, wall): (u64, Timestamp)) -> Active {
        let Prepared {
            fault,
            key,
            target,
            names,
            warnings,
        } = prepared;
        let running = self.faults.named(fault.name());
        let seed = fault.spec.seed.unwrap_or_else(|| match running {
            // A change of something else must not change the dice.
            Some(running) if running.spec.seed.is_none() => running.seed,
            _ => draw_seed(),
        });
        let length = fault.spec.duration;
        let length_signed =
            jiff::SignedDuration::try_from(length.as_std()).unwrap_or(jiff::SignedDuration::MAX);
        Active {
            id: running.map_or(FaultId(self.next_id + u64::from(fresh)), |running| running.id),
            order: running.map_or(self.next_order + fresh, |running| running.order),
            metadata: fault.metadata,
            seed,
            deadline: boot.saturating_add(length.as_nanos()),
            started_at: running.map_or(wall, |running| running.started_at),
            ends_at: wall.saturating_add(length_signed).unwrap_or(Timestamp::MAX),
            spec: Arc::new(fault.spec),
            key,
            target,
            names: names
                .as_ref()
                .map(|names| names.addresses.clone())
                .unwrap_or_default(),
            watched: names,
            attachments: Vec::new(),
            warnings: warnings.into_iter().map(Warning::from).collect(),
        }
    }

    fn adopt(&mut self, fault: Active, changed: bool, caller: &Caller) {
        let name = fault.metadata.name.clone();
        let (kind, verb) = if changed {
            (EventKind::FaultChanged, "changed")
        } else {
            (EventKind::FaultActive, "applied")
        };
        let what = describe(&fault.spec);
        tracing::info!(
            fault = name,
            uid = caller.uid,
            gid = caller.gid,
            pid = caller.pid,
            seed = fault.seed,
            "{verb} by {caller}: {what}"
        );
        for warning in &fault.warnings {
            tracing::debug!(fault = name, code = warning.code, "{}", warning.message);
        }
        self.parts
            .watch
            .follow(&fault.key, &fault.spec.target, &fault.target);
        let before = self.faults.get(fault.id).map(|before| Arc::clone(&before.key));
        self.parts.events.publish(
            kind,
            Some(&name),
            format!("{verb} by {caller}: {what}, until {}", fault.ends_at),
        );
        self.faults.put(fault);
        if let Some(key) = before {
            self.forget_if_unused(&key);
        }
    }

    fn plan(&self, faults: Vec<Prepared>) -> Result<Plan, EngineError> {
        let now = (boot_ns(), Timestamp::now());
        let mut plan = Plan::default();
        let mut fresh = 0;
        for prepared in faults {
            let is_new = self.faults.named(prepared.fault.name()).is_none();
            let fault = self.candidate(prepared, fresh, now);
            fresh += u32::from(is_new);
            let mut planned = self.kernel.plan(&fault.arm())?;
            add_warnings(&mut planned.warnings, fault.warnings);
            plan.faults.push(planned);
        }
        Ok(plan)
    }

    fn get(&self, name: &str) -> Option<FaultView> {
        match self.faults.named(name) {
            Some(fault) => Some(self.view(fault)),
            None => self.faults.ended_named(name).cloned(),
        }
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
        // One that is being ended already has its reason.
        let mut ids: Vec<FaultId> = ids
            .iter()
            .copied()
            .filter(|id| self.faults.get(*id).is_some())
            .collect();
        ids.retain(|id| !self.unfinished.iter().any(|(others, ..)| others.contains(id)));
        if ids.is_empty() {
            return;
        }
        let mut packets = Vec::with_capacity(ids.len());
        let mut notices = Vec::with_capacity(ids.len());
        for id in &ids {
            packets.push(self.packets(*id));
            notices.push(self.kernel.notices(*id));
        }
        if let Err(error) = self.kernel.disarm(&ids) {
            tracing::error!(%error, count = ids.len(), "faults could not be ended; trying again");
            let text = format!("{} faults could not be ended, trying again: {error}", ids.len());
            self.parts.events.publish(EventKind::Warning, None, text);
            for id in &ids {
                self.faults.forget_deadline(*id);
            }
            self.unfinished.push((ids, reason, message.to_owned()));
            self.retried = Instant::now();
            return;
        }
        let at = Timestamp::now();
        for ((id, packets), notices) in ids.iter().zip(packets).zip(notices) {
            self.bury(
                *id,
                notices,
                Ending {
                    reason,
                    message: message.to_owned(),
                    at,
                    packets,
                },
            );
        }
    }

    fn bury(&mut self, id: FaultId, notices: Vec<WarningKind>, ending: Ending) {
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
        self.forget_if_unused(&key);
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
        if !self.kernel.newcomers().is_empty() {
            self.parts.watch.look();
        }
        let spent = |fault: &&Active| {
            let budget = fault.spec.safety.max_packets;
            budget.is_some_and(|budget| acted_on(&self.packets(fault.id)) >= budget)
        };
        let spent: Vec<FaultId> = self.faults.active().filter(spent).map(|fault| fault.id).collect();
        self.end(&spent, Reason::Budget, "its packet budget was spent");
    }

    fn retry(&mut self) {
        for (ids, reason, message) in std::mem::take(&mut self.unfinished) {
            self.end(&ids, reason, &message);
        }
        self.retried = Instant::now();
    }

    /// The target has other places: the same faults, there.
    fn moved(&mut self, key: &TargetKey, resolved: &Arc<Resolved>) {
        let ids = self.faults.on_target(key);
        let mut faults: Vec<Active> = ids
            .iter()
            .filter_map(|id| self.faults.get(*id).cloned())
            .collect();
        let Some(first) = faults.first() else { return };
        let before = (first.spec.target.clone(), Arc::clone(&first.target));
        for fault in &mut faults {
            fault.target = Arc::clone(resolved);
        }
        if self
            .rearm(
                faults,
                "its target has other network namespaces or interfaces now",
            )
            .is_err()
        {
            // Compared with what is armed, the target is still another: it will be reported again.
            self.parts.watch.follow(key, &before.0, &before.1);
        }
    }

    /// A host that some faults name has other addresses.
    fn named(&mut self, host: &Hostname, addresses: &[IpAddr]) {
        let mut faults = Vec::new();
        for id in self.faults.naming(host) {
            let Some(mut fault) = self.faults.get(id).cloned() else {
                continue;
            };
            let known = fault.names.insert(host.clone(), addresses.to_vec());
            if known.is_none_or(|known| known != addresses) {
                faults.push(fault);
            }
        }
        if !faults.is_empty() {
            let why = format!("{host} has {} addresses now", addresses.len());
            // A refusal is reported; the next change of the name tries again.
            let _ = self.rearm(faults, &why);
        }
    }

    fn rearm(&mut self, faults: Vec<Active>, why: &str) -> Result<(), ()> {
        let arms: Vec<Arm> = faults.iter().map(Active::arm).collect();
        let armed = match self.kernel.arm(&arms) {
            Ok(armed) => armed,
            Err(error) => {
                for fault in &faults {
                    let name = &fault.metadata.name;
                    tracing::warn!(fault = name, %error, "{why}, but it could not follow");
                    self.parts.events.publish(
                        EventKind::Warning,
                        Some(name),
                        format!("{why}, but it could not follow: {error}"),
                    );
                }
                return Err(());
            }
        };
        for (mut fault, armed) in faults.into_iter().zip(armed) {
            fault.attachments = armed.attachments;
            add_warnings(&mut fault.warnings, armed.warnings.into_iter().map(Warning::from));
            tracing::info!(fault = fault.metadata.name, "follows: {why}");
            self.parts
                .events
                .publish(EventKind::FaultChanged, Some(&fault.metadata.name), why);
            self.faults.put(fault);
        }
        Ok(())
    }
}

/// Each warning once, whichever room it comes from.
fn add_warnings(known: &mut Vec<Warning>, more: impl IntoIterator<Item = Warning>) {
    for warning in more {
        if !known.contains(&warning) {
            known.push(warning);
        }
    }
}

/// Whether applying this would change nothing.
fn is_same(running: &Active, asked: &Prepared) -> bool {
    *running.spec == asked.fault.spec && running.metadata == asked.fault.metadata
}

/// Wire packets that count against a budget: those that something was done to.
fn acted_on(packets: &Packets) -> u64 {
    let Packets {
        dropped,
        delayed,
        corrupted,
        duplicated,
        reordered,
        reset,
        rejected,
        throttled,
        answered,
        ..
    } = *packets;
    [
        dropped, delayed, corrupted, duplicated, reordered, reset, rejected, throttled, answered,
    ]
    .into_iter()
    .sum()
}

/// `drop on cgroup /shop (egress) for 5m`
fn describe(spec: &FaultSpec) -> String {
    let kinds: Vec<_> = spec.fault.kinds().iter().map(|kind| kind.word()).collect();
    format!(
        "{} on {} ({}) for {}",
        kinds.join(" and "),
        spec.target,
        spec.traffic.direction,
        spec.duration
    )
}

fn draw_seed() -> u64 {
    // The clock takes over on a host so young that it has no randomness yet: a seed need not be secret, only other.
    getrandom::u64().unwrap_or_else(|_| boot_ns())
}

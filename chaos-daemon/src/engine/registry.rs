//! Which faults there are. Pure bookkeeping: no clock, no kernel.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use chaos_spec::api::{Attachment, Counts, FaultView, Packets, Phase, Reason, Status};
use chaos_spec::{FaultSpec, Hostname, Metadata, Warning};
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};

use super::watch::TargetKey;
use crate::datapath::{Arm, Ends, FaultId};
use crate::safety::health::Watching;
use crate::target::Resolved;
use crate::target::names::Watched;

/// Ended faults that are remembered.
pub const ENDED_KEPT: usize = 1000;

/// A fault that acts.
#[derive(Clone)]
pub(super) struct Active {
    pub(super) id: FaultId,
    /// Place in the order of creation, from 1.
    pub(super) order: u32,
    pub(super) metadata: Metadata,
    pub(super) spec: Arc<FaultSpec>,
    pub(super) seed: u64,
    /// CLOCK_BOOTTIME nanoseconds.
    pub(super) deadline: u64,
    pub(super) started_at: Timestamp,
    pub(super) ends_at: Timestamp,
    pub(super) key: TargetKey,
    pub(super) target: Arc<Resolved>,
    /// Addresses of the hosts that the fault names.
    pub(super) names: BTreeMap<Hostname, Vec<IpAddr>>,
    /// Keeps these names watched for as long as the fault is active.
    pub(super) _watched: Option<Arc<Watched>>,
    pub(super) attachments: Vec<Attachment>,
    pub(super) warnings: Vec<Warning>,
    /// Its health checks, taken for as long as the fault is active.
    pub(super) health: Option<Arc<Watching>>,
    /// The checks of the node, shared by all faults.
    pub(super) node: Option<Arc<Watching>>,
}

impl Active {
    /// Its own checks, then those of the node.
    pub(super) fn watches(&self) -> impl Iterator<Item = &Arc<Watching>> {
        self.health.iter().chain(&self.node)
    }
}

impl Active {
    /// How the data path is told of it, and of its end.
    pub(super) fn arm(&self, ends: Ends) -> Arm {
        Arm {
            id: self.id,
            order: self.order,
            spec: Arc::clone(&self.spec),
            name: self.metadata.name.clone(),
            seed: self.seed,
            ends,
            target: Resolved::clone(&self.target),
            addresses: self.names.values().flatten().copied().map(IpNet::from).collect(),
        }
    }

    /// Sets its times, once it acts: `now` is the same instant by CLOCK_BOOTTIME and by the wall clock.
    pub(super) fn set_clock(&mut self, deadline: u64, changed: bool, (boot, wall): (u64, Timestamp)) {
        let nanos = |n: u64| SignedDuration::from_nanos(i64::try_from(n).unwrap_or(i64::MAX));
        self.deadline = deadline;
        let ends_at = wall.saturating_add(nanos(deadline.saturating_sub(boot)));
        self.ends_at = ends_at.unwrap_or(Timestamp::MAX);
        if !changed {
            let began = deadline.saturating_sub(self.spec.duration.as_nanos());
            let started_at = wall.saturating_sub(nanos(boot.saturating_sub(began)));
            self.started_at = started_at.unwrap_or(wall);
        }
    }

    pub(super) fn view(&self, packets: Packets) -> FaultView {
        FaultView {
            metadata: self.metadata.clone(),
            spec: FaultSpec::clone(&self.spec),
            status: Status {
                phase: Phase::Active,
                reason: None,
                message: None,
                started_at: Some(self.started_at),
                ends_at: Some(self.ends_at),
                ended_at: None,
                seed: Some(self.seed),
                packets,
                attachments: self.attachments.clone(),
                warnings: self.warnings.clone(),
                health: self.watches().flat_map(|watch| watch.status()).collect(),
            },
        }
    }
}

/// Why and when a fault ended, for its last view.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub(super) reason: Reason,
    pub(super) message: String,
    pub(super) at: Timestamp,
    pub(super) packets: Packets,
}

/// Active faults, and the last ones that ended. A name is there once: a fault that is applied again takes the
/// place of the one that ended under its name.
#[derive(Default)]
pub(super) struct Registry {
    active: BTreeMap<FaultId, Active>,
    names: HashMap<String, FaultId>,
    deadlines: BTreeSet<(u64, FaultId)>,
    targets: HashMap<TargetKey, BTreeSet<FaultId>>,
    ended: BTreeMap<u64, FaultView>,
    ended_names: HashMap<String, u64>,
    endings: u64,
    reasons: HashMap<Reason, u64>,
}

impl Registry {
    /// Adds a fault, or replaces the active one of the same id.
    pub(super) fn put(&mut self, fault: Active) {
        let name = &fault.metadata.name;
        if let Some(number) = self.ended_names.remove(name) {
            self.ended.remove(&number);
        }
        if let Some(before) = self.active.get(&fault.id) {
            self.deadlines.remove(&(before.deadline, before.id));
            forget_target(&mut self.targets, &before.key, before.id);
        }
        self.targets
            .entry(Arc::clone(&fault.key))
            .or_default()
            .insert(fault.id);
        self.names.insert(name.clone(), fault.id);
        self.deadlines.insert((fault.deadline, fault.id));
        self.active.insert(fault.id, fault);
    }

    /// Moves a fault from the active to the ended ones.
    pub(super) fn end(&mut self, id: FaultId, notices: Vec<Warning>, ending: Ending) -> Option<FaultView> {
        let fault = self.active.remove(&id)?;
        self.names.remove(&fault.metadata.name);
        self.deadlines.remove(&(fault.deadline, id));
        forget_target(&mut self.targets, &fault.key, id);
        let mut view = fault.view(ending.packets);
        for notice in notices {
            if !view.status.warnings.contains(&notice) {
                view.status.warnings.push(notice);
            }
        }
        view.status.phase = Phase::Ended;
        view.status.reason = Some(ending.reason);
        view.status.message = Some(ending.message);
        view.status.ended_at = Some(ending.at);
        self.endings += 1;
        *self.reasons.entry(ending.reason).or_default() += 1;
        self.ended.insert(self.endings, view.clone());
        self.ended_names.insert(fault.metadata.name, self.endings);
        if self.ended.len() > ENDED_KEPT
            && let Some((_, oldest)) = self.ended.pop_first()
        {
            self.ended_names.remove(&oldest.metadata.name);
        }
        Some(view)
    }

    pub(super) fn active(&self) -> impl Iterator<Item = &Active> {
        self.active.values()
    }

    pub(super) fn active_ids(&self) -> Vec<FaultId> {
        self.active.keys().copied().collect()
    }

    pub(super) fn get(&self, id: FaultId) -> Option<&Active> {
        self.active.get(&id)
    }

    pub(super) fn named(&self, name: &str) -> Option<&Active> {
        self.names.get(name).and_then(|id| self.active.get(id))
    }

    pub(super) fn ended_named(&self, name: &str) -> Option<&FaultView> {
        self.ended_names
            .get(name)
            .and_then(|number| self.ended.get(number))
    }

    /// Active faults on one target.
    pub(super) fn on_target(&self, key: &TargetKey) -> Vec<FaultId> {
        self.targets
            .get(key)
            .map(|ids| ids.iter().copied().collect())
            .unwrap_or_default()
    }

    /// Active faults that name a host.
    pub(super) fn naming(&self, host: &Hostname) -> Vec<FaultId> {
        self.active
            .values()
            .filter(|fault| fault.names.contains_key(host))
            .map(|fault| fault.id)
            .collect()
    }

    /// Oldest ending first.
    pub(super) fn ended(&self) -> impl Iterator<Item = &FaultView> {
        self.ended.values()
    }

    /// How many have ended, by reason.
    pub(super) fn reasons(&self) -> Vec<(Reason, u64)> {
        self.reasons
            .iter()
            .map(|(reason, count)| (*reason, *count))
            .collect()
    }

    /// Takes a fault's deadline off the list: its end is under way.
    pub(super) fn forget_deadline(&mut self, id: FaultId) {
        if let Some(fault) = self.active.get(&id) {
            self.deadlines.remove(&(fault.deadline, id));
        }
    }

    /// The next deadline, CLOCK_BOOTTIME nanoseconds.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Faults whose deadline is over at `now`.
    pub(super) fn overdue(&self, now: u64) -> Vec<FaultId> {
        self.deadlines
            .iter()
            .take_while(|(deadline, _)| *deadline <= now)
            .map(|(_, id)| *id)
            .collect()
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            pending: 0,
            active: self.active.len() as u64,
            ended: self.ended.len() as u64,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.active.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }
}

fn forget_target(targets: &mut HashMap<TargetKey, BTreeSet<FaultId>>, key: &TargetKey, id: FaultId) {
    if let Some(ids) = targets.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            targets.remove(key);
        }
    }
}

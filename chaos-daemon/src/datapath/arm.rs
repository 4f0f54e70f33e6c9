//! Arming, changing and ending faults.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
};

use chaos_ebpf_common::{
    abi::{AddressKey, Hook, Rule, flags, trie_bits},
    loss::beginning,
};
use chaos_spec::TargetKind;

use super::{
    Arm, Datapath, DatapathError, FaultId, applications, descriptors,
    index::{Name, Who},
    line::LineCounters,
    lines::Refit,
    preview, waits,
    ways::Way,
};
use crate::{
    plan::{self, Context, Draft, Filing, LinePlan, TriePrefix},
    safety::clock::boot_ns,
    sys::processors,
    target::{Identity, Interface, Place},
};

/// A fault that is armed.
pub(super) struct Armed {
    /// Index into `COUNTERS` and `SPENT`.
    pub slot: u32,
    pub order: u32,
    pub name: String,
    pub arm: Arm,
    /// CLOCK_BOOTTIME nanoseconds; 0 while it does not act yet.
    pub deadline: u64,
    identity: Identity,
    pub places: Vec<ArmedPlace>,
    pub rules: Vec<ArmedRule>,
    tagged: Option<PathBuf>,
    application: Option<applications::Place>,
    wait: Option<waits::Place>,
    /// What its lines have counted.
    pub lined: Arc<LineCounters>,
    /// What the lines of its namespaces had lost before it began.
    pub lost_before: u64,
    /// Its lines know that its rules have ended.
    pub off_line: bool,
    /// Senders may be held back by it.
    pub holds_back: bool,
    /// Its rules have been ended.
    quiet: bool,
    /// Whether its packets take another way than they would by themselves.
    pub refit: Refit,
}

/// One hook of one namespace.
pub(super) struct ArmedPlace {
    pub space: u32,
    pub hook: Hook,
    pub interfaces: Vec<Interface>,
    /// Index into `STATES`.
    state: u32,
    /// How its packets travel that the hook cannot treat as they are.
    pub way: Way,
    pub label: String,
}

impl Armed {
    /// Namespaces whose lines, where there are any, have to know of it: an older fault of the same packets may be there.
    pub fn spaces(&self) -> HashSet<u32> {
        self.places.iter().map(|place| place.space).collect()
    }

    /// Whether its packets would take another way, if the one they take did not suit them.
    pub fn can_refit(&self) -> bool {
        self.rules
            .iter()
            .any(|armed| armed.rule.flags & flags::REFIT != 0)
    }

    /// Namespaces whose lines its packets go by.
    pub fn lined_spaces(&self) -> HashSet<u32> {
        let lined = self
            .places
            .iter()
            .filter(|place| place.way.thread || place.way.line.is_some());
        lined.map(|place| place.space).collect()
    }
}

pub(super) struct ArmedRule {
    pub slot: u32,
    pub name: Name,
    filing: Arc<Filing>,
    pub rule: Rule,
    trie: Arc<[TriePrefix]>,
    pub line: Option<Arc<LinePlan>>,
}

impl Datapath {
    /// Makes all of these act, or none, at one instant. An id that is armed is changed in place: its counters
    /// go on, and no packet meets half of the change.
    ///
    /// # Errors
    /// Nothing has changed.
    pub fn arm(&mut self, arms: &[Arm]) -> Result<Vec<super::Armed>, DatapathError> {
        let armed = self.arm_all(arms);
        self.watch_exit();
        self.close_lines();
        armed
    }

    fn arm_all(&mut self, arms: &[Arm]) -> Result<Vec<super::Armed>, DatapathError> {
        let mut staged: Vec<(FaultId, Armed)> = Vec::with_capacity(arms.len());
        for arm in arms {
            match self.stage(arm) {
                Ok(record) => staged.push((arm.id, record)),
                Err(error) => {
                    self.unstage(staged);
                    return Err(error);
                }
            }
        }
        let next = self.epoch + 1;
        let mut replaced: Vec<Armed> = staged
            .iter()
            .filter_map(|(id, _)| self.faults.remove(id))
            .collect();
        let by_link = replaced.is_empty() && self.begins_with_its_link(&staged);
        let attached = if by_link { Ok(()) } else { self.attach_due(&staged) };
        let ready = attached
            .and_then(|()| descriptors::leave_some())
            .and_then(|()| self.start_clocks(&mut staged, boot_ns()))
            .and_then(|()| self.end_rules(&replaced, next));
        if let Err(error) = ready {
            // The old rules go on: their end is an epoch that will not come before it is written anew.
            for record in replaced {
                self.faults.insert(record.arm.id, record);
            }
            self.unstage(staged);
            return Err(error);
        }
        self.settle_lines(&staged);
        self.end_lined(&mut replaced, &staged);
        self.publish(next);
        if by_link && let Err(error) = self.begin_with_link(&mut staged) {
            // Nothing has met the rules, so nothing has changed.
            self.unstage(staged);
            return Err(error);
        }
        for (id, record) in &staged {
            self.maps.brake.hold(*id, &record.rules);
        }
        self.let_through(&mut replaced);
        let staged: HashMap<FaultId, Armed> = staged.into_iter().collect();
        for mut record in replaced {
            // States that the new version went on with are not given back.
            let kept = staged.get(&record.arm.id);
            let states: Vec<u32> = kept
                .map(|new| new.places.iter().map(|p| p.state).collect())
                .unwrap_or_default();
            for place in &mut record.places {
                if states.contains(&place.state) {
                    place.state = u32::MAX;
                }
            }
            self.retire(record, false);
        }
        let answers = arms.iter().filter_map(|arm| staged.get(&arm.id));
        let answers = answers.map(|record| preview::answer(self, record)).collect();
        self.faults.extend(staged);
        Ok(answers)
    }

    /// Takes back what was staged.
    fn unstage(&mut self, staged: Vec<(FaultId, Armed)>) {
        let (ids, mut records): (Vec<FaultId>, Vec<Armed>) = staged.into_iter().unzip();
        self.end_lined(&mut records, &[]);
        for (id, record) in ids.into_iter().zip(records).rev() {
            self.retire(record, !self.faults.contains_key(&id));
        }
    }

    /// Ends all of these at one instant. Their counters stand still from then on and can be read until
    /// [`Datapath::disarm`] takes them away.
    ///
    /// # Errors
    /// The kernel could not be told; they act as before.
    pub fn quiet(&mut self, ids: &[FaultId]) -> Result<(), DatapathError> {
        let mut records: Vec<Armed> = ids.iter().filter_map(|id| self.faults.remove(id)).collect();
        let next = self.epoch + 1;
        let quiet = self.end_rules(&records, next);
        if quiet.is_ok() {
            self.end_lined(&mut records, &[]);
            self.publish(next);
            self.let_through(&mut records);
            // Those that had begun before may still count.
            processors::let_programs_end();
        }
        for mut record in records {
            record.quiet |= quiet.is_ok();
            self.faults.insert(record.arm.id, record);
        }
        quiet
    }

    /// Ends all of these, then takes away what nobody needs.
    ///
    /// # Errors
    /// The kernel could not be told; they are armed as before.
    pub fn disarm(&mut self, ids: &[FaultId]) -> Result<(), DatapathError> {
        let loud = |id: &FaultId| self.faults.get(id).is_some_and(|record| !record.quiet);
        if ids.iter().any(loud) {
            self.quiet(ids)?;
        }
        for id in ids {
            if let Some(record) = self.faults.remove(id) {
                self.retire(record, true);
            }
        }
        self.close_lines();
        Ok(())
    }

    /// Writes deadlines into rules that are about to act, and tells their lines.
    pub(super) fn start_clocks(
        &mut self,
        staged: &mut [(FaultId, Armed)],
        now: u64,
    ) -> Result<(), DatapathError> {
        for (_, record) in staged {
            record.deadline = record.arm.ends.at(now);
            for armed in &mut record.rules {
                armed.rule.deadline = record.deadline;
                self.maps
                    .rules
                    .set(armed.slot, armed.rule, 0)
                    .map_err(|e| DatapathError::map("RULES", e))?;
            }
            self.put_lined(record);
        }
        Ok(())
    }

    /// Lets rules end with an epoch that is not published yet.
    fn end_rules(&mut self, records: &[Armed], until: u64) -> Result<(), DatapathError> {
        for armed in records.iter().flat_map(|record| &record.rules) {
            // The other bytes stay the same, so a program that reads meanwhile reads one of the two ends.
            let rule = Rule {
                until_epoch: until,
                ..armed.rule
            };
            self.maps
                .rules
                .set(armed.slot, rule, 0)
                .map_err(|e| DatapathError::map("RULES", e))?;
        }
        Ok(())
    }

    fn stage(&mut self, arm: &Arm) -> Result<Armed, DatapathError> {
        let context = Context {
            seed: arm.seed,
            addresses: &arm.addresses,
        };
        let mut drafts = plan::drafts(&arm.spec, &context)?;
        self.fit(arm, &mut drafts)?;
        let slot = match self.faults.get(&arm.id) {
            Some(old) => old.slot,
            None => self.new_fault_slot()?,
        };
        let mut record = Armed {
            slot,
            order: arm.order,
            name: arm.name.clone(),
            identity: arm.target.identity.clone(),
            arm: arm.clone(),
            deadline: 0,
            places: Vec::new(),
            rules: Vec::new(),
            tagged: None,
            application: None,
            wait: None,
            lined: self
                .faults
                .get(&arm.id)
                .map(|old| Arc::clone(&old.lined))
                .unwrap_or_default(),
            lost_before: 0,
            off_line: false,
            holds_back: false,
            quiet: false,
            refit: self.faults.get(&arm.id).map(|old| old.refit).unwrap_or_default(),
        };
        match self.stage_into(&mut record, &mut drafts) {
            Ok(()) => {
                // What a former version of it has told of goes on.
                let known = self.line_lost(arm.id);
                record.lost_before = self.lost_around(&record).saturating_sub(known);
                Ok(record)
            }
            Err(error) => {
                let new = !self.faults.contains_key(&arm.id);
                self.retire(record, new);
                Err(error)
            }
        }
    }

    fn stage_into(&mut self, record: &mut Armed, drafts: &mut [Draft]) -> Result<(), DatapathError> {
        if let Some(application) = drafts.iter().find_map(|draft| draft.application.clone()) {
            let place = self.put_application(&application)?;
            record.application = Some(place);
            for draft in drafts.iter_mut().filter(|draft| draft.application.is_some()) {
                draft.rule.application = place.index();
            }
        }
        record.wait = self.put_wait(drafts)?;
        let arm = record.arm.clone();
        let arriving = arm.spec.traffic.direction.has_ingress();
        record.tagged = self
            .tags
            .hold(&self.object, &mut self.maps, &arm.target.identity, arriving)?;
        for place in &arm.target.places {
            if place.interfaces.is_empty() {
                continue;
            }
            let space = self.space_for(&place.netns)?;
            if let Err(error) = self.stage_place(record, drafts, place, space) {
                // It may be there for this place alone, which is in no record yet.
                self.close_idle_space(space);
                return Err(error);
            }
        }
        Ok(())
    }

    fn stage_place(
        &mut self,
        record: &mut Armed,
        drafts: &[Draft],
        place: &Place,
        space: u32,
    ) -> Result<(), DatapathError> {
        let direction = record.arm.spec.traffic.direction;
        if direction.has_egress() {
            self.stage_hook(record, drafts, place, space, Hook::Egress)?;
        }
        if direction.has_ingress() {
            let arm = record.arm.clone();
            let hook = self.arriving_hook(&arm, place, space);
            if hook == Hook::Xdp
                && let Err(error) = self.stage_hook(record, drafts, place, space, hook)
            {
                tracing::debug!(%error, fault = arm.name, "no native XDP here; tc takes it");
                self.stage_hook(record, drafts, place, space, Hook::Ingress)?;
            } else if hook == Hook::Ingress {
                self.stage_hook(record, drafts, place, space, hook)?;
            }
        }
        Ok(())
    }

    fn stage_hook(
        &mut self,
        record: &mut Armed,
        drafts: &[Draft],
        place: &Place,
        space: u32,
        hook: Hook,
    ) -> Result<(), DatapathError> {
        let ordinal = record.places.len() as u64;
        let Some(open) = self.spaces.get_mut(&space) else {
            return Err(DatapathError::Unknown(u64::from(space)));
        };
        open.hold(
            &self.object,
            &place.interfaces,
            hook,
            self.capabilities.tc,
            &mut self.journal,
        )?;
        if let Err(error) = self.tell_covered(space, &place.interfaces) {
            if let Some(open) = self.spaces.get_mut(&space) {
                open.let_go(&place.interfaces, hook, &mut self.journal);
            }
            return Err(error);
        }
        let old = self.faults.get(&record.arm.id);
        let inherited = old
            .filter(|old| old.arm.seed == record.arm.seed && old.arm.spec.fault == record.arm.spec.fault)
            .and_then(|old| old.places.iter().find(|p| p.space == space && p.hook == hook))
            .map(|p| p.state);
        let state = match inherited {
            Some(state) => Ok(state),
            None => {
                let rule = drafts.first().map(|draft| draft.rule).unwrap_or_default();
                let chain = beginning(&rule.drop, rule.seed, ordinal);
                self.new_state(ordinal, chain)
            }
        };
        let state = match state {
            Ok(state) => state,
            Err(error) => {
                if let Some(open) = self.spaces.get_mut(&space) {
                    open.let_go(&place.interfaces, hook, &mut self.journal);
                }
                return Err(error);
            }
        };
        let way = match self.hold_way(&record.arm, drafts, space, &place.interfaces, hook) {
            Ok(way) => way,
            Err(error) => {
                if inherited.is_none() {
                    self.free_states.give(state);
                }
                if let Some(open) = self.spaces.get_mut(&space) {
                    open.let_go(&place.interfaces, hook, &mut self.journal);
                }
                return Err(error);
            }
        };
        record.places.push(ArmedPlace {
            space,
            hook,
            interfaces: place.interfaces.clone(),
            state,
            way,
            label: place.netns.label.clone(),
        });
        let who = match record.identity {
            Identity::Whole => Who::Everybody,
            Identity::Cgroup { id, level, .. } => Who::Cgroup { id, level },
            Identity::Process { pid } => Who::Process(pid),
        };
        let name = Name {
            netns: space,
            hook,
            who,
        };
        let devices: Vec<u32> = if names_devices(&record.arm) {
            place.interfaces.iter().map(|interface| interface.index).collect()
        } else {
            vec![0]
        };
        for draft in drafts.iter().filter(|draft| draft.holds_at(hook)) {
            for ifindex in &devices {
                let rule = Rule {
                    from_epoch: self.epoch + 1,
                    order: record.order,
                    fault: record.slot,
                    id: record.arm.id.0,
                    state,
                    ifindex: *ifindex,
                    unguard: self.guards.lifted(&record.arm.spec.safety.unguard),
                    ..draft.rule_at(hook, way.cable)
                };
                let armed = self.stage_rule(name, rule, draft)?;
                record.rules.push(armed);
            }
        }
        Ok(())
    }

    fn stage_rule(&mut self, name: Name, mut rule: Rule, draft: &Draft) -> Result<ArmedRule, DatapathError> {
        let slot = self.free_rules.take()?;
        if !draft.trie.is_empty() {
            rule.address_set = self.free_sets.take()?;
        }
        let armed = ArmedRule {
            slot,
            name,
            filing: Arc::clone(&draft.filing),
            rule,
            trie: Arc::clone(&draft.trie),
            line: draft.line.clone(),
        };
        let staged = self
            .write_trie(&armed)
            .and_then(|()| {
                self.maps
                    .rules
                    .set(slot, rule, 0)
                    .map_err(|e| DatapathError::map("RULES", e))
            })
            .and_then(|()| self.index.file(&mut self.maps, name, &draft.filing, slot));
        if let Err(error) = staged {
            self.free_rule(&armed);
            return Err(error);
        }
        Ok(armed)
    }

    fn write_trie(&mut self, armed: &ArmedRule) -> Result<(), DatapathError> {
        for prefix in armed.trie.iter() {
            let key = trie_key(armed.rule.address_set, prefix);
            self.maps
                .addresses
                .insert(&key, u32::from(prefix.includes), 0)
                .map_err(|e| DatapathError::map("ADDRS", e))?;
        }
        Ok(())
    }

    fn free_rule(&mut self, armed: &ArmedRule) {
        for prefix in armed.trie.iter() {
            // Absent when staging stopped half-way.
            let _ = self
                .maps
                .addresses
                .remove(&trie_key(armed.rule.address_set, prefix));
        }
        if armed.rule.address_set != 0 {
            self.free_sets.give(armed.rule.address_set);
        }
        self.free_rules.give(armed.slot);
    }

    /// Takes away everything of a version of a fault; with `whole`, its counters, too.
    fn retire(&mut self, mut record: Armed, whole: bool) {
        if whole {
            self.maps.brake.let_go(record.arm.id);
        }
        for armed in &record.rules {
            self.index
                .unfile(&mut self.maps, armed.name, &armed.filing, armed.slot);
            self.free_rule(armed);
        }
        self.end_lined(std::slice::from_mut(&mut record), &[]);
        self.let_through(std::slice::from_mut(&mut record));
        for place in &record.places {
            self.let_go_way(place);
            if place.state != u32::MAX && !self.state_in_use(&record, place) {
                self.free_states.give(place.state);
            }
            if let Some(space) = self.spaces.get_mut(&place.space) {
                space.let_go(&place.interfaces, place.hook, &mut self.journal);
            }
        }
        for place in &record.places {
            self.close_idle_space(place.space);
        }
        if let Some(folder) = &record.tagged {
            self.tags.let_go(folder);
        }
        if let Some(place) = record.application {
            self.free_application(place);
        }
        if let Some(place) = record.wait {
            self.free_wait(place);
        }
        if whole {
            self.free_faults.give(record.slot);
            if record.arm.spec.safety.max_flows.is_some() {
                self.maps.ledger.forget(record.arm.id);
            }
        }
    }

    /// A version that failed while staging may share states with the version that goes on.
    fn state_in_use(&self, record: &Armed, place: &ArmedPlace) -> bool {
        self.faults
            .get(&record.arm.id)
            .is_some_and(|current| current.places.iter().any(|p| p.state == place.state))
    }
}

/// Whether the fault names its devices. If not, rules hold for every device but the loopback.
fn names_devices(arm: &Arm) -> bool {
    !arm.spec.target.interfaces.is_empty() || matches!(arm.spec.target.kind, TargetKind::Interface(_))
}

fn trie_key(set: u32, prefix: &TriePrefix) -> aya::maps::lpm_trie::Key<AddressKey> {
    aya::maps::lpm_trie::Key::new(trie_bits(prefix.bits), AddressKey::new(set, prefix.network))
}

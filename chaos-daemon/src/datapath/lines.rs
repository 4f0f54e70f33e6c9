//! Faults and the lines of their namespaces.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use chaos_ebpf_common::{
    abi::{Hook, Rule, flags, stat},
    loss::loses_all,
};

use super::{
    Arm, Datapath, DatapathError, FaultId,
    arm::{Armed, ArmedRule},
    closing, clsact,
    line::{Ended, Line, LineRule, Receipt},
    resume::Resume,
    space::TcMode,
};
use crate::{
    plan::{BandwidthPlan, Draft},
    target::{Interface, Place},
};

/// Whether a fault that is hit by chance goes by the user line because super-packets did not suit the way it was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Refit {
    /// It would, if it met such.
    #[default]
    Possible,
    /// It does, or will when it is armed the next time.
    Asked,
    /// It could not, and stays where it is.
    Refused,
}

impl Refit {
    /// After it has met such packets.
    fn next(self) -> Self {
        match self {
            Self::Possible => Self::Asked,
            Self::Asked | Self::Refused => Self::Refused,
        }
    }
}

impl Datapath {
    /// Fits drafts to what lines can be had: a fault that needs one is refused where there is none, one that would
    /// only be more exact does without.
    pub(super) fn fit(&self, arm: &Arm, drafts: &mut [Draft]) -> Result<(), DatapathError> {
        self.fit_chances(arm, drafts);
        let no_waits = self.fit_to_kernel(arm, drafts);
        // What comes back to a loopback is routed anew, and 127.0.0.0/8 is then taken for a forgery
        // (net/ipv4/route.c, `ip_route_input_slow`).
        let looped = arm
            .target
            .places
            .iter()
            .flat_map(|place| &place.interfaces)
            .any(|i| i.loopback);
        let loopback =
            looped.then_some("packets of a loopback cannot come back from a line; name another interface");
        let why = match (self.capabilities.no_line, no_waits) {
            // Asked for the kernel line alone, one wants to know what it lacks.
            (Some(forced), Some(why)) if self.capabilities.kernel_only => {
                Some(format!("{forced}, and {why}"))
            }
            (no_line, _) => no_line.or(loopback).map(str::to_owned),
        };
        let Some(why) = why else {
            return Ok(());
        };
        for draft in drafts.iter_mut().filter(|draft| !draft.waits()) {
            if draft.rule.flags & flags::LINE != 0 {
                return Err(DatapathError::Unsupported {
                    what: "a fault that makes packets wait, or leaves their checksums wrong,".to_owned(),
                    why,
                });
            }
            draft.rule.flags &= !(flags::LINE_BULK | flags::REFIT);
            draft.line = None;
        }
        Ok(())
    }

    /// Chooses the way of what is hit by chance, and by wire packets.
    fn fit_chances(&self, arm: &Arm, drafts: &mut [Draft]) {
        let mut exact = drafts
            .iter_mut()
            .filter(|draft| draft.rule.flags & flags::LINE_BULK != 0)
            .peekable();
        if exact.peek().is_none() {
            return;
        }
        let refit = self
            .faults
            .get(&arm.id)
            .map_or(Refit::default(), |record| record.refit);
        if refit == Refit::Asked {
            exact.for_each(|draft| draft.rule.flags |= flags::LINE);
            return;
        }
        let cuts = self.cuts(arm);
        let can = refit == Refit::Possible && self.capabilities.no_line.is_none();
        for draft in exact {
            if cuts {
                draft.rule.flags |= flags::CUT;
            }
            // What loses all loses whatever a packet stands for.
            if can && !loses_all(&draft.rule) {
                draft.rule.flags |= flags::REFIT;
            }
        }
    }

    /// Faults that met super-packets which their way does not suit, since this was last asked. Armed again, they take
    /// another.
    pub fn unfit(&mut self) -> Vec<FaultId> {
        let met = self
            .maps
            .stats
            .get(&stat::UNFIT, 0)
            .map_or(0, |cpus| cpus.iter().sum());
        if std::mem::replace(&mut self.unfit_met, met) == met {
            return Vec::new();
        }
        let counters = &self.maps.counters;
        let is_unfit = |record: &&mut Armed| {
            record.can_refit()
                && counters
                    .get(&record.slot, 0)
                    .is_ok_and(|cpus| cpus.iter().any(|cpu| cpu.unfit > 0))
        };
        let records = self.faults.values_mut().filter(is_unfit);
        records
            .map(|record| {
                record.refit = record.refit.next();
                record.arm.id
            })
            .collect()
    }

    /// Whether the hook cuts super-packets of this fault that leave.
    fn cuts(&self, arm: &Arm) -> bool {
        if self.capabilities.no_cuts.is_some() {
            return false;
        }
        if let Some(cut) = self.is_cut(arm) {
            return cut;
        }
        // The choice is open, and the user line keeps the order.
        let open = self.capabilities.no_line.is_none() && arm.spec.traffic.direction.has_egress();
        let paced = |place: &Place| clsact::pace(&place.netns, &place.interfaces);
        !(open && arm.target.places.iter().any(paced))
    }

    /// Whether it is so already: a fault that is changed where it is keeps its line, and nobody's order.
    fn is_cut(&self, arm: &Arm) -> Option<bool> {
        let before = self.faults.get(&arm.id)?;
        let same = before.arm.target.places == arm.target.places
            && before.arm.spec.traffic.direction == arm.spec.traffic.direction;
        // Only of what leaves there was a choice.
        let leaving = |armed: &&ArmedRule| armed.name.hook == Hook::Egress;
        let chosen = |rule: Rule| rule.flags & (flags::CUT | flags::LINE_BULK) != 0;
        let mut rules = before.rules.iter().filter(leaving).map(|armed| armed.rule);
        let rule = rules.find(|rule| same && chosen(*rule))?;
        Some(rule.flags & flags::CUT != 0)
    }

    /// Opens the lines of these devices for a fault at this hook, or counts one more user.
    pub(super) fn hold_lines(
        &mut self,
        space: u32,
        interfaces: &[Interface],
        hook: Hook,
    ) -> Result<(), DatapathError> {
        let Some(open) = self.spaces.get_mut(&space) else {
            return Err(DatapathError::Unknown(u64::from(space)));
        };
        let line = match &mut open.line {
            Some(line) => line,
            none => {
                let line = none.insert(Line::start(
                    open.netns.clone(),
                    &self.maps,
                    self.lost.of_another(),
                )?);
                // What is cut at the hook otherwise comes here behind rules that make packets wait.
                let acting = self.faults.values().filter(|record| !record.off_line);
                line.put(acting.flat_map(|record| line_rules(record, space)).collect());
                line
            }
        };
        let mut back = match (hook, self.capabilities.tc) {
            (Hook::Ingress, TcMode::Tcx) => Some(Resume::Link(&open.programs.back)),
            (Hook::Ingress, TcMode::Clsact) => Some(Resume::Filter(Box::new(
                self.object.classifier(&open.programs.back)?,
            ))),
            _ => None,
        };
        for (done, interface) in interfaces.iter().enumerate() {
            let held = line.hold(&open.netns, space, interface, back.as_mut(), &mut self.maps);
            if let Err(error) = held {
                self.let_go_lines(space, &interfaces[..done]);
                return Err(error);
            }
        }
        let open_devices = line.len();
        let told = self.index.set_lines(&mut self.maps, space, open_devices);
        if told.is_err() {
            self.let_go_lines(space, interfaces);
        }
        told
    }

    /// Counts one user less. [`Datapath::close_lines`] has to follow.
    pub(super) fn let_go_lines(&mut self, space: u32, interfaces: &[Interface]) {
        let Some(line) = self.spaces.get_mut(&space).and_then(|open| open.line.as_mut()) else {
            return;
        };
        let mut closing: Vec<_> = interfaces
            .iter()
            .filter_map(|i| line.let_go(space, i.index))
            .collect();
        closing.extend(line.close_idle_gate(space));
        self.closing
            .extend(closing.into_iter().map(|closing| (space, closing)));
    }

    /// Begins to take away the lines that nobody uses any more; see [`Datapath::leaving`].
    pub(super) fn close_lines(&mut self) {
        self.forget_near_ends();
        let (spaces, closing): (HashSet<u32>, Vec<_>) = std::mem::take(&mut self.closing).into_iter().unzip();
        self.leaving = closing::close(closing, &mut self.maps);
        for space in spaces {
            let left = self.spaces.get(&space).and_then(|open| open.line.as_ref());
            let left = left.map_or(0, Line::len);
            if let Err(error) = self.index.set_lines(&mut self.maps, space, left) {
                tracing::debug!(%error, "a namespace could not be told of its lines");
            }
        }
    }

    /// Tells lines of the rules that a fault brings.
    pub(super) fn put_lined(&mut self, record: &mut Armed) {
        for space in record.spaces() {
            let Some(open) = self.spaces.get_mut(&space) else {
                continue;
            };
            let Some(line) = &mut open.line else { continue };
            for (state, plan) in lined(record, space).filter_map(held_back) {
                if let Err(error) = line.hold_back(&open.netns, space, state, &plan, &mut self.maps) {
                    tracing::warn!(%error, fault = record.name, "no backpressure: the line alone limits");
                }
            }
            line.put(line_rules(record, space).collect());
        }
        record.holds_back = true;
    }

    /// Waits until the lines act by all rules that they were told of.
    pub(super) fn settle_lines(&self, staged: &[(FaultId, Armed)]) {
        let spaces: HashSet<u32> = staged.iter().flat_map(|(_, record)| record.spaces()).collect();
        let lines = spaces
            .iter()
            .filter_map(|space| self.spaces.get(space)?.line.as_ref());
        // All are asked before any is waited for.
        let asked: Vec<Receipt> = lines.map(Line::settle).collect();
        Receipt::wait_for(asked);
    }

    /// Lets the lines know of rules that end now, and of those that come after them.
    pub(super) fn end_lined(&self, ending: &mut [Armed], staged: &[(FaultId, Armed)]) {
        let successors: HashMap<FaultId, &Armed> = staged.iter().map(|(id, record)| (*id, record)).collect();
        let mut ended: HashMap<u32, Vec<Ended>> = HashMap::new();
        for record in ending.iter().filter(|record| !record.off_line) {
            for space in record.spaces() {
                let next = successors.get(&record.arm.id);
                ended.entry(space).or_default().push(Ended {
                    slots: lined_slots(record, space).collect(),
                    successors: next
                        .map(|next| lined_slots(next, space).collect())
                        .unwrap_or_default(),
                });
            }
        }
        let asked: Vec<Receipt> = ended
            .into_iter()
            .filter_map(|(space, ended)| Some(self.spaces.get(&space)?.line.as_ref()?.end(ended)))
            .collect();
        Receipt::wait_for(asked);
        for record in ending {
            record.off_line = true;
        }
    }

    /// Lets senders go on that these faults, which have ended, still hold back. Not sooner, or what they send next would
    /// meet the last packets in the line.
    pub(super) fn let_through(&mut self, ended: &mut [Armed]) {
        for record in ended.iter_mut().filter(|record| record.holds_back) {
            for rule in &record.rules {
                let space = self.spaces.get_mut(&rule.name.netns);
                if let Some((state, _)) = held_back(rule)
                    && let Some(line) = space.and_then(|open| open.line.as_mut())
                {
                    line.let_through(state);
                }
            }
            record.holds_back = false;
        }
    }
}

/// The rule state whose senders are held back, and how.
fn held_back(armed: &ArmedRule) -> Option<(u32, BandwidthPlan)> {
    let plan = armed.line.as_ref()?.bandwidth?;
    (armed.name.hook == Hook::Egress).then_some((armed.rule.state, plan))
}

/// The rules that a fault has on the line of a namespace.
fn lined(record: &Armed, space: u32) -> impl Iterator<Item = &ArmedRule> {
    record.rules.iter().filter(move |armed| {
        armed.name.netns == space && armed.name.hook != Hook::Xdp && armed.line.is_some()
    })
}

/// The same, as the line knows them.
fn line_rules(record: &Armed, space: u32) -> impl Iterator<Item = (u32, LineRule)> {
    lined(record, space).filter_map(|armed| {
        let rule = LineRule {
            rule: armed.rule,
            plan: Arc::clone(armed.line.as_ref()?),
            counters: Arc::clone(&record.lined),
        };
        Some((armed.slot, rule))
    })
}

fn lined_slots(record: &Armed, space: u32) -> impl Iterator<Item = u32> {
    lined(record, space).map(|armed| armed.slot)
}

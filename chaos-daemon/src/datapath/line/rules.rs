//! What the line does to a packet: the faults of its rules, in order, by the same arithmetic as at the hook.

use std::sync::Arc;

use chaos_ebpf_common::{
    abi::{Rule, fault, loss},
    bandwidth::{self, Passes},
    delay,
    flow::Flow,
    frame::Packet,
    loss::step,
    matching::{Subject, matches},
    reorder,
    rng::{Stream, hit},
};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    counters::{LineCounters, add},
    frame,
};
use crate::{
    plan::{self, BandwidthPlan, DelayPlan, LinePlan},
    sys::shared::Words,
};

/// A rule that is carried out here.
#[derive(Clone, Debug)]
pub struct LineRule {
    pub rule: Rule,
    pub plan: Arc<LinePlan>,
    pub counters: Arc<LineCounters>,
}

/// Rules that end together.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Their slots.
    pub slots: Vec<u32>,
    /// Slots of the version of their fault that comes after them.
    pub successors: Arc<[u32]>,
}

/// What a place of a fault remembers between packets, beside what it shares with the hook.
#[derive(Debug, Default)]
struct Memory {
    /// The last normal number of the jitter.
    jitter: i64,
    /// Packets that waited since the last that overtook.
    waited: u32,
    /// When the last byte so far has left the bottleneck.
    busy_until: u64,
}

/// All rules of a line.
#[derive(Debug)]
pub struct Rules {
    states: Arc<Words>,
    spent: Arc<Words>,
    by_slot: FxHashMap<u32, Arc<LineRule>>,
    /// Slots of the past, and those of the version that came after them.
    successors: FxHashMap<u32, Arc<[u32]>>,
    memories: FxHashMap<u32, Memory>,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Lost, by a fault.
    Lost,
    /// Goes on.
    Goes {
        /// CLOCK_MONOTONIC nanoseconds.
        due: u64,
        /// A second time, too.
        twice: bool,
        /// It must not overtake packets of its flow, nor be overtaken.
        in_order: bool,
    },
}

/// A packet on the line.
pub struct Subjected<'a> {
    pub bytes: &'a mut Vec<u8>,
    pub packet: Option<Packet>,
    pub flow: Flow,
    /// Its device.
    pub ifindex: u32,
    /// Wire packets it stands for.
    pub wire: u32,
    /// Whether its sender is held back while it waits.
    pub held_back: bool,
    /// When it passed the hook.
    pub time: u64,
    /// CLOCK_BOOTTIME nanoseconds, now.
    pub boot: u64,
}

impl Rules {
    pub fn new(states: Arc<Words>, spent: Arc<Words>) -> Self {
        Self {
            states,
            spent,
            by_slot: FxHashMap::default(),
            successors: FxHashMap::default(),
            memories: FxHashMap::default(),
        }
    }

    pub fn put(&mut self, slot: u32, rule: LineRule) {
        self.successors.remove(&slot);
        self.by_slot.insert(slot, Arc::new(rule));
    }

    /// Ends rules; packets that still come for them meet those of their successors that name them.
    pub fn end(&mut self, ended: &[Ended]) {
        for Ended { slots, successors } in ended {
            for slot in slots {
                self.by_slot.remove(slot);
                self.successors.insert(*slot, Arc::clone(successors));
            }
        }
        // A version that came after may go on with the same memory.
        let used: FxHashSet<u32> = self.by_slot.values().map(|line| line.rule.state).collect();
        self.memories.retain(|state, _| used.contains(state));
    }

    /// Whether some rule has to see each wire packet by itself.
    pub fn need_wire_packets(&self) -> bool {
        self.by_slot
            .values()
            .any(|rule| rule.plan.needs_wire_packets(&rule.rule))
    }

    /// The shortest time, in nanoseconds, that any packet of these rules waits.
    pub fn shortest_wait(&self) -> u64 {
        let shortest = |rule: &LineRule| match rule.plan.delay {
            Some(plan) if rule.plan.reorder.is_none() => plan
                .delay
                .latency
                .saturating_sub(plan.delay.jitter.saturating_mul(4)),
            _ => 0,
        };
        self.by_slot
            .values()
            .map(|rule| shortest(rule))
            .min()
            .unwrap_or(0)
    }

    /// Whether one of these rules names a flow.
    pub fn name(&self, slots: &[u32], packet: Option<&Packet>, flow: &Flow, ifindex: u32) -> bool {
        slots
            .iter()
            .filter_map(|slot| self.by_slot.get(slot))
            .any(|rule| names(&rule.rule, packet, flow, ifindex))
    }

    /// The rule that stands for a slot now.
    fn current(&self, slot: u32, subject: &Subjected<'_>) -> Option<Arc<LineRule>> {
        if let Some(rule) = self.by_slot.get(&slot) {
            return Some(Arc::clone(rule));
        }
        self.successors
            .get(&slot)?
            .iter()
            .filter_map(|slot| self.by_slot.get(slot))
            .find(|rule| {
                names(
                    &rule.rule,
                    subject.packet.as_ref(),
                    &subject.flow,
                    subject.ifindex,
                )
            })
            .cloned()
    }

    /// Carries out all faults of these rules.
    pub fn treat(&mut self, slots: &[u32], subject: &mut Subjected<'_>) -> Fate {
        let (mut due, mut twice, mut in_order) = (subject.time, false, true);
        for slot in slots {
            let Some(rule) = self.current(*slot, subject) else {
                continue;
            };
            if subject.boot >= rule.rule.deadline {
                continue;
            }
            match self.one(&rule, subject, due) {
                Step::Lost => return Fate::Lost,
                Step::Goes {
                    due: later,
                    twice: copied,
                    in_order: ordered,
                } => {
                    due = later;
                    twice |= copied;
                    in_order &= ordered;
                }
            }
        }
        Fate::Goes { due, twice, in_order }
    }

    fn one(&mut self, line: &LineRule, subject: &mut Subjected<'_>, arrival: u64) -> Step {
        let (rule, counters) = (&line.rule, &line.counters);
        let wire = u64::from(subject.wire);
        if rule.faults & (fault::REJECT | fault::RESET) == 0 {
            add(&counters.matched, wire);
        }
        let first = self.states.fetch_add(rule.state * 2, wire);
        if rule.faults & (fault::PARTITION | fault::DROP) != 0
            && self.lost(rule, first, subject.wire)
            && self.spend(rule, wire)
        {
            add(&counters.dropped, wire);
            return Step::Lost;
        }
        let mut step = (arrival, false, true);
        if rule.faults & fault::DUPLICATE != 0
            && hit(rule.seed, Stream::Duplicate, first, rule.duplicate)
            && self.spend(rule, wire)
        {
            add(&counters.duplicated, wire);
            step.1 = true;
        }
        if rule.faults & fault::CORRUPT != 0 && hit(rule.seed, Stream::Corrupt, first, rule.corrupt) {
            self.corrupt(line, subject, first);
        }
        let jumps = rule.faults & fault::REORDER != 0 && self.jumps(line, first, wire);
        if jumps {
            step.2 = false;
            if line.plan.delay.is_none() {
                // Nobody waits whom it could overtake, so it is the one that others overtake.
                step.0 += reorder::HELD_BACK;
            }
        } else if let Some(plan) = line.plan.delay
            && self.spend(rule, wire)
        {
            step.0 += self.wait(rule, &plan, first);
            step.2 &= plan.keep_order;
            add(&counters.delayed, wire);
        }
        if let Some(plan) = line.plan.bandwidth {
            match self.queue(line, &plan, subject, step.0) {
                Some(due) => step.0 = due,
                None => return Step::Lost,
            }
        }
        Step::Goes {
            due: step.0,
            twice: step.1,
            in_order: step.2,
        }
    }

    fn lost(&self, rule: &Rule, first: u64, wire: u32) -> bool {
        if rule.faults & fault::PARTITION != 0 {
            return true;
        }
        let chain = rule.state * 2 + 1;
        let before = self.states.load(chain);
        let (lost, after) = step(&rule.drop, rule.seed, first, wire, before);
        if rule.drop.model != loss::CHANCE {
            self.states.store(chain, after);
        }
        lost
    }

    fn spend(&self, rule: &Rule, wire: u64) -> bool {
        rule.budget == u64::MAX || self.spent.fetch_add(rule.fault, wire) + wire <= rule.budget
    }

    fn corrupt(&self, line: &LineRule, subject: &mut Subjected<'_>, first: u64) {
        let rule = &line.rule;
        let packet = subject.packet.as_ref();
        let Some(flip) = packet.and_then(|packet| frame::choose(subject.bytes, packet, rule.seed, first))
        else {
            add(&line.counters.unseen, u64::from(subject.wire));
            return;
        };
        if self.spend(rule, u64::from(subject.wire)) {
            frame::flip(subject.bytes, &flip, !line.plan.leave_checksum);
            add(&line.counters.corrupted, 1);
        }
    }

    /// Whether a packet does not wait.
    fn jumps(&mut self, line: &LineRule, first: u64, wire: u64) -> bool {
        let rule = &line.rule;
        let Some(plan) = line.plan.reorder else {
            return false;
        };
        let memory = self.memories.entry(rule.state).or_default();
        let (jumped, waited) = reorder::jumps(plan.chance, plan.gap, rule.seed, first, memory.waited);
        memory.waited = waited;
        if !jumped || !self.spend(rule, wire) {
            return false;
        }
        add(&line.counters.reordered, wire);
        true
    }

    fn wait(&mut self, rule: &Rule, plan: &DelayPlan, first: u64) -> u64 {
        let memory = self.memories.entry(rule.state).or_default();
        let (wait, next) = delay::sample(
            &plan.delay,
            plan::normal(),
            plan::shape(plan.distribution),
            rule.seed,
            first,
            memory.jitter,
        );
        memory.jitter = next;
        wait
    }

    /// When a packet that arrives at the bottleneck has left it; `None`: lost there.
    fn queue(
        &mut self,
        line: &LineRule,
        plan: &BandwidthPlan,
        subject: &Subjected<'_>,
        arrival: u64,
    ) -> Option<u64> {
        let (rule, wire) = (&line.rule, u64::from(subject.wire));
        let bytes = (subject.bytes.len() - frame::VIRTIO) as u64;
        let busy = self.memories.entry(rule.state).or_default().busy_until;
        // What a socket has out is bounded by the socket.
        let longest = if subject.held_back {
            u64::MAX
        } else {
            bandwidth::LONGEST
        };
        let passes = bandwidth::pass(plan.rate, plan.burst, bytes, arrival, busy, longest);
        let (until, due) = match passes {
            Passes::AtOnce { busy_until } => (busy_until, arrival),
            // Nobody is held up, or lost, beyond the budget.
            _ if !self.spend(rule, wire) => return Some(arrival),
            Passes::Later { busy_until } => {
                add(&line.counters.throttled, wire);
                (busy_until, busy_until)
            }
            Passes::Lost => {
                add(&line.counters.dropped, wire);
                return None;
            }
        };
        self.memories.entry(rule.state).or_default().busy_until = until;
        Some(due)
    }
}

enum Step {
    Lost,
    Goes { due: u64, twice: bool, in_order: bool },
}

fn names(rule: &Rule, packet: Option<&Packet>, flow: &Flow, ifindex: u32) -> bool {
    let Some(packet) = packet else { return false };
    let subject = Subject {
        packet,
        flow,
        ifindex,
        epoch: rule.from_epoch,
    };
    // Long lists of addresses are in maps of the kernel; they count as naming everybody here.
    matches(rule, &subject, |_| true)
}

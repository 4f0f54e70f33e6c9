//! What the line does to a packet: the faults of its rules, in order, by the same arithmetic as at the hook.

use std::sync::Arc;

use chaos_ebpf_common::{
    abi::{Rule, fault, loss},
    bandwidth::{self, Passes},
    delay,
    flow::Flow,
    frame::Packet,
    line::plain_slot,
    loss::step,
    matching::{Subject, matches},
    netem, reorder,
    rng::{Stream, draw},
};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    counters::{LineCounters, add},
    frame,
    requests::Requests,
};
use crate::{
    plan::{self, BandwidthPlan, Choice, DelayPlan, Jitter, LinePlan},
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
    /// netem's last number of it.
    number: Option<u64>,
    /// What `duplicate`, `corrupt` and `reorder` remember of the packets before, when fates come in runs.
    duplicate: Option<u64>,
    corrupt: Option<u64>,
    reorder: Option<u64>,
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
    requests: Requests,
}

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// By a fault. Its copies go on.
    pub lost: bool,
    /// When it and its copies go on, CLOCK_MONOTONIC nanoseconds.
    pub due: u64,
    /// It must not overtake packets of its flow, nor be overtaken.
    pub in_order: bool,
    /// Its copies, each as the packet was when it was doubled: what came later was done to the packet alone.
    pub copies: Vec<Vec<u8>>,
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
            requests: Requests::default(),
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
        let shortest = |rule: &LineRule| match &rule.plan.delay {
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
        let mut fate = Fate {
            lost: false,
            due: subject.time,
            in_order: true,
            copies: Vec::new(),
        };
        for noted in slots {
            let (slot, follows) = plain_slot(*noted);
            let Some(rule) = self.current(slot, subject) else {
                continue;
            };
            if subject.boot >= rule.rule.deadline {
                continue;
            }
            if rule.rule.faults & (fault::HTTP | fault::DNS) != 0 {
                self.requests.wait(&rule, subject, follows, &mut fate);
            } else {
                self.one(&rule, subject, &mut fate);
            }
            if fate.lost {
                break;
            }
        }
        fate
    }

    /// Carries out the faults of one rule.
    fn one(&mut self, line: &LineRule, subject: &mut Subjected<'_>, fate: &mut Fate) {
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
            fate.lost = true;
            return;
        }
        if rule.faults & fault::DUPLICATE != 0
            && self.hits(line, Stream::Duplicate, first)
            && self.spend(rule, wire)
        {
            add(&counters.duplicated, wire);
            fate.copies.push(subject.bytes.clone());
        }
        if rule.faults & fault::CORRUPT != 0 && self.hits(line, Stream::Corrupt, first) {
            self.corrupt(line, subject, first);
        }
        let jumps = rule.faults & fault::REORDER != 0 && self.jumps(line, first, wire);
        if jumps {
            fate.in_order = false;
            if line.plan.delay.is_none() {
                // Nobody waits whom it could overtake, so it is the one that others overtake.
                fate.due += reorder::HELD_BACK;
            }
        } else if let Some(plan) = &line.plan.delay
            && self.spend(rule, wire)
        {
            fate.due += self.wait(rule, plan, first);
            fate.in_order &= plan.keep_order;
            add(&counters.delayed, wire);
        }
        if let Some(plan) = line.plan.bandwidth {
            let passes = self.queue(line, &plan, subject, fate.due);
            // The sender is held back at the pace of the first, not of those that come after it.
            subject.held_back = false;
            match passes {
                Some(due) => fate.due = due,
                None => fate.lost = true,
            }
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

    /// Whether `duplicate` or `corrupt`, whichever draws from this stream, hits packet `first`.
    fn hits(&mut self, line: &LineRule, stream: Stream, first: u64) -> bool {
        let rule = &line.rule;
        let memory = self.memories.entry(rule.state).or_default();
        let (choice, chance, memory) = match stream {
            Stream::Duplicate => (line.plan.duplicate, rule.duplicate, &mut memory.duplicate),
            _ => (line.plan.corrupt, rule.corrupt, &mut memory.corrupt),
        };
        choice
            .unwrap_or(Choice::Apart(chance))
            .hits(rule.seed, stream, first, memory)
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
        let (jumped, waited) = reorder::jumps(plan.gap, memory.waited, || {
            plan.choice
                .hits(rule.seed, Stream::Reorder, first, &mut memory.reorder)
        });
        memory.waited = waited;
        if !jumped || !self.spend(rule, wire) {
            return false;
        }
        add(&line.counters.reordered, wire);
        true
    }

    fn wait(&mut self, rule: &Rule, plan: &DelayPlan, first: u64) -> u64 {
        let memory = self.memories.entry(rule.state).or_default();
        match &plan.jitter {
            Jitter::Shape(shape) => {
                let (wait, next) = delay::sample(
                    &plan.delay,
                    plan::normal(),
                    shape,
                    rule.seed,
                    first,
                    memory.jitter,
                );
                memory.jitter = next;
                wait
            }
            Jitter::Netem { table, correlation } => {
                let last = memory
                    .number
                    .unwrap_or_else(|| draw(rule.seed, Stream::Beginning, first) >> 32);
                let fresh = (draw(rule.seed, Stream::Delay, first) >> 32) as u32;
                let number = netem::number(fresh, last, *correlation);
                memory.number = Some(number);
                netem::delay(plan.delay.latency, plan.delay.jitter, table.as_deref(), number)
            }
        }
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

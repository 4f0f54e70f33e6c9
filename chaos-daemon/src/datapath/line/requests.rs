//! Requests and look-ups that wait. Which ones was decided at the hook, where they were counted and paid for.

use chaos_ebpf_common::{abi::fault, flow::Flow};
use rustc_hash::FxHashMap;

use super::rules::{Fate, LineRule, Subjected};

/// Connections that are remembered before those whose request has gone on are first forgotten.
const MANY: usize = 4096;

/// When the last request of a connection goes on: what follows it goes then, too, and not before.
#[derive(Debug, Default)]
pub struct Requests {
    /// By fault and flow; CLOCK_MONOTONIC nanoseconds.
    due: FxHashMap<(u64, u64), u64>,
    /// How many there were when it was last looked who has gone on; not before there are twice as many is it worth it.
    kept: usize,
}

impl Requests {
    /// Lets a request wait, or what follows one.
    pub fn wait(&mut self, line: &LineRule, subject: &Subjected<'_>, follows: bool, fate: &mut Fate) {
        let Some(plan) = &line.plan.delay else { return };
        if subject.flow == Flow::default() {
            return;
        }
        let key = (line.rule.id, subject.flow.number());
        if follows {
            fate.due = self.due.get(&key).map_or(fate.due, |due| fate.due.max(*due));
            return;
        }
        fate.due += plan.delay.latency;
        // Nothing follows a look-up.
        if line.rule.faults & fault::HTTP == 0 {
            return;
        }
        if self.due.len() >= MANY.max(2 * self.kept) {
            self.due.retain(|_, due| *due > subject.time);
            self.kept = self.due.len();
        }
        self.due.insert(key, fate.due);
    }
}

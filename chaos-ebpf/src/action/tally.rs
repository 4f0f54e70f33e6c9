//! Counters, sequence and budget of one rule for one packet.

use chaos_ebpf_common::abi::{Counters, Rule, State, fault, stat};

use crate::{
    atomic::fetch_add,
    maps::{COUNTERS, SPENT, STATES, count},
};

/// A rule at work on one packet, already counted as matched.
pub struct Tally<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// Number of the packet's first wire packet among all that this rule has seen.
    pub sequence: u64,
    /// Wire packets the packet stands for.
    pub wire_packets: u32,
    counters: Option<*mut Counters>,
}

impl<'a> Tally<'a> {
    /// Counts the packet as matched and gives it its number.
    #[inline(always)]
    pub fn open(rule: &'a Rule, wire_packets: u32) -> Self {
        let counters = COUNTERS.get_ptr_mut(rule.fault);
        if let Some(counters) = counters {
            // SAFETY: a per-CPU map value; programs do not migrate while they run.
            unsafe {
                (*counters).matched += wire_packets as u64;
                if wire_packets > 1 {
                    (*counters).aggregated += wire_packets as u64;
                }
            }
        }
        let sequence = if rule.faults == fault::PARTITION {
            // Nothing is left to chance.
            0
        } else {
            match STATES.get_ptr_mut(rule.state) {
                Some(state) => add(state_field(state, Field::Sequence), wire_packets as u64),
                None => 0,
            }
        };
        Self {
            rule,
            sequence,
            wire_packets,
            counters,
        }
    }

    /// For one wire packet of a super-packet that is counted already.
    #[inline(always)]
    pub fn of_piece(rule: &'a Rule, sequence: u64) -> Self {
        Self {
            rule,
            sequence,
            wire_packets: 1,
            counters: COUNTERS.get_ptr_mut(rule.fault),
        }
    }

    /// For a super-packet that is counted already.
    #[inline(always)]
    pub fn of_whole(rule: &'a Rule, sequence: u64, wire_packets: u32) -> Self {
        Self {
            wire_packets,
            ..Self::of_piece(rule, sequence)
        }
    }

    /// Takes back that the packet is treated as one, if it stands for several.
    #[inline(always)]
    pub fn not_as_one(&self) {
        if self.wire_packets > 1 {
            self.count(|counters, n| counters.aggregated = counters.aggregated.wrapping_sub(n));
        }
    }

    /// Says of a super-packet that it passes, since the way of the rule does not suit it; the daemon chooses another.
    #[inline(always)]
    pub fn pass_unfit(&self) {
        self.count(|counters, n| {
            counters.unseen += n;
            counters.unfit += n;
        });
        count(stat::UNFIT);
    }

    /// Takes the packet out of the fault's budget; `false` when it is spent. Never overdrawn: a
    /// super-packet that no longer fits is left alone.
    #[inline(always)]
    pub fn spend(&self) -> bool {
        if self.rule.budget == u64::MAX {
            return true;
        }
        let Some(spent) = SPENT.get_ptr_mut(self.rule.fault) else {
            return false;
        };
        add(spent, self.wire_packets as u64) + self.wire_packets as u64 <= self.rule.budget
    }

    /// Memory of the loss model.
    #[inline(always)]
    pub fn chain(&self) -> Option<*mut u64> {
        let state = STATES.get_ptr_mut(self.rule.state)?;
        Some(state_field(state, Field::Chain))
    }

    /// Counts an outcome.
    #[inline(always)]
    pub fn count(&self, bump: impl FnOnce(&mut Counters, u64)) {
        if let Some(counters) = self.counters {
            // SAFETY: as in `open`.
            bump(unsafe { &mut *counters }, self.wire_packets as u64);
        }
    }
}

enum Field {
    Sequence,
    Chain,
}

#[inline(always)]
fn state_field(state: *mut State, field: Field) -> *mut u64 {
    // SAFETY: field addresses of a map value.
    unsafe {
        match field {
            Field::Sequence => &raw mut (*state).sequence,
            Field::Chain => &raw mut (*state).chain,
        }
    }
}

#[inline(always)]
fn add(value: *mut u64, n: u64) -> u64 {
    // SAFETY: an aligned map value.
    unsafe { fetch_add(value, n) }
}

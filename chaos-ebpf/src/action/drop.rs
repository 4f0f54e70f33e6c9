//! `partition` and `drop`.

use chaos_ebpf_common::{
    abi::{fault, loss},
    loss::step,
};

use super::{Loses, loud, tally::Tally};
use crate::atomic::compare_exchange;

/// Tries to move the chain before its last reading is kept: CPUs rarely meet on one rule.
const TRIES: u32 = 4;

/// Whether the packet is lost, counted and paid for.
#[inline(always)]
pub fn decide(tally: &Tally<'_>) -> Loses {
    let all = tally.rule.faults & fault::PARTITION != 0;
    if !(all || lost(tally)) || !tally.spend() {
        return Loses::Not;
    }
    tally.count(|counters, n| counters.dropped += n);
    if loud(tally.rule) { Loses::Loudly } else { Loses::Silently }
}

#[inline(always)]
fn lost(tally: &Tally<'_>) -> bool {
    let model = &tally.rule.drop;
    if model.model == loss::CHANCE {
        return step(model, tally.rule.seed, tally.sequence, tally.wire_packets, 0).0;
    }
    let Some(chain) = tally.chain() else { return false };
    let mut lost = false;
    let mut tries = 0;
    while tries < TRIES {
        // SAFETY: a map value; volatile, because other CPUs write it.
        let before = unsafe { core::ptr::read_volatile(chain) };
        let (verdict, after) = step(model, tally.rule.seed, tally.sequence, tally.wire_packets, before);
        lost = verdict;
        // SAFETY: an aligned map value.
        if unsafe { compare_exchange(chain, before, after) } {
            break;
        }
        tries += 1;
    }
    lost
}

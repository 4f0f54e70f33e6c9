//! `partition` and `drop`.

use chaos_ebpf_common::{
    abi::{Loss, fault, loss},
    loss::{STEPS, chained, every},
    rng::{Stream, hit},
};

use super::{Loses, any_of_wire, loud, tally::Tally};
use crate::{
    atomic::compare_exchange,
    each::{GO, each},
};

/// Whether the packet is lost, counted and paid for, when the rule is known to have no chain: a caller that is deep
/// already has no stack left for a chain's steps.
#[inline(always)]
pub fn decide_by_chance(tally: &Tally<'_>) -> Loses {
    let all = tally.rule.faults & fault::PARTITION != 0;
    settle(tally, all || chosen_by_chance(tally))
}

/// Whether the packet is lost, counted and paid for.
#[inline(always)]
pub fn decide(tally: &Tally<'_>) -> Loses {
    let all = tally.rule.faults & fault::PARTITION != 0;
    settle(tally, all || chosen(tally))
}

/// Counts and pays for a loss that is decided.
#[inline(always)]
pub fn settle(tally: &Tally<'_>, hit: bool) -> Loses {
    if !hit || !tally.spend() {
        return Loses::Not;
    }
    tally.count(|counters, n| counters.dropped += n);
    if loud(tally.rule) {
        Loses::Loudly
    } else {
        Loses::Silently
    }
}

#[inline(always)]
fn chosen(tally: &Tally<'_>) -> bool {
    if tally.rule.drop.model != loss::CHANCE {
        return next_in_chain(tally);
    }
    chosen_by_chance(tally)
}

#[inline(always)]
fn chosen_by_chance(tally: &Tally<'_>) -> bool {
    let model = &tally.rule.drop;
    let chance = if tally.wire_packets > 1 {
        any_of_wire(model.chance, tally.wire_packets)
    } else {
        model.chance
    };
    hit(tally.rule.seed, Stream::Drop, tally.sequence, chance)
}

#[inline(never)]
fn next_in_chain(tally: &Tally<'_>) -> bool {
    let model = &tally.rule.drop;
    let Some(chain) = tally.chain() else { return false };
    // SAFETY: a map value; volatile, because other CPUs write it.
    let before = unsafe { core::ptr::read_volatile(chain) };
    let mut steps = Steps {
        model,
        seed: tally.rule.seed,
        sequence: tally.sequence,
        chain: before,
        lost: false,
    };
    if model.model == loss::EVERY {
        (steps.lost, steps.chain) = every(model.every, tally.wire_packets, before);
    } else {
        each(
            if tally.wire_packets < STEPS {
                tally.wire_packets
            } else {
                STEPS
            },
            one,
            &mut steps,
        );
    }
    // When another CPU has moved the chain meanwhile, its move stands and ours was judged on a state as good.
    // SAFETY: an aligned map value.
    unsafe { compare_exchange(chain, before, steps.chain) };
    steps.lost
}

/// A super-packet, one wire packet at a time.
struct Steps<'a> {
    model: &'a Loss,
    seed: u64,
    sequence: u64,
    chain: u64,
    lost: bool,
}

extern "C" fn one(i: u32, steps: &mut Steps<'_>) -> i64 {
    let (lost, chain) = chained(
        steps.model,
        steps.seed,
        steps.sequence.wrapping_add(i as u64),
        steps.chain,
    );
    steps.chain = chain;
    if lost {
        steps.lost = true;
    }
    GO
}

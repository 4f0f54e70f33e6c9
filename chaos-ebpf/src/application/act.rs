//! What becomes of a request or a question.

use core::mem::offset_of;

use aya_ebpf::helpers::bpf_ktime_get_ns;
use chaos_ebpf_common::{
    abi::{Counters, RequestMemory, Rule, fate, fault, found, then},
    application::memory::graced,
    rng::{Stream, hit},
};

use super::{ANSWER, finding, memory::remember};
use crate::{
    action::{Next, Treated, line, tally::Tally},
    maps::{COUNTERS, DNS, HTTP},
    skb::opaque,
};

/// Carries out a rule that asks about the payload, for what was found for match `i`.
#[inline(always)]
pub fn apply(treated: &Treated<'_>, rule: &Rule, slot: u32, i: u32) -> Next {
    match finding(treated, i) {
        found::FRESH => fresh(treated, rule, slot),
        found::AGAIN => answer(treated, slot, found::AGAIN),
        found::AFTER => answer(treated, slot, found::AFTER),
        found::FOLLOWS => {
            line::add_following(treated, slot);
            Next::Go
        }
        other => {
            unseen(rule, other);
            Next::Go
        }
    }
}

/// Counts what could not be looked at. By its place, which LLVM would compute from `what` without a bound.
#[inline(always)]
fn unseen(rule: &Rule, what: u8) {
    const FIRST: usize = offset_of!(Counters, tls);
    const _: () = assert!(
        offset_of!(Counters, http2) == FIRST + 8
            && offset_of!(Counters, split) == FIRST + 16
            && found::HTTP2 == found::TLS + 1
            && found::SPLIT == found::TLS + 2
    );
    let i = opaque((what as usize).wrapping_sub(found::TLS as usize));
    if i > 2 {
        return;
    }
    if let Some(counters) = COUNTERS.get_ptr_mut(rule.fault) {
        // SAFETY: one of three numbers in a per-CPU map value; programs do not migrate while they run.
        unsafe { *(&raw mut (*counters).tls).add(i) += 1 };
    }
}

/// Counts something of a rule.
#[inline(always)]
pub fn count(rule: &Rule, bump: impl FnOnce(&mut Counters)) {
    if let Some(counters) = COUNTERS.get_ptr_mut(rule.fault) {
        // SAFETY: a per-CPU map value; programs do not migrate while they run.
        bump(unsafe { &mut *counters });
    }
}

/// Chance and fate of what a rule asks about.
#[inline(always)]
fn terms(rule: &Rule) -> Option<(u64, u32)> {
    if rule.faults & fault::HTTP != 0 {
        let http = HTTP.get(rule.application)?;
        Some((http.chance, http.then))
    } else {
        let dns = DNS.get(rule.application)?;
        Some((dns.chance, dns.then))
    }
}

/// A request or a question that was not seen before.
#[inline(always)]
fn fresh(treated: &Treated<'_>, rule: &Rule, slot: u32) -> Next {
    let Some((chance, then)) = terms(rule) else {
        return Next::Go;
    };
    // One request, in however many packets.
    let tally = Tally::open(rule, 1);
    if !hit(rule.seed, Stream::Application, tally.sequence, chance) || !tally.spend() {
        if rule.faults & fault::HTTP != 0 {
            note(treated, rule, fate::SPARED, 0);
        }
        return Next::Go;
    }
    match then {
        then::ANSWER => answer(treated, slot, found::FRESH),
        then::ABORT => {
            tally.count(|counters, _| counters.reset += 1);
            Next::Reset
        }
        then::LOSE => {
            tally.count(|counters, _| counters.dropped += 1);
            Next::End(treated.lost())
        }
        _ => {
            tally.count(|counters, _| counters.delayed += 1);
            wait(treated, rule, slot);
            Next::Go
        }
    }
}

/// Leaves the packet to `chaos_answer`.
#[inline(always)]
fn answer(treated: &Treated<'_>, slot: u32, how: u8) -> Next {
    let application = &treated.work.application;
    application.slot.set(slot);
    application.how.set(how as u32);
    Next::End(ANSWER)
}

/// Sends the packet into the line, and, of a connection, what follows it before it has gone on.
#[inline(always)]
fn wait(treated: &Treated<'_>, rule: &Rule, slot: u32) {
    if rule.faults & fault::HTTP != 0
        && let Some(http) = HTTP.get(rule.application)
    {
        // SAFETY: a helper without arguments.
        let due = unsafe { bpf_ktime_get_ns() } + http.delay;
        note(treated, rule, fate::WAITS, graced(due));
    }
    line::add(treated, rule, slot);
}

#[inline(always)]
fn note(treated: &Treated<'_>, rule: &Rule, fate: u32, until: u64) {
    let numbers = treated.work.application.numbers;
    let memory = RequestMemory {
        sequence: numbers.sequence,
        fate,
        next: numbers.acknowledgement,
        _pad: 0,
        until,
    };
    remember(rule, &treated.work.flow, &memory);
}

//! The rules that name a packet, one after the other, in the order of their creation.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use chaos_ebpf_common::{
    abi::{Netns, Rule, control, fault, stat},
    clock::{deadline_over, lease_held},
};

use crate::{
    action::{self, Next, Treated, cut, line},
    application::{self, act},
    each::{GO, STOP, each},
    flows::admits,
    maps::{Control, RULES, count},
    skb::{Skb, vanish},
    work::{Work, now},
};

const NEXT: i32 = action::STAYS;

/// The verdict on a packet. `LOOKED`: its payload has been looked into, so that rules that ask about it can act;
/// [`application::ANSWER`] is then a verdict, too.
#[inline(always)]
pub fn treat<const LOOKED: bool>(
    control: Control,
    skb: Skb,
    netns: &Netns,
    hook: u32,
    work: &mut Work,
) -> i32 {
    let now = now();
    if !lease_held(control.read(control::LEASE), now) {
        count(stat::LEASE_OVER);
        return NEXT;
    }
    let matches = work.match_count as u32;
    let mut pass = Pass {
        treated: Treated {
            skb,
            netns,
            hook,
            work,
        },
        now,
        boot_offset: control.read(control::BOOT_OFFSET),
        verdict: NEXT,
        reset: false,
    };
    each(matches, one::<LOOKED>, &mut pass);
    if pass.treated.work.guards.have_spared() {
        count(stat::GUARDED);
    }
    if pass.reset {
        return action::reset::answer(&pass.treated);
    }
    if pass.verdict == NEXT && pass.treated.work.cuts.any() {
        let became = match cut::send(&pass.treated) {
            cut::STUCK => cut::hit_whole(&pass.treated),
            became => became,
        };
        if became == cut::GONE {
            return vanish();
        }
    }
    if pass.verdict == NEXT && pass.treated.work.notes.any() {
        return line::send(&pass.treated);
    }
    pass.verdict
}

/// A packet on its way through the rules that name it.
struct Pass<'a> {
    treated: Treated<'a>,
    now: u64,
    boot_offset: u64,
    verdict: i32,
    /// Resets answer it.
    reset: bool,
}

/// Whether the time of a rule is over.
#[inline(always)]
pub fn over(rule: &Rule, now: u64, boot_offset: u64) -> bool {
    // SAFETY: a helper without arguments.
    deadline_over(rule.deadline, now, boot_offset, || unsafe {
        bpf_ktime_get_boot_ns()
    })
}

extern "C" fn one<const LOOKED: bool>(i: u32, pass: &mut Pass<'_>) -> i64 {
    let Some(slot) = pass.treated.work.slot(i as usize) else {
        return STOP;
    };
    let Some(rule) = RULES.get(slot) else {
        return STOP;
    };
    if over(rule, pass.now, pass.boot_offset) {
        return GO;
    }
    let asks = LOOKED && rule.faults & (fault::HTTP | fault::DNS) != 0;
    if asks && !application::concerns(&pass.treated, i) {
        return GO;
    }
    if pass.treated.work.guards.spare(rule.unguard) || !admits(rule, &pass.treated.work.flow) {
        return GO;
    }
    let next = if asks {
        act::apply(&pass.treated, rule, slot, i)
    } else {
        action::apply(&pass.treated, rule, slot)
    };
    match next {
        Next::Go => GO,
        Next::End(verdict) => {
            pass.verdict = verdict;
            STOP
        }
        Next::Reset => {
            pass.reset = true;
            STOP
        }
    }
}

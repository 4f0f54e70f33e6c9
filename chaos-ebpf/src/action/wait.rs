//! The way into the kernel line: a copy of the packet, with the time at which it is to go on, leaves by a cable whose far
//! end has `fq` queues; the packet itself goes nowhere. A copy, because `fq` would keep the packet in the name of its
//! socket, which sends no more while too much of it is kept (TCP Small Queues).
//!
//! Between the two ends lies another namespace, where the kernel takes marks off. So the mark travels in a VLAN tag and
//! `tc_index`, and the type of that tag says in which direction the packet was going.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use chaos_ebpf_common::{
    abi::{Cable, Hook, LineKey, Wait, control, stat, waits},
    delay::{Delay, sample},
    home::{Home, Last, hash},
    line::{ETH_CUSTOMER, ETH_SERVICE},
    way::{stamp, times},
};

use super::{SHOT, STAYS, tally::Tally};
use crate::{
    atomic::{compare_exchange, fetch_add},
    each::{GO, STOP, each},
    maps::{CABLES, Control, HOMES, LAST_STAMP, SHAPES, WAITS, count},
    skb::{Skb, vanish},
    work::{Work, at_hand, is_first},
};

/// Of the 20 bits of a hash that the queue looks at (`orphan_mask`, which the daemon sets), one half of the numbers is for
/// flows, the other for packets that keep no order: each in a flow of its own, or it would wait for those before it.
const FREE: u32 = 1 << 19;
const FREE_NUMBERS: u32 = (1 << 17) - 1;
/// Error numbers of linux/errno.h: the packet did not get as far as the queue.
const ENOMEM: i64 = -12;
const EINVAL: i64 = -22;
/// TCX_PASS: on to the far end.
const PASS: i32 = 0;
/// How often a number that other processors change, too, is tried to be raised.
const TRIES: u32 = 4;

/// What a packet comes to.
struct Waiting<'a> {
    work: &'a Work,
    nanos: u64,
    in_order: bool,
    /// Its number among those of the last rule that keeps no order.
    number: u64,
}

/// The program. The packet's notes are those of the program that called it.
#[inline(always)]
pub fn run(skb: Skb) -> i32 {
    let Some(work) = at_hand() else { return STAYS };
    let Some(cable) = cable_of(work.netns_index, skb.ifindex()) else {
        count(stat::HELPER_FAILED);
        return STAYS;
    };
    let mut waiting = Waiting {
        work,
        nanos: 0,
        in_order: true,
        number: 0,
    };
    each(work.notes.count(), one, &mut waiting);
    let came = match work.came {
        // SAFETY: a helper without arguments.
        0 => unsafe { bpf_ktime_get_ns() },
        came => came,
    };
    let lead = lead(cable, waiting.nanos, came);
    let here = here().name();
    let due = came + waiting.nanos;
    let (stamp, hash) = if waiting.in_order {
        let place = (work.netns_index << 1 | work.hook) as u64;
        let flow = work.flow.number() ^ place << 40;
        let (stamp, home) = behind(flow, due, lead, came, here);
        (stamp, hash(home, flow as u32 & !FREE))
    } else {
        let number = waiting.number as u32 & FREE_NUMBERS | FREE;
        (stamp(due, lead, 0), hash(here, number))
    };
    enter(skb, cable, stamp, hash)
}

/// Adds what one rule makes of the packet.
extern "C" fn one(i: u32, waiting: &mut Waiting<'_>) -> i64 {
    let Some(rule) = waiting.work.notes.rule(i) else {
        return STOP;
    };
    let Some(wait) = WAITS.get(rule.application) else {
        return STOP;
    };
    let tally = Tally::open(rule, waiting.work.wire_packets);
    // All wire packets of one wait alike, and that is no loss.
    tally.not_as_one();
    if !tally.spend() {
        return GO;
    }
    tally.count(|counters, n| counters.delayed += n);
    if wait.keeps_order == 0 {
        waiting.in_order = false;
        waiting.number = tally.sequence;
    }
    waiting.nanos += if wait.jitter == 0 {
        wait.latency
    } else {
        drawn(wait, &tally)
    };
    GO
}

/// How long a packet waits whose wait is left to chance.
#[inline(never)]
fn drawn(wait: &Wait, tally: &Tally<'_>) -> u64 {
    let (Some(normal), Some(shape), Some(memory)) =
        (SHAPES.get(waits::NORMAL), SHAPES.get(wait.shape), tally.chain())
    else {
        return wait.latency;
    };
    let delay = Delay {
        latency: wait.latency,
        jitter: wait.jitter,
        correlation: wait.correlation,
        freshness: wait.freshness,
    };
    // SAFETY: a map value; volatile, because other CPUs write it.
    let before = unsafe { core::ptr::read_volatile(memory) } as i64;
    let (nanos, after) = sample(&delay, normal, shape, tally.rule.seed, tally.sequence, before);
    // SAFETY: as above.
    unsafe { core::ptr::write_volatile(memory, after as u64) };
    nanos
}

/// By how much a packet that came at `came` and waits for `nanos` leaves the queue before its time. Of processors that
/// count one at once, one may be lost.
#[inline(always)]
fn lead(cable: *mut Cable, nanos: u64, came: u64) -> u64 {
    let lines = Control::get().map_or(1, |control| control.read(control::CABLES));
    // SAFETY: a map value; volatile, because other CPUs write it.
    unsafe {
        let pace = &raw mut (*cable).pace;
        let now = core::ptr::read_volatile(pace).came(came);
        core::ptr::write_volatile(pace, now);
        let way = core::ptr::read_volatile(&raw const (*cable).way);
        way.lead(nanos, now.most_held(came, lines))
    }
}

/// The stamp of a packet that has come `here` and goes on at `due`, or right after the last one of its flow, if that is
/// later; and its home, which is theirs.
#[inline(always)]
fn behind(flow: u64, due: u64, lead: u64, came: u64, here: u8) -> (u64, u8) {
    let Some(last) = LAST_STAMP.get_ptr_mut(&flow) else {
        let first = stamp(due, lead, 0);
        let _ = LAST_STAMP.insert(&flow, &Last::new(first, here).0, 0);
        return (first, here);
    };
    let mut tries = 0;
    loop {
        // SAFETY: an aligned map value; volatile, because other CPUs write it.
        let before = unsafe { core::ptr::read_volatile(last) };
        let home = Last(before).home(came, here);
        let stamp = stamp(due, lead, before);
        tries += 1;
        // SAFETY: as above.
        if tries == TRIES || unsafe { compare_exchange(last, before, Last::new(stamp, home).0) } {
            return (stamp, home);
        }
    }
}

/// Raises a number that is smaller.
#[inline(always)]
fn raise(number: *mut u64, to: u64) {
    let mut tries = 0;
    while tries < TRIES {
        // SAFETY: an aligned map value; volatile, because other CPUs write it.
        let before = unsafe { core::ptr::read_volatile(number) };
        // SAFETY: as above.
        if before >= to || unsafe { compare_exchange(number, before, to) } {
            return;
        }
        tries += 1;
    }
}

/// Sends the packet into the cable.
#[inline(always)]
fn enter(skb: Skb, cable: *mut Cable, stamp: u64, hash: u32) -> i32 {
    let Some(work) = at_hand() else { return STAYS };
    let leaving = work.hook == Hook::Egress as u32;
    let mark = skb.user_mark();
    let kind = if leaving { ETH_CUSTOMER } else { ETH_SERVICE };
    // Before the tag, under which the kernel would not know what it stamps.
    if !skb.stamp(stamp) {
        count(stat::HELPER_FAILED);
        return STAYS;
    }
    if !skb.tag(kind, (mark >> 16) as u16) {
        skb.unstamp();
        count(stat::HELPER_FAILED);
        return STAYS;
    }
    skb.set_index(mark as u16);
    skb.set_hash(hash);
    // Or the queue would let those pass that steer the network (`fq_classify`).
    skb.choose_class(0);
    // SAFETY: fields of a map value.
    let (near, lost, until) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*cable).ifindex),
            &raw mut (*cable).lost,
            &raw mut (*cable).until,
        )
    };
    raise(until, times(stamp).1);
    match skb.copy_to(near) {
        0 => {}
        ENOMEM | EINVAL => {
            skb.untag();
            skb.unstamp();
            skb.forget_hash();
            skb.set_index(0);
            count(stat::HELPER_FAILED);
            return STAYS;
        }
        // The far end has counted it, which had no room.
        1.. => {}
        // SAFETY: an aligned map value.
        _ => unsafe {
            fetch_add(lost, work.wire_packets as u64);
        },
    }
    if leaving { vanish() } else { SHOT }
}

/// Has a packet that has just entered a cable wait at once, if this very processor would be the next to receive it. One
/// that is deep in the work of others passes it on: what follows is deeper still, of which the kernel has no more than
/// enough (`XMIT_RECURSION_LIMIT`).
#[inline(always)]
pub fn stay(skb: Skb) -> i32 {
    if is_first() && here().receives(skb.hash()) {
        skb.turn(false)
    } else {
        PASS
    }
}

/// Of this processor.
#[inline(always)]
fn here() -> Home {
    Home(HOMES.get(0).copied().unwrap_or(0))
}

/// The cable of a device of a namespace, which is named by its index; of a near end, the device.
#[inline(always)]
pub fn cable_of(netns: u32, ifindex: u32) -> Option<*mut Cable> {
    CABLES.get_ptr_mut(&LineKey { netns, ifindex })
}

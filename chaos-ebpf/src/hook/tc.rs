//! tc, both directions: parse, scopes, rules, guard, clocks, faults.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::{bpf_ktime_get_boot_ns, bpf_ktime_get_coarse_ns},
    programs::TcContext,
};
use aya_log_ebpf::debug;
use chaos_ebpf_common::{
    abi::{Hook, Netns, control, stat},
    clock::{deadline_over, lease_held},
    flow::Flow,
};

use crate::{
    action::{self, Next, Treated},
    each::{GO, STOP, each},
    guard::guarded,
    hook::parse::{Outcome, Source, parse},
    maps::{NETNS, NETNS_INDEX, RULES, control, count},
    scope::{add_receiver, add_sender},
    search::search,
    skb::{Skb, Window},
    work::{Work, work},
};

/// TCX_NEXT and TC_ACT_UNSPEC: whoever comes after us decides.
const NEXT: i32 = -1;
/// Headers of every kind we walk fit in this.
const HEADERS: u32 = 192;

/// The program.
#[inline(always)]
pub fn run(ctx: &TcContext, hook: u32) -> i32 {
    let skb = Skb::new(ctx.skb.skb);
    if skb.take_mark() {
        return NEXT;
    }
    let Some(netns) = NETNS.get(NETNS_INDEX.load()) else {
        return NEXT;
    };
    let side = &netns.sides[hook as usize];
    let by_socket = side.cgroup_levels | side.processes != 0;
    if !by_socket && side.scope.id == 0 {
        return NEXT;
    }
    let Some(work) = work() else { return NEXT };
    if side.scope.id != 0 {
        work.add_scope(side.scope);
    }
    if by_socket && hook == Hook::Egress as u32 {
        add_sender(work, skb, side);
        if work.scope_count == 0 {
            return NEXT;
        }
    }
    match understand(skb.raw(), hook, work) {
        UNDERSTOOD => {}
        BROKEN => {
            debug!(
                ctx,
                "not understood, passed: {} bytes, ethertype {:x}",
                skb.len(),
                u16::from_be(skb.protocol() as u16)
            );
            return NEXT;
        }
        _ => return NEXT,
    }
    if by_socket && hook == Hook::Ingress as u32 {
        add_receiver(work, skb.raw(), side);
    }
    if !search(work) {
        return NEXT;
    }
    if guarded(&work.packet, &work.flow, netns) {
        count(stat::GUARDED);
        debug!(
            ctx,
            "guarded, passed: protocol {}, {} bytes",
            work.packet.protocol,
            skb.len()
        );
        return NEXT;
    }
    treat(skb, netns, hook, work)
}

/// What [`understand`] says of a packet that is not IP.
const OTHER: u32 = 0;
/// IP, and all is known.
const UNDERSTOOD: u32 = 1;
/// IP that is cut short or malformed.
const BROKEN: u32 = 2;

/// Parses, pulling headers into reach when they are not, and gives later fragments the ports of their
/// first.
#[inline(never)]
fn understand(raw: *mut __sk_buff, hook: u32, work: &mut Work) -> u32 {
    let skb = Skb::new(raw);
    let ethertype = skb.protocol() as u16;
    let mut outcome = parse(skb, ethertype, work);
    if outcome == Outcome::Broken {
        skb.pull(HEADERS);
        outcome = parse(skb, ethertype, work);
    }
    match outcome {
        Outcome::Ip => {}
        Outcome::Other => return OTHER,
        Outcome::Broken => {
            count(stat::UNCLASSIFIED);
            return BROKEN;
        }
    }
    work.flow = Flow::of(&work.packet, hook);
    work.ifindex = skb.ifindex();
    work.wire_packets = skb.wire_packets();
    UNDERSTOOD
}

impl Source for Skb {
    #[inline(always)]
    fn window(self) -> Window {
        Skb::window(self)
    }
}

#[inline(always)]
fn treat(skb: Skb, netns: &Netns, hook: u32, work: &Work) -> i32 {
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    if !lease_held(control(control::LEASE), now) {
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
        boot_offset: control(control::BOOT_OFFSET),
        verdict: NEXT,
    };
    each(matches, one, &mut pass);
    pass.verdict
}

/// A packet on its way through the rules that name it.
struct Pass<'a> {
    treated: Treated<'a>,
    now: u64,
    boot_offset: u64,
    verdict: i32,
}

extern "C" fn one(i: u32, pass: &mut Pass<'_>) -> i64 {
    let Some(rule) = pass
        .treated
        .work
        .slot(i as usize)
        .and_then(|slot| RULES.get(slot))
    else {
        return STOP;
    };
    // SAFETY: a helper without arguments.
    if deadline_over(rule.deadline, pass.now, pass.boot_offset, || unsafe {
        bpf_ktime_get_boot_ns()
    }) {
        return GO;
    }
    match action::apply(&pass.treated, rule) {
        Next::Go => GO,
        Next::End(verdict) => {
            pass.verdict = verdict;
            STOP
        }
    }
}

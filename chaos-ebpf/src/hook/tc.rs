//! tc, both directions: parse, scopes, rules, guard, clocks, faults.

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_ktime_get_boot_ns, programs::TcContext};
use aya_log_ebpf::debug;
use chaos_ebpf_common::{
    abi::{Hook, Netns, Rule, control, stat},
    clock::{deadline_over, lease_held},
    flow::Flow,
};

use crate::{
    action::{self, Next, Treated, line},
    each::{GO, STOP, each},
    guard::guarded,
    hook::parse::{Outcome, Source, parse},
    maps::{Control, NETNS, NETNS_INDEX, RULES, count},
    scope::{add_receiver, add_sender},
    search::{Named, search},
    skb::{Skb, Window},
    work::{Work, work},
};

const NEXT: i32 = action::STAYS;
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
    if hook == Hook::Egress as u32 && netns.lines != 0 && line::is_back(skb) {
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
    match understand(skb, work) {
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
    work.flow = Flow::of(&work.packet, hook);
    if by_socket && hook == Hook::Ingress as u32 {
        add_receiver(work, skb.raw(), side);
    }
    let Some(control) = Control::get() else {
        return NEXT;
    };
    let named = search(control, work, skb.ifindex());
    if matches!(named, Named::Nobody) {
        return NEXT;
    }
    work.wire_packets = skb.wire_packets();
    if guarded(control, &work.packet, &work.flow, netns) {
        count(stat::GUARDED);
        debug!(
            ctx,
            "guarded, passed: protocol {}, {} bytes",
            work.packet.protocol,
            skb.len()
        );
        return NEXT;
    }
    treat(control, skb, netns, hook, work, &named)
}

/// What [`understand`] says of a packet that is not IP.
const OTHER: u32 = 0;
/// IP, and all is known.
const UNDERSTOOD: u32 = 1;
/// IP that is cut short or malformed.
const BROKEN: u32 = 2;

/// Parses, pulling headers into reach when they are not.
#[inline(always)]
fn understand(skb: Skb, work: &mut Work) -> u32 {
    let said = say(parse(skb, skb.protocol() as u16, work));
    if said == BROKEN {
        pulled(skb.raw(), work)
    } else {
        said
    }
}

/// The second attempt, in a function of its own: it is rare.
#[inline(never)]
fn pulled(raw: *mut __sk_buff, work: &mut Work) -> u32 {
    let skb = Skb::new(raw);
    skb.pull(HEADERS);
    let said = say(parse(skb, skb.protocol() as u16, work));
    if said == BROKEN {
        count(stat::UNCLASSIFIED);
    }
    said
}

#[inline(always)]
fn say(outcome: Outcome) -> u32 {
    match outcome {
        Outcome::Ip => UNDERSTOOD,
        Outcome::Other => OTHER,
        Outcome::Broken => BROKEN,
    }
}

impl Source for Skb {
    #[inline(always)]
    fn window(self) -> Window {
        Skb::window(self)
    }
}

#[inline(always)]
fn treat(control: Control, skb: Skb, netns: &Netns, hook: u32, work: &mut Work, named: &Named) -> i32 {
    let now = work.now();
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
    };
    // One rule that does nothing but lose: what most packets meet, without the price of a callback.
    if let Named::One(rule) = named
        && action::only_loses(rule)
    {
        if pass.over(rule) {
            return NEXT;
        }
        return match pass.treated.after(action::lose(rule, work.wire_packets)) {
            Next::Go => NEXT,
            Next::End(verdict) => verdict,
        };
    }
    each(matches, one, &mut pass);
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
}

impl Pass<'_> {
    /// Whether the time of a rule is over.
    #[inline(always)]
    fn over(&self, rule: &Rule) -> bool {
        // SAFETY: a helper without arguments.
        deadline_over(rule.deadline, self.now, self.boot_offset, || unsafe {
            bpf_ktime_get_boot_ns()
        })
    }
}

extern "C" fn one(i: u32, pass: &mut Pass<'_>) -> i64 {
    let Some(slot) = pass.treated.work.slot(i as usize) else {
        return STOP;
    };
    let Some(rule) = RULES.get(slot) else {
        return STOP;
    };
    if pass.over(rule) {
        return GO;
    }
    match action::apply(&pass.treated, rule, slot) {
        Next::Go => GO,
        Next::End(verdict) => {
            pass.verdict = verdict;
            STOP
        }
    }
}

//! tc, both directions: parse, scopes, rules, guard, clocks, faults.

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_ktime_get_ns, programs::TcContext};
use aya_log_ebpf::debug;
use chaos_ebpf_common::{
    abi::{Hook, applications, control, fault, flags, stat},
    flow::Flow,
};

use crate::{
    action::{self, Next, cut, line},
    application::call,
    device::device,
    guard::note_guards,
    hook::{
        glance::{Glance, Sight, glance, loses},
        parse::{Outcome, Source, parse},
        treat::treat,
    },
    maps::{Control, NETNS, NETNS_INDEX, count},
    scope::{Sole, add_receiver, add_sender, add_sender_to},
    search::search,
    skb::{Mark, Skb, Window},
    work::{Work, work},
};

const NEXT: i32 = action::STAYS;
/// Headers of every kind we walk fit in this.
const HEADERS: u32 = 192;

/// The program. It keeps nothing but its context, so that it saves next to no registers for those who decide.
#[inline(always)]
pub fn run<const HOOK: u32>(ctx: &TcContext) -> i32 {
    let raw = ctx.skb.skb;
    let said = match at_a_glance::<HOOK>(raw) {
        UNSURE => carefully::<HOOK>(raw),
        said => said,
    };
    // From here, because a program may be replaced by another only where its stack is not deep.
    match said {
        LOOK => call(ctx, applications::LOOK),
        line::WAIT => call(ctx, applications::WAIT),
        said => said,
    }
}

/// What [`at_a_glance`] says when it takes a closer look; no verdict.
const UNSURE: i32 = i32::MIN;

/// What [`carefully`] says when the payload has to be looked into; no verdict.
const LOOK: i32 = i32::MIN + 1;

/// The verdict on a packet that plainly belongs to nobody, or to one rule that does nothing but lose. Whatever is
/// rare, a safety net that says no included, is left to the careful way, which then counts and tells.
///
/// A function of its own, for a stack and registers of its own.
#[inline(never)]
fn at_a_glance<const HOOK: u32>(raw: *mut __sk_buff) -> i32 {
    let skb = Skb::new(raw);
    if skb.is_marked() {
        return UNSURE;
    }
    let Some(netns) = NETNS.get(NETNS_INDEX.load()) else {
        return NEXT;
    };
    let side = &netns.sides[HOOK as usize];
    let mut sole = Sole::of(side.scope);
    if side.cgroup_levels | side.processes != 0 {
        if HOOK != Hook::Egress as u32 {
            // The socket is found by what the headers say.
            return UNSURE;
        }
        add_sender(&mut sole, skb, side);
    }
    let scope = match sole {
        Sole::Nobody => return NEXT,
        Sole::One(scope) => scope,
        Sole::Several => return UNSURE,
    };
    if HOOK == Hook::Egress as u32 && netns.lines != 0 && line::is_back(skb) {
        return NEXT;
    }
    let Some(control) = Control::get() else {
        return UNSURE;
    };
    let sight = Sight {
        window: skb.window(),
        ethertype: skb.protocol() as u16,
        ifindex: device(netns, skb.ifindex()),
        hook: HOOK,
    };
    let seen = match glance(control, &sight, scope) {
        Glance::Nobody => return NEXT,
        Glance::One(seen) => seen,
        Glance::Unsure => return UNSURE,
    };
    let wire_packets = skb.wire_packets();
    if seen.rule.flags & flags::CUT != 0 && wire_packets > 1 {
        // Cutting goes too deep from here.
        return UNSURE;
    }
    let Some(loss) = loses(control, netns, &seen, wire_packets) else {
        return UNSURE;
    };
    match action::after(loss, HOOK) {
        Next::End(verdict) => verdict,
        _ => NEXT,
    }
}

/// The verdict on any packet.
#[inline(never)]
fn carefully<const HOOK: u32>(raw: *mut __sk_buff) -> i32 {
    let skb = Skb::new(raw);
    match skb.take_mark() {
        Some(Mark::ForLine) if HOOK == Hook::Egress as u32 => return line::enter_copy(skb),
        Some(Mark::Piece) if HOOK == Hook::Egress as u32 => return cut::enter(skb),
        Some(_) => return NEXT,
        None => {}
    }
    let Some(netns) = NETNS.get(NETNS_INDEX.load()) else {
        return NEXT;
    };
    let side = &netns.sides[HOOK as usize];
    let by_socket = side.cgroup_levels | side.processes != 0;
    if HOOK == Hook::Egress as u32 && netns.lines != 0 && line::is_back(skb) {
        return NEXT;
    }
    let Some(control) = Control::get() else {
        return NEXT;
    };
    let Some(work) = work() else { return NEXT };
    work.netns_index = NETNS_INDEX.load();
    work.hook = HOOK;
    if control.read(control::CABLES) != 0 {
        // Now, so that what follows is not added to its wait.
        // SAFETY: a helper without arguments.
        work.came = unsafe { bpf_ktime_get_ns() };
    }
    if side.scope.id != 0 {
        work.add_scope(side.scope);
    }
    if by_socket && HOOK == Hook::Egress as u32 {
        add_sender_to(work, raw, side);
    }
    match understand(skb, work) {
        UNDERSTOOD => {}
        BROKEN => {
            debug!(
                &TcContext::new(raw),
                "not understood, passed: {} bytes, ethertype {:x}",
                skb.len(),
                u16::from_be(skb.protocol() as u16)
            );
            return NEXT;
        }
        _ => return NEXT,
    }
    work.flow = Flow::of(&work.packet, HOOK);
    if by_socket && HOOK == Hook::Ingress as u32 {
        add_receiver(work, raw, side);
    }
    search(control, work, device(netns, skb.ifindex()));
    if work.match_count == 0 {
        return NEXT;
    }
    work.wire_packets = skb.wire_packets();
    note_guards(control, work, netns);
    if work.faults & (fault::HTTP | fault::DNS) != 0 {
        return LOOK;
    }
    treat::<false>(control, skb, netns, HOOK, work)
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

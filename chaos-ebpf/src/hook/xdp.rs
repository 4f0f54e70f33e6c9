//! XDP: `partition` and `drop` of packets that arrive, where no cgroup is named. Wire packets, always.

use aya_ebpf::{
    bindings::{xdp_action, xdp_md},
    helpers::bpf_ktime_get_boot_ns,
    programs::XdpContext,
};
use chaos_ebpf_common::{
    abi::{Hook, control, stat},
    clock::{deadline_over, lease_held},
    flow::Flow,
};

use crate::{
    action::{self, Loses},
    device::device,
    each::{GO, STOP, each},
    flows::admits,
    guard::note_guards,
    hook::glance::{Glance, Sight, glance, loses},
    hook::parse::{Outcome, Source, parse},
    maps::{Control, NETNS, NETNS_INDEX, RULES, count},
    search::search,
    skb::Window,
    work::{Work, now, work},
};

const PASS: u32 = xdp_action::XDP_PASS;

/// The program. It keeps nothing but its context: the plain way and the careful one do not share a stack.
#[inline(always)]
pub fn run(ctx: &XdpContext) -> u32 {
    match at_a_glance(ctx.ctx) {
        UNSURE => carefully(ctx.ctx),
        said => said,
    }
}

/// What [`at_a_glance`] says when it takes a closer look; no verdict.
const UNSURE: u32 = u32::MAX;

/// The verdict on a packet that plainly belongs to nobody, or to one rule that does nothing but lose.
#[inline(never)]
fn at_a_glance(ctx: *mut xdp_md) -> u32 {
    let Some(netns) = NETNS.get(NETNS_INDEX.load()) else {
        return PASS;
    };
    let scope = netns.sides[Hook::Xdp as usize].scope;
    if scope.id == 0 {
        return PASS;
    }
    let Some(control) = Control::get() else {
        return PASS;
    };
    let sight = Sight {
        window: Raw(ctx).window(),
        ethertype: 0,
        ifindex: device(netns, Raw(ctx).ifindex()),
        hook: Hook::Xdp as u32,
    };
    match glance(control, &sight, scope) {
        Glance::Nobody => PASS,
        Glance::One(seen) => match loses(control, netns, &seen, 1) {
            Some(Loses::Not) => PASS,
            Some(_) => xdp_action::XDP_DROP,
            None => UNSURE,
        },
        Glance::Unsure => UNSURE,
    }
}

/// The verdict on any packet.
#[inline(never)]
fn carefully(ctx: *mut xdp_md) -> u32 {
    let raw = Raw(ctx);
    let Some(netns) = NETNS.get(NETNS_INDEX.load()) else {
        return PASS;
    };
    let Some(control) = Control::get() else {
        return PASS;
    };
    let Some(work) = work() else { return PASS };
    match parse(raw, 0, work) {
        Outcome::Ip => {}
        Outcome::Other => return PASS,
        Outcome::Broken => {
            count(stat::UNCLASSIFIED);
            return PASS;
        }
    }
    work.add_scope(netns.sides[Hook::Xdp as usize].scope);
    work.flow = Flow::of(&work.packet, Hook::Xdp as u32);
    search(control, work, device(netns, raw.ifindex()));
    if work.match_count == 0 {
        return PASS;
    }
    note_guards(control, work, netns);
    let now = now();
    if !lease_held(control.read(control::LEASE), now) {
        count(stat::LEASE_OVER);
        return PASS;
    }
    let matches = work.match_count as u32;
    let mut pass = Pass {
        work,
        now,
        boot_offset: control.read(control::BOOT_OFFSET),
        lost: false,
    };
    each(matches, one, &mut pass);
    if pass.work.guards.have_spared() {
        count(stat::GUARDED);
    }
    if pass.lost { xdp_action::XDP_DROP } else { PASS }
}

/// The context of the program.
#[derive(Clone, Copy)]
struct Raw(*mut xdp_md);

impl Raw {
    /// The device it arrives at.
    #[inline(always)]
    fn ifindex(self) -> u32 {
        // SAFETY: the context of the program.
        unsafe { core::ptr::read_volatile(&raw const (*self.0).ingress_ifindex) }
    }
}

impl Source for Raw {
    #[inline(always)]
    fn window(self) -> Window {
        // SAFETY: the context; the verifier gives both fields their packet pointer types.
        unsafe {
            let (data, end) = (
                core::ptr::read_volatile(&raw const (*self.0).data),
                core::ptr::read_volatile(&raw const (*self.0).data_end),
            );
            Window::new(data as usize, end as usize)
        }
    }
}

/// A packet on its way through the rules that name it.
struct Pass<'a> {
    work: &'a Work,
    now: u64,
    boot_offset: u64,
    lost: bool,
}

extern "C" fn one(i: u32, pass: &mut Pass<'_>) -> i64 {
    let Some(rule) = pass.work.slot(i as usize).and_then(|slot| RULES.get(slot)) else {
        return STOP;
    };
    // SAFETY: a helper without arguments.
    if deadline_over(rule.deadline, pass.now, pass.boot_offset, || unsafe {
        bpf_ktime_get_boot_ns()
    }) {
        return GO;
    }
    if pass.work.guards.spare(rule.unguard) || !admits(rule, &pass.work.flow) {
        return GO;
    }
    if matches!(action::lose(rule, 1), Loses::Not) {
        return GO;
    }
    pass.lost = true;
    STOP
}

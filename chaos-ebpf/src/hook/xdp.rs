//! XDP: `partition` and `drop` of packets that arrive, where no cgroup is named. Wire packets, always.

use aya_ebpf::{
    bindings::xdp_action,
    helpers::{bpf_ktime_get_boot_ns, bpf_ktime_get_coarse_ns},
    programs::XdpContext,
};
use chaos_ebpf_common::{
    abi::{Hook, MATCH_MAX, control, stat},
    clock::{deadline_over, lease_held},
    flow::Flow,
    frame::{Fragment, Parsed, parse},
};

use crate::{
    action::{self, Loses, fragment},
    guard::guarded,
    maps::{NETNS, NETNS_INDEX, RULES, control, count},
    search::search,
    skb::Window,
    work::work,
};

/// The program.
#[inline(always)]
pub fn run(ctx: &XdpContext) -> u32 {
    const PASS: u32 = xdp_action::XDP_PASS;
    let Some(netns) = NETNS.get(NETNS_INDEX.load()) else { return PASS };
    let scope = netns.sides[Hook::Xdp as usize].scope;
    if scope.id == 0 {
        return PASS;
    }
    let Some(work) = work() else { return PASS };
    work.packet = match parse(&Window::new(ctx.data(), ctx.data_end()), 0) {
        Parsed::Ip(packet) => packet,
        Parsed::Other => return PASS,
        Parsed::Broken => {
            count(stat::UNCLASSIFIED);
            return PASS;
        }
    };
    if work.packet.fragment as u32 != Fragment::Whole as u32 {
        fragment::remember_or_recall(&mut work.packet);
    }
    work.flow = Flow::of(&work.packet, Hook::Xdp as u32);
    // SAFETY: the context of the program.
    work.ifindex = unsafe { core::ptr::read_volatile(&raw const (*ctx.ctx).ingress_ifindex) };
    work.add_scope(scope);
    if !search(work) {
        return PASS;
    }
    if guarded(&work.packet, &work.flow, netns) {
        count(stat::GUARDED);
        return PASS;
    }
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    if !lease_held(control(control::LEASE), now) {
        count(stat::LEASE_OVER);
        return PASS;
    }
    let boot_offset = control(control::BOOT_OFFSET);
    let mut i = 0;
    while i < MATCH_MAX {
        let Some(slot) = work.slot(i) else { break };
        if let Some(rule) = RULES.get(slot) {
            // SAFETY: a helper without arguments.
            let over = deadline_over(rule.deadline, now, boot_offset, || unsafe { bpf_ktime_get_boot_ns() });
            if !over && matches!(action::lose(rule, 1), Loses::Silently | Loses::Loudly) {
                return xdp_action::XDP_DROP;
            }
        }
        i += 1;
    }
    PASS
}

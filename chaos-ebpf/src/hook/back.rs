//! The end of a line: on to the device that packets came from, in the direction they were going.

use aya_ebpf::programs::TcContext;

use chaos_ebpf_common::line::ETH_SERVICE;

use crate::{
    action::{line::of_device, wait::cable_of},
    maps::NETNS_INDEX,
    skb::{Mark, Skb},
};

/// TC_ACT_SHOT. Nothing else has to do with an entrance.
const LOST: i32 = 2;

/// The user line's, for packets that arrive.
#[inline(always)]
pub fn run(ctx: &TcContext) -> i32 {
    let skb = Skb::new(ctx.skb.skb);
    // Of an entrance, the map knows the device.
    let Some(way) = of_device(NETNS_INDEX.load(), skb.ifindex()) else {
        return LOST;
    };
    skb.mark(Mark::Ours);
    skb.let_arrive_at(way.ifindex)
}

/// The kernel line's, which brings back what [`crate::action::wait`] has noted on the packet.
#[inline(always)]
pub fn resume(skb: Skb) -> i32 {
    // SAFETY: a map value.
    let way = cable_of(NETNS_INDEX.load(), skb.ifindex()).map(|cable| unsafe { (*cable).ifindex });
    let (Some(ifindex), Some((kind, control))) = (way, skb.vlan()) else {
        return LOST;
    };
    let mark = (control as u32) << 16 | skb.index() as u32;
    if !skb.untag() {
        return LOST;
    }
    skb.set_user_mark(mark);
    // A queue of that device would keep it once more, or lose it; and would keep packets together that are not of one flow.
    skb.unstamp();
    skb.forget_hash();
    skb.mark(Mark::Ours);
    if kind == ETH_SERVICE {
        skb.let_arrive_at(ifindex)
    } else {
        skb.hand_to(ifindex)
    }
}

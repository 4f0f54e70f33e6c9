//! The end of the line for packets that arrive: on to the device they came to, as if they had just arrived there.

use aya_ebpf::programs::TcContext;

use crate::{
    action::line::of_device,
    maps::NETNS_INDEX,
    skb::{Mark, Skb},
};

/// TC_ACT_SHOT. Nothing else has to do with an entrance.
const LOST: i32 = 2;

/// The program.
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

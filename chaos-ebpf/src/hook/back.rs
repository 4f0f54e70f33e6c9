//! The end of a line: on to the device that packets came from, in the direction they were going.

use aya_ebpf::{helpers::bpf_ktime_get_ns, programs::TcContext};

use chaos_ebpf_common::{abi::Cable, line::ETH_SERVICE, way::times};

use crate::{
    action::{line::of_device, wait::cable_of},
    each::{GO, STOP, each},
    maps::NETNS_INDEX,
    skb::{Mark, Skb},
};

/// How often the clock is looked at until a packet may go on. More than enough for the longest lead.
const LOOKS: u32 = 1 << 17;
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
    if let Some(stamp) = skb.stamped() {
        be_on_time(cable_of(NETNS_INDEX.load(), ifindex), stamp);
    }
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

/// Notes how long a packet was on its way, of which processors that do so at once may lose one; and holds it for as long
/// as it was quicker than was foreseen. Of a cable that is closing, there is nothing to note any more.
#[inline(always)]
fn be_on_time(cable: Option<*mut Cable>, stamp: u64) {
    let (left, mut goes_on) = times(stamp);
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    if let Some(cable) = cable {
        // SAFETY: a map value; volatile, because other CPUs write it.
        unsafe {
            let way = &raw mut (*cable).way;
            let learnt = core::ptr::read_volatile(way).learn(now.saturating_sub(left), now);
            core::ptr::write_volatile(way, learnt);
        }
    }
    if now < goes_on {
        each(LOOKS, too_early, &mut goes_on);
    }
}

/// Whether it is not time yet.
extern "C" fn too_early(_look: u32, goes_on: &mut u64) -> i64 {
    // SAFETY: a helper without arguments.
    if unsafe { bpf_ktime_get_ns() } < *goes_on {
        GO
    } else {
        STOP
    }
}

//! The device of a packet, as rules see it.

use chaos_ebpf_common::abi::{self, LineKey, Netns};

use crate::maps::{COVERED, NETNS_INDEX};

/// Its index, with [`abi::COVERED`] where all its packets pass another device as well. Namespaces in which programs are
/// attached to such a device are rare: only a fault that names it has them there.
#[inline(always)]
pub fn device(netns: &Netns, ifindex: u32) -> u32 {
    if netns.covered == 0 {
        ifindex
    } else {
        looked_up(ifindex)
    }
}

/// A function of its own: its key takes stack that others need.
#[inline(never)]
fn looked_up(ifindex: u32) -> u32 {
    let key = LineKey {
        netns: NETNS_INDEX.load(),
        ifindex,
    };
    match COVERED.get_ptr(&key) {
        Some(_) => ifindex | abi::COVERED,
        None => ifindex,
    }
}

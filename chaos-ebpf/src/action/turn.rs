//! Turning a packet round, so that it answers itself. Headers below the transport stay as they are: options, extension
//! headers, and the place where a device that still owes a checksum will look for it.

use chaos_ebpf_common::{
    abi::{Hook, Netns},
    reply::pseudo_seed,
};

use super::{STAYS, Treated};
use crate::skb::Mark;

/// The loopback of every namespace (drivers/net/loopback.c, `loopback_net_init`).
const LOOPBACK: u32 = 1;

/// Whether a packet is on the loopback, where what leaves arrives. What is put into it anew has lost its route and is
/// refused as a martian, so there answers go on the way that their packet is on.
#[inline(always)]
pub fn on_loopback(treated: &Treated<'_>) -> bool {
    treated.skb.ifindex() == LOOPBACK
}

/// Whether the device still owes the checksum at offset `at`: the field holds the sum of the pseudo header alone.
#[inline(always)]
pub fn is_partial(treated: &Treated<'_>, at: u32) -> Option<bool> {
    const ONE: u16 = 1u16.to_be();
    let (skb, packet) = (treated.skb, treated.packet());
    if skb.gso_size() != 0 {
        return Some(true);
    }
    let check: u16 = skb.load(at)?;
    if check != pseudo_seed(packet, treated.end().saturating_sub(packet.l4)) {
        return Some(false);
    }
    // One checksum in 65,535 looks like that, too. The kernel knows: for another payload it mends the field, unless that
    // is owed (`inet_proto_csum_replace4`).
    if !skb.mend_l4(at, 0, ONE, false) {
        return None;
    }
    let owed = skb.load::<u16>(at)? == check;
    (owed || skb.mend_l4(at, ONE, 0, false)).then_some(owed)
}

/// Makes what follows the IP header `length` bytes long, in the packet and in what its header says.
#[inline(always)]
pub fn set_length(treated: &Treated<'_>, length: u32) -> bool {
    let (skb, packet) = (treated.skb, treated.packet());
    if !skb.resize(packet.l4 + length) {
        return false;
    }
    let all = packet.l4 + length - packet.l3;
    if packet.version == 4 {
        let Some(before) = skb.load::<u16>(packet.l3 + 2) else {
            return false;
        };
        let after = (all as u16).to_be();
        skb.mend_l3(packet.l3 + 10, before, after) && skb.store(packet.l3 + 2, &after, false)
    } else {
        skb.store(packet.l3 + 4, &((all - 40) as u16).to_be(), true)
    }
}

/// Swaps the IP addresses; the sum over them stays the same.
#[inline(always)]
pub fn swap_addresses(treated: &Treated<'_>) -> bool {
    let (skb, packet) = (treated.skb, treated.packet());
    if packet.version == 4 {
        let both = [packet.destination.v4_word(), packet.source.v4_word()];
        skb.store(packet.l3 + 12, &both, false)
    } else {
        let both = [packet.destination, packet.source];
        skb.store(packet.l3 + 8, &both, false)
    }
}

/// Swaps the hardware addresses and sends the packet back to where it came from.
#[inline(always)]
pub fn turn_back(treated: &Treated<'_>) -> i32 {
    let skb = treated.skb;
    if treated.packet().l3 != 0 {
        if let Some(macs) = skb.load::<[[u16; 3]; 2]>(0) {
            skb.store(0, &[macs[1], macs[0]], false);
        }
    }
    let onward = on_loopback(treated);
    if opposite_armed(treated.netns, treated.hook) && (treated.leaving() || !onward) {
        skb.mark(Mark::Ours);
    }
    if onward {
        STAYS
    } else {
        skb.turn(treated.leaving())
    }
}

/// Whether the hook that an answer will pass has programs of ours.
#[inline(always)]
fn opposite_armed(netns: &Netns, hook: u32) -> bool {
    let other = if hook == Hook::Egress as u32 {
        Hook::Ingress
    } else {
        Hook::Egress
    };
    let side = &netns.sides[other as usize];
    side.scope.id | side.cgroup_levels | side.processes != 0
}

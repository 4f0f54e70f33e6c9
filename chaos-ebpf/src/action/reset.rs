//! `reset`: established TCP flows are torn down at both ends. Also the machinery of `reject: {with: reset}`.

use aya_ebpf::{
    bindings::bpf_tcp_sock,
    helpers::{bpf_sk_fullsock, bpf_tcp_sock as tcp_sock},
};
use chaos_ebpf_common::{
    abi::{Hook, Netns, protocol, stat},
    frame::tcp,
    matching::resettable,
    reply::{Numbers, RESET_LEN, pseudo_seed, refusal, reset_header, teardown},
    rng::{Stream, hit},
};

use super::{Next, Treated, tally::Tally};
use crate::{maps::count, scope::Receiver, skb::Mark};

/// Whether this packet is to be answered with a reset: the choice is the flow's, for its whole life.
#[inline(never)]
pub fn hits(treated: &Treated<'_>, tally: &Tally<'_>) -> bool {
    let packet = treated.packet();
    if packet.protocol != protocol::TCP
        || !hit(
            tally.rule.seed,
            Stream::Reset,
            treated.work.flow.number(),
            tally.rule.reset,
        )
    {
        return false;
    }
    let Some(data_offset) = treated.skb.load::<u8>(packet.l4 + 12) else {
        return false;
    };
    let header = (data_offset >> 4) as u32 * 4;
    let payload = treated.end().saturating_sub(packet.l4 + header);
    let bare = payload == 0 && packet.tcp_flags & (tcp::SYN | tcp::RST | tcp::FIN) == 0;
    resettable(packet, payload, bare && in_handshake(treated))
}

/// Resets both ends.
#[inline(always)]
pub fn apply(tally: &Tally<'_>) -> Next {
    if !tally.spend() {
        return Next::Go;
    }
    tally.count(|counters, n| counters.reset += n);
    Next::Reset
}

/// Whether the packet's socket has not moved a byte yet, so that a bare acknowledgement ends a handshake.
#[inline(never)]
fn in_handshake(treated: &Treated<'_>) -> bool {
    if treated.leaving() {
        let socket = treated.skb.socket();
        if socket.is_null() {
            return false;
        }
        // SAFETY: the verifier knows this pointer as a socket.
        let socket = unsafe { bpf_sk_fullsock(socket) };
        if socket.is_null() {
            return false;
        }
        // SAFETY: as above.
        return untouched(unsafe { tcp_sock(socket) });
    }
    let Some(receiver) = Receiver::find(treated.skb, treated.packet(), &treated.work.flow) else {
        return false;
    };
    // SAFETY: the verifier knows this pointer as a socket.
    let fresh = untouched(unsafe { tcp_sock(receiver.raw) });
    receiver.release();
    fresh
}

/// A listener has moved no bytes, either: the acknowledgement that ends a handshake finds it.
#[inline(always)]
fn untouched(socket: *mut bpf_tcp_sock) -> bool {
    if socket.is_null() {
        return false;
    }
    // SAFETY: not null, so readable field by field.
    unsafe {
        core::ptr::read_volatile(&raw const (*socket).bytes_received) == 0
            && core::ptr::read_volatile(&raw const (*socket).data_segs_out) == 0
    }
}

/// Turns a TCP segment into a reset for its receiver (a copy) and one for its sender (itself). Headers
/// below TCP stay as they are: options, extension headers, and the place where a device that still owes
/// a checksum will look for it.
#[inline(never)]
pub fn answer(treated: &Treated<'_>) -> i32 {
    match try_answer(treated) {
        Some(verdict) => verdict,
        None => {
            // Half rewritten, perhaps: it must not go on.
            count(stat::HELPER_FAILED);
            treated.lost()
        }
    }
}

#[inline(always)]
fn try_answer(treated: &Treated<'_>) -> Option<i32> {
    let (skb, packet) = (treated.skb, treated.packet());
    let end = treated.end();
    let words: [u32; 2] = skb.load(packet.l4 + 4)?;
    let data_offset: u8 = skb.load(packet.l4 + 12)?;
    let check: u16 = skb.load(packet.l4 + 16)?;
    let segment = Numbers {
        sequence: u32::from_be(words[0]),
        acknowledgement: u32::from_be(words[1]),
        flags: packet.tcp_flags,
    };
    let payload = end.saturating_sub(packet.l4 + (data_offset >> 4) as u32 * 4);
    // The device still owes the checksum when the field holds the sum of the pseudo header alone.
    let partial = skb.gso_size() != 0 || check == pseudo_seed(packet, end.saturating_sub(packet.l4));
    if !skb.resize(packet.l4 + RESET_LEN) || !set_length(treated) {
        return None;
    }
    let opening = packet.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN;
    if !opening {
        let header = reset_header(packet, teardown(segment), false, partial);
        if !skb.store(packet.l4, &header, true) || !skb.copy(Mark::Ours, !treated.leaving()) {
            return None;
        }
    }
    let header = reset_header(packet, refusal(segment, payload), true, partial);
    if !skb.store(packet.l4, &header, true) || !swap_addresses(treated) {
        return None;
    }
    Some(turn_back(treated))
}

/// Writes the length of the shortened packet into its IP header.
#[inline(always)]
fn set_length(treated: &Treated<'_>) -> bool {
    let (skb, packet) = (treated.skb, treated.packet());
    let length = packet.l4 + RESET_LEN - packet.l3;
    if packet.version == 4 {
        let Some(before) = skb.load::<u16>(packet.l3 + 2) else {
            return false;
        };
        let after = (length as u16).to_be();
        skb.mend_l3(packet.l3 + 10, before, after) && skb.store(packet.l3 + 2, &after, false)
    } else {
        skb.store(packet.l3 + 4, &((length - 40) as u16).to_be(), true)
    }
}

/// Swaps the IP addresses; the sum over them stays the same.
#[inline(always)]
fn swap_addresses(treated: &Treated<'_>) -> bool {
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
    if opposite_armed(treated.netns, treated.hook) {
        skb.mark(Mark::Ours);
    }
    skb.turn(treated.leaving())
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

//! `reset`: established TCP flows are torn down at both ends. Also the machinery of `reject: {with: reset}`.

use aya_ebpf::{
    bindings::bpf_tcp_sock,
    helpers::{bpf_sk_fullsock, bpf_tcp_sock as tcp_sock},
};
use chaos_ebpf_common::{
    abi::{protocol, stat},
    frame::tcp,
    matching::resettable,
    reply::{Numbers, RESET_LEN, refusal, reset_header, teardown},
    rng::{Stream, hit},
};

use super::{
    Next, Treated,
    tally::Tally,
    turn::{is_partial, on_loopback, set_length, swap_addresses, turn_back},
};
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

/// Turns a TCP segment into a reset for its receiver (a copy) and one for its sender (itself).
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
    let words: [u32; 2] = skb.load(packet.l4 + 4)?;
    let data_offset: u8 = skb.load(packet.l4 + 12)?;
    let partial = is_partial(treated, packet.l4 + 16)?;
    let segment = Numbers {
        sequence: u32::from_be(words[0]),
        acknowledgement: u32::from_be(words[1]),
        flags: packet.tcp_flags,
    };
    let payload = treated
        .end()
        .saturating_sub(packet.l4 + (data_offset >> 4) as u32 * 4);
    if !set_length(treated, RESET_LEN) {
        return None;
    }
    let opening = packet.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN;
    if !opening && !tear_down(treated, segment, partial) {
        return None;
    }
    let header = reset_header(packet, refusal(segment, payload), true, partial);
    if !skb.store(packet.l4, &header, true) || !swap_addresses(treated) {
        return None;
    }
    Some(turn_back(treated))
}

/// Sends a reset to the receiver of a segment that has been cut to the length of one.
#[inline(always)]
pub fn tear_down(treated: &Treated<'_>, segment: Numbers, partial: bool) -> bool {
    let (skb, packet) = (treated.skb, treated.packet());
    let header = reset_header(packet, teardown(segment), false, partial);
    let arriving = !treated.leaving() && !on_loopback(treated);
    skb.store(packet.l4, &header, true) && skb.copy(Mark::Ours, arriving) == 0
}

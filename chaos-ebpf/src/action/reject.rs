//! `reject`: an answer instead of silence, as a firewall gives it.

use chaos_ebpf_common::{
    abi::{flags, protocol, stat},
    frame::{Fragment, tcp},
    reply::{UNREACHABLE_V4_LEN, UNREACHABLE_V6_LEN, unreachable_v4, unreachable_v6},
    rng::{Stream, hit},
};

use super::{
    Next, Treated, any_of_wire,
    reset::{answer, turn_back},
    tally::Tally,
};
use crate::maps::count;

const ECHO_REQUEST: u8 = 8;
/// ICMPv6 types below are errors, which are never answered with errors (RFC 4443, 2.4).
const FIRST_INFORMATIONAL: u8 = 128;

/// Whether this packet is refused. Resets pass: answering them would never end.
#[inline(never)]
pub fn hits(treated: &Treated<'_>, tally: &Tally<'_>) -> bool {
    let chance = any_of_wire(tally.rule.reject, tally.wire_packets);
    treated.packet().tcp_flags & tcp::RST == 0 && hit(tally.rule.seed, Stream::Reject, tally.sequence, chance)
}

/// Refuses it.
#[inline(always)]
pub fn apply(treated: &Treated<'_>, tally: &Tally<'_>) -> Next {
    if !tally.spend() {
        return Next::Go;
    }
    tally.count(|counters, n| counters.rejected += n);
    let packet = treated.packet();
    if packet.fragment as u32 != Fragment::Whole as u32 {
        return Next::End(treated.lost());
    }
    if packet.protocol == protocol::TCP && tally.rule.flags & flags::REJECT_ICMP == 0 {
        return Next::End(answer(treated));
    }
    if !answerable(treated) {
        return Next::End(treated.lost());
    }
    let verdict = if packet.version == 4 {
        answer_v4(treated)
    } else {
        answer_v6(treated)
    };
    Next::End(verdict)
}

#[inline(never)]
fn answer_v4(treated: &Treated<'_>) -> i32 {
    let (skb, packet) = (treated.skb, treated.packet());
    let Some(quote) = skb.load::<[u16; 14]>(packet.l3) else {
        return half_done(treated);
    };
    let header = unreachable_v4(packet, &quote);
    let (header_at, quote_at) = (packet.l3, packet.l3 + UNREACHABLE_V4_LEN - 28);
    if !skb.resize(packet.l3 + UNREACHABLE_V4_LEN)
        || !skb.store(header_at, &header, true)
        || !skb.store(quote_at, &quote, true)
    {
        return half_done(treated);
    }
    turn_back(treated)
}

#[inline(never)]
fn answer_v6(treated: &Treated<'_>) -> i32 {
    let (skb, packet) = (treated.skb, treated.packet());
    let Some(quote) = skb.load::<[u16; 24]>(packet.l3) else {
        return half_done(treated);
    };
    let header = unreachable_v6(packet, &quote);
    let (header_at, quote_at) = (packet.l3, packet.l3 + UNREACHABLE_V6_LEN - 48);
    if !skb.resize(packet.l3 + UNREACHABLE_V6_LEN)
        || !skb.store(header_at, &header, true)
        || !skb.store(quote_at, &quote, true)
    {
        return half_done(treated);
    }
    turn_back(treated)
}

/// A packet that is neither what it was nor an answer must not go on.
#[inline(always)]
fn half_done(treated: &Treated<'_>) -> i32 {
    count(stat::HELPER_FAILED);
    treated.lost()
}

/// Whether an ICMP error may answer it: not to errors, not to groups (RFC 1122, 3.2.2).
#[inline(always)]
fn answerable(treated: &Treated<'_>) -> bool {
    let packet = treated.packet();
    let first = packet.destination.octets();
    if packet.version == 4 {
        let group = first[12] >= 224;
        !group && (packet.protocol != protocol::ICMP || packet.icmp_type == ECHO_REQUEST)
    } else {
        let group = first[0] == 0xff;
        !group && (packet.protocol != protocol::ICMPV6 || packet.icmp_type >= FIRST_INFORMATIONAL)
    }
}

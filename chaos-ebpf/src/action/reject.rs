//! `reject`: an answer instead of silence, as a firewall gives it.

use chaos_ebpf_common::{
    abi::{flags, protocol, stat},
    frame::{Fragment, tcp},
    reply::{Quote, UNREACHABLE_V4_LEN, UNREACHABLE_V6_LEN, unreachable_v4, unreachable_v6},
    rng::{Stream, hit},
};

use super::{Next, Treated, any_of_wire, tally::Tally, turn::turn_back};
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
        return Next::Reset;
    }
    if !answerable(treated) {
        return Next::End(treated.lost());
    }
    let answered = if packet.version == 4 {
        head_v4(treated, quote_v4(treated))
    } else {
        head_v6(treated, quote_v6(treated))
    };
    Next::End(if answered {
        turn_back(treated)
    } else {
        half_done(treated)
    })
}

/// In steps of their own, since both lie on the stack: first what the answer quotes, and its sum or [`FAILED`]; then
/// the headers before it.
#[inline(never)]
fn quote_v4(treated: &Treated<'_>) -> u32 {
    let Some(mut quote) = quote::<10>(treated) else {
        return FAILED;
    };
    quote.without_options();
    put(treated, &quote, UNREACHABLE_V4_LEN)
}

#[inline(never)]
fn quote_v6(treated: &Treated<'_>) -> u32 {
    let Some(mut quote) = quote::<20>(treated) else {
        return FAILED;
    };
    quote.without_extensions(treated.packet().protocol);
    put(treated, &quote, UNREACHABLE_V6_LEN)
}

/// No sum of 16 bits.
const FAILED: u32 = u32::MAX;

#[inline(always)]
fn quote<const N: usize>(treated: &Treated<'_>) -> Option<Quote<N>> {
    Some(Quote {
        header: treated.skb.load(treated.packet().l3)?,
        transport: treated.skb.load(treated.packet().l4)?,
    })
}

/// Makes the packet one of `length` bytes that ends with the quote.
#[inline(always)]
fn put<const N: usize>(treated: &Treated<'_>, quote: &Quote<N>, length: u32) -> u32 {
    let (skb, l3) = (treated.skb, treated.packet().l3);
    if !skb.resize(l3 + length) || !skb.store(l3 + length - size_of::<Quote<N>>() as u32, quote, true) {
        return FAILED;
    }
    quote.sum() as u32
}

#[inline(never)]
fn head_v4(treated: &Treated<'_>, sum: u32) -> bool {
    let packet = treated.packet();
    sum != FAILED
        && treated
            .skb
            .store(packet.l3, &unreachable_v4(packet, sum as u16), true)
}

#[inline(never)]
fn head_v6(treated: &Treated<'_>, sum: u32) -> bool {
    let packet = treated.packet();
    sum != FAILED
        && treated
            .skb
            .store(packet.l3, &unreachable_v6(packet, sum as u16), true)
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

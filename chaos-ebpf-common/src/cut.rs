//! How a super-packet is cut into the wire packets that it stands for: as the kernel cuts it for a device that cannot
//! (net/ipv4/tcp_offload.c, `tcp_gso_segment`; net/ipv4/udp_offload.c, `__udp_gso_segment`; net/ipv4/af_inet.c,
//! `inet_gso_segment`).

use crate::abi::{Rule, flags, protocol};
use crate::frame::{Fragment, Packet, tcp};

/// Largest payload of a piece: with its headers it fits what a program may make of a packet (`BPF_SKB_MAX_LEN`).
pub const PIECE_MAX: u32 = 15_000;
/// Room for one; a power of two, for the verifier.
pub const PIECE_ROOM: u32 = 1 << 14;

/// A piece of a super-packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Offset of its payload in the super-packet.
    pub from: u32,
    /// Length of its payload.
    pub length: u32,
    /// No other comes after it.
    pub last: bool,
}

/// Whether the hook itself carries a rule out on the wire packets of such a super-packet. `size` is the payload of
/// each.
#[inline(always)]
pub fn cuts(rule: &Rule, packet: &Packet, wire_packets: u32, size: u32) -> bool {
    rule.flags & flags::CUT != 0
        && wire_packets > 1
        && size != 0
        && size <= PIECE_MAX
        && (packet.protocol == protocol::TCP || packet.protocol == protocol::UDP)
        && packet.fragment as u32 == Fragment::Whole as u32
}

/// Whether a super-packet that should be cut and is not passes, until the daemon has the rule's packets go by the user line.
#[inline(always)]
pub fn passes_uncut(rule: &Rule, wire_packets: u32) -> bool {
    const LATER: u8 = flags::CUT | flags::REFIT;
    rule.flags & LATER == LATER && wire_packets > 1
}

/// How many pieces there are between two offsets, for payloads of `size`.
#[inline(always)]
pub fn pieces(from: u32, end: u32, size: u32) -> u32 {
    if size == 0 || end <= from {
        0
    } else {
        (end - from).div_ceil(size)
    }
}

/// One of them.
#[inline(always)]
pub fn piece(from: u32, end: u32, size: u32, number: u32) -> Option<Piece> {
    let at = number.wrapping_mul(size).wrapping_add(from);
    if at < from || at >= end {
        return None;
    }
    let left = end - at;
    Some(Piece {
        from: at,
        length: if left < size { left } else { size },
        last: left <= size,
    })
}

/// TCP flags of a piece: what ends the data is said at its end, and that the window was reduced only once.
#[inline(always)]
pub fn tcp_flags(flags: u8, number: u32, last: bool) -> u8 {
    let mut kept = flags;
    if !last {
        kept &= !(tcp::FIN | tcp::PSH);
    }
    if number > 0 {
        kept &= !tcp::CWR;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_are_all_of_the_payload_in_its_order(from in 28u32..200, length in 0u32..70_000, size in 1u32..=PIECE_MAX) {
            let end = from + length;
            let count = pieces(from, end, size);
            let mut at = from;
            for number in 0..count {
                let piece = piece(from, end, size, number).unwrap();
                prop_assert_eq!(piece.from, at);
                prop_assert_eq!(piece.last, number + 1 == count);
                prop_assert!(piece.length == size || piece.last && piece.length > 0 && piece.length < size);
                at += piece.length;
            }
            prop_assert_eq!(at, end);
            prop_assert_eq!(piece(from, end, size, count), None);
            prop_assert_eq!(piece(from, end, size, u32::MAX / size), None);
        }
    }

    #[test]
    fn only_the_first_says_cwr_and_only_the_last_fin() {
        let all = 0xff;
        assert_eq!(tcp_flags(all, 0, false), 0xf6);
        assert_eq!(tcp_flags(all, 1, false), 0x76);
        assert_eq!(tcp_flags(all, 2, true), 0x7f);
        assert_eq!(tcp_flags(all, 0, true), all);
    }

    #[test]
    fn what_cannot_be_cut_passes_where_there_is_another_way() {
        let passes = |flags, wire_packets| {
            let rule = Rule {
                flags,
                ..Rule::default()
            };
            passes_uncut(&rule, wire_packets)
        };
        assert!(passes(flags::CUT | flags::REFIT, 2));
        assert!(!passes(flags::CUT | flags::REFIT, 1));
        assert!(!passes(flags::CUT, 2));
        assert!(!passes(flags::LINE_BULK | flags::REFIT, 2));
    }

    #[test]
    fn what_cannot_be_cut_is_not() {
        let rule = Rule {
            flags: flags::CUT,
            ..Rule::default()
        };
        let packet = |protocol| Packet {
            protocol,
            ..Packet::default()
        };
        assert!(cuts(&rule, &packet(protocol::TCP), 2, 1448));
        assert!(cuts(&rule, &packet(protocol::UDP), 2, 1448));
        assert!(!cuts(&Rule::default(), &packet(protocol::TCP), 2, 1448));
        assert!(!cuts(&rule, &packet(protocol::ICMP), 2, 1448));
        assert!(!cuts(&rule, &packet(protocol::TCP), 1, 0));
        assert!(!cuts(&rule, &packet(protocol::TCP), 2, 60_000));
        let fragment = Packet {
            fragment: Fragment::First,
            ..packet(protocol::TCP)
        };
        assert!(!cuts(&rule, &fragment, 2, 1448));
    }
}

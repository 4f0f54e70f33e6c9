//! Which bit `corrupt` flips: one bit of the transport payload, so that with a mended checksum exactly
//! one wrong bit reaches the application.

use crate::{
    abi::protocol,
    csum::Sum,
    frame::{Fragment, Packet},
    rng::{Stream, draw},
};

/// A bit to flip and the checksum to mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flip {
    /// Offset of the byte in the frame.
    pub at: u32,
    /// The bit, as a mask.
    pub mask: u8,
    /// Whether the byte is the first of its 16-bit word in the checksum.
    pub high: bool,
    /// Offset of the checksum field.
    pub checksum: u32,
    /// UDP over IPv4 may go without a checksum: 0 stays 0.
    pub optional: bool,
}

/// Where the transport payload starts, and where the checksum is; `None` for protocols we cannot mend.
/// `data_offset` is the byte of a TCP header that holds its length.
#[inline(always)]
pub fn layout(packet: &Packet, data_offset: u8) -> Option<(u32, u32)> {
    if packet.fragment as u32 != Fragment::Whole as u32 {
        return None;
    }
    match packet.protocol {
        protocol::TCP => {
            let header = (data_offset >> 4) as u32 * 4;
            if header < 20 {
                return None;
            }
            Some((packet.l4 + header, packet.l4 + 16))
        }
        protocol::UDP => Some((packet.l4 + 8, packet.l4 + 6)),
        protocol::ICMP | protocol::ICMPV6 => Some((packet.l4 + 8, packet.l4 + 2)),
        _ => None,
    }
}

/// The flip for draw `n`. `end` is the end of the IP packet in the frame; no payload, no flip.
#[inline(always)]
pub fn flip(packet: &Packet, data_offset: u8, end: u32, seed: u64, n: u64) -> Option<Flip> {
    let (payload, checksum) = layout(packet, data_offset)?;
    if end <= payload {
        return None;
    }
    let length = end - payload;
    let bits = draw(seed, Stream::Bit, n);
    let at = payload + (((bits >> 32) * length as u64) >> 32) as u32;
    Some(Flip {
        at,
        mask: 1 << (bits & 7),
        high: (at - packet.l4) & 1 == 0,
        checksum,
        optional: packet.version == 4 && packet.protocol == protocol::UDP,
    })
}

impl Flip {
    /// The 16-bit word of the checksum that holds `byte`, network byte order, other byte zero: a
    /// checksum is a sum, so the difference of two such words mends it.
    #[inline(always)]
    pub fn word(&self, byte: u8) -> u16 {
        let word = if self.high {
            (byte as u16) << 8
        } else {
            byte as u16
        };
        word.to_be()
    }

    /// The checksum, as it stands in the packet, after the byte has changed (RFC 1624: what was said of the old word is
    /// taken back).
    #[inline(always)]
    pub fn mend(&self, checksum: u16, before: u8, after: u8) -> u16 {
        if self.optional && checksum == 0 {
            return 0;
        }
        let mended = Sum::default()
            .word(!checksum)
            .word(!self.word(before))
            .word(self.word(after))
            .fold();
        // In UDP, 0 would mean that there is none (RFC 768).
        if self.optional && mended == 0 {
            u16::MAX
        } else {
            mended
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn the_flip_stays_in_the_payload_and_its_words_mend_the_sum(
            payload in prop::collection::vec(any::<u8>(), 1..200), seed: u64, n: u64,
        ) {
            let packet = Packet { l3: 14, l4: 34, version: 4, protocol: protocol::UDP, ..Packet::default() };
            let end = 42 + payload.len() as u32;
            let f = flip(&packet, 0, end, seed, n).unwrap();
            prop_assert!(f.at >= 42 && f.at < end);
            prop_assert_eq!(f.mask.count_ones(), 1);

            let sum = |p: &[u8]| {
                let mut bytes: Vec<u8> = p.to_vec();
                if bytes.len() % 2 == 1 { bytes.push(0); }
                bytes.chunks(2).fold(Sum::default(), |s, c| s.word(u16::from_ne_bytes([c[0], c[1]])))
            };
            let mut after = payload.clone();
            let i = (f.at - 42) as usize;
            after[i] ^= f.mask;
            // RFC 1624: HC' = ~(~HC + ~m + m').
            let mended = Sum::default().word(!sum(&payload).fold()).word(!f.word(payload[i])).word(f.word(after[i])).fold();
            let want = sum(&after).fold();
            prop_assert!(mended == want || (mended, want) == (0xffff, 0) || (mended, want) == (0, 0xffff));
        }
    }

    #[test]
    fn nothing_to_flip_without_payload_in_fragments_and_in_unknown_protocols() {
        let packet = Packet {
            l3: 14,
            l4: 34,
            version: 4,
            protocol: protocol::TCP,
            ..Packet::default()
        };
        assert_eq!(flip(&packet, 0x50, 54, 1, 1), None);
        assert!(flip(&packet, 0x50, 55, 1, 1).is_some());
        assert_eq!(flip(&packet, 0x10, 99, 1, 1), None);
        assert_eq!(
            flip(
                &Packet {
                    fragment: Fragment::First,
                    ..packet
                },
                0x50,
                99,
                1,
                1
            ),
            None
        );
        assert_eq!(
            flip(
                &Packet {
                    protocol: 47,
                    ..packet
                },
                0x50,
                99,
                1,
                1
            ),
            None
        );
    }
}

//! The packets that answer in place of the network: TCP resets and ICMP unreachables, as words ready
//! to be stored. All fields are in network byte order unless a name says host.

use crate::{
    csum::Sum,
    frame::{Packet, tcp},
};

/// Length of the TCP header of a reset.
pub const RESET_LEN: u32 = 20;
/// Length of an ICMP message: header, and the quoted IPv4 header with 8 bytes of transport.
pub const UNREACHABLE_V4_LEN: u32 = 20 + 8 + 28;
/// The same for IPv6.
pub const UNREACHABLE_V6_LEN: u32 = 40 + 8 + 48;

/// Numbers of a TCP segment, host byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// Flags.
    pub flags: u8,
}

/// The reset that the sender of a segment gets, as if nobody listened (RFC 9293, 3.10.7.1): its sequence
/// number is exactly what the sender expects next.
#[inline(always)]
pub fn refusal(segment: Numbers, payload: u32) -> Numbers {
    if segment.flags & tcp::ACK != 0 {
        return Numbers {
            sequence: segment.acknowledgement,
            acknowledgement: 0,
            flags: tcp::RST,
        };
    }
    let length =
        payload + u32::from(segment.flags & tcp::SYN != 0) + u32::from(segment.flags & tcp::FIN != 0);
    Numbers {
        sequence: 0,
        acknowledgement: segment.sequence.wrapping_add(length),
        flags: tcp::RST | tcp::ACK,
    }
}

/// The reset that the receiver of a segment gets in its stead, as if its sender had closed hard.
#[inline(always)]
pub fn teardown(segment: Numbers) -> Numbers {
    Numbers {
        flags: tcp::RST | segment.flags & tcp::ACK,
        ..segment
    }
}

/// Folded sum of the pseudo header, not complemented: what the checksum field holds while the device
/// still has to compute the rest (CHECKSUM_PARTIAL).
#[inline(always)]
pub fn pseudo_seed(packet: &Packet, length: u32) -> u16 {
    !pseudo(packet, packet.protocol, length).fold()
}

#[inline(always)]
pub(crate) fn pseudo(packet: &Packet, protocol: u8, length: u32) -> Sum {
    let (s, d) = (packet.source.words(), packet.destination.words());
    let ends = if packet.version == 4 {
        Sum::default().double(s[3]).double(d[3])
    } else {
        Sum::default()
            .double(s[0])
            .double(s[1])
            .double(s[2])
            .double(s[3])
            .double(d[0])
            .double(d[1])
            .double(d[2])
            .double(d[3])
    };
    ends.number(protocol as u16).number(length as u16)
}

/// The TCP header of a reset between the ends of `packet`; `back` turns it round. With `partial` the
/// checksum is left for the device, as it was in the packet.
#[inline(always)]
pub fn reset_header(packet: &Packet, numbers: Numbers, back: bool, partial: bool) -> [u16; 10] {
    let (from, to) = if back {
        (packet.destination_port, packet.source_port)
    } else {
        (packet.source_port, packet.destination_port)
    };
    let (sequence, acknowledgement) = (numbers.sequence.to_be(), numbers.acknowledgement.to_be());
    let mut header = [
        from.to_be(),
        to.to_be(),
        sequence as u16,
        (sequence >> 16) as u16,
        acknowledgement as u16,
        (acknowledgement >> 16) as u16,
        (0x5000 | numbers.flags as u16).to_be(),
        0,
        0,
        0,
    ];
    header[8] = if partial {
        pseudo_seed(packet, RESET_LEN)
    } else {
        pseudo(packet, packet.protocol, RESET_LEN).words(&header).fold()
    };
    header
}

/// What an ICMP error quotes of a packet: `N` words of IP header, and the first 8 bytes of transport.
/// Options and extension headers are left out, so that the quote has one length and every sender finds
/// its ports in it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote<const N: usize> {
    /// IP header.
    pub header: [u16; N],
    /// What follows it.
    pub transport: [u16; 4],
}

impl Quote<10> {
    /// Mends the header of an IPv4 packet for the lack of its options.
    #[inline(always)]
    pub fn without_options(&mut self) {
        let header = &mut self.header;
        header[0] = (u16::from_be(header[0]) & 0x00ff | 0x4500).to_be();
        header[5] = 0;
        header[5] = Sum::default().words(header).fold();
    }
}

impl Quote<20> {
    /// Mends the header of an IPv6 packet for the lack of extension headers: `protocol` follows at once.
    #[inline(always)]
    pub fn without_extensions(&mut self, protocol: u8) {
        self.header[3] = (u16::from_be(self.header[3]) & 0x00ff | (protocol as u16) << 8).to_be();
    }
}

impl<const N: usize> Quote<N> {
    /// Its part in the sum of the message.
    #[inline(always)]
    pub fn sum(&self) -> u16 {
        !Sum::default().words(&self.header).words(&self.transport).fold()
    }
}

/// IPv4 and ICMP header of a port unreachable from the destination of `packet` to its source. `quote` is
/// the sum of what follows it.
#[inline(always)]
pub fn unreachable_v4(packet: &Packet, quote: u16) -> [u16; 14] {
    let (from, to) = (packet.destination.v4_word(), packet.source.v4_word());
    // Version 4, 5 words; length; id 0, don't fragment; TTL 64, ICMP.
    let mut ip = [
        0x4500u16.to_be(),
        (UNREACHABLE_V4_LEN as u16).to_be(),
        0,
        0x4000u16.to_be(),
        0x4001u16.to_be(),
        0,
        from as u16,
        (from >> 16) as u16,
        to as u16,
        (to >> 16) as u16,
    ];
    ip[5] = Sum::default().words(&ip).fold();
    // Destination unreachable, port unreachable: a connecting socket gets ECONNREFUSED.
    let kind = 0x0303u16.to_be();
    let check = Sum::default().word(kind).word(quote).fold();
    [
        ip[0], ip[1], ip[2], ip[3], ip[4], ip[5], ip[6], ip[7], ip[8], ip[9], kind, check, 0, 0,
    ]
}

/// The same for IPv6. `quote` is the sum of what follows it.
#[inline(always)]
pub fn unreachable_v6(packet: &Packet, quote: u16) -> [u16; 24] {
    const ICMPV6: u8 = crate::abi::protocol::ICMPV6;
    let mut out = [0u16; 24];
    out[0] = 0x6000u16.to_be();
    out[2] = ((UNREACHABLE_V6_LEN - 40) as u16).to_be();
    out[3] = u16::from_be_bytes([ICMPV6, 64]).to_be();
    let (froms, tos) = (packet.destination.words(), packet.source.words());
    let mut i = 0;
    while i < 4 {
        let (from, to) = (froms[i], tos[i]);
        out[4 + 2 * i] = from as u16;
        out[5 + 2 * i] = (from >> 16) as u16;
        out[12 + 2 * i] = to as u16;
        out[13 + 2 * i] = (to >> 16) as u16;
        i += 1;
    }
    // Destination unreachable, port unreachable.
    out[20] = 0x0104u16.to_be();
    out[21] = pseudo(packet, ICMPV6, UNREACHABLE_V6_LEN - 40)
        .word(out[20])
        .word(quote)
        .fold();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{abi::protocol, address::Address};

    fn packet(version: u32) -> Packet {
        let address = |n| {
            if version == 4 {
                Address::v4(n)
            } else {
                Address([0xfd, 3 | u64::from(n) << 32])
            }
        };
        Packet {
            version,
            source: address(0x0100_000a),
            destination: address(0x0200_000a),
            source_port: 40000,
            destination_port: 443,
            protocol: protocol::TCP,
            ..Packet::default()
        }
    }

    #[test]
    fn a_syn_is_refused_with_its_number_plus_one() {
        let syn = Numbers {
            sequence: u32::MAX,
            acknowledgement: 0,
            flags: tcp::SYN,
        };
        let want = Numbers {
            sequence: 0,
            acknowledgement: 0,
            flags: tcp::RST | tcp::ACK,
        };
        assert_eq!(refusal(syn, 0), want);
    }

    #[test]
    fn data_is_refused_at_the_number_its_sender_expects() {
        let data = Numbers {
            sequence: 5,
            acknowledgement: 9,
            flags: tcp::ACK,
        };
        assert_eq!(
            refusal(data, 100),
            Numbers {
                sequence: 9,
                acknowledgement: 0,
                flags: tcp::RST
            }
        );
        assert_eq!(
            teardown(data),
            Numbers {
                flags: tcp::RST | tcp::ACK,
                ..data
            }
        );
    }

    #[test]
    fn checksums_verify() {
        for version in [4, 6] {
            let p = packet(version);
            let numbers = Numbers {
                sequence: 77,
                acknowledgement: 0,
                flags: tcp::RST,
            };
            for back in [false, true] {
                let header = reset_header(&p, numbers, back, false);
                assert_eq!(
                    pseudo(&p, protocol::TCP, 20).words(&header).fold(),
                    0,
                    "v{version} back {back}"
                );
                let seeded = reset_header(&p, numbers, back, true);
                let full = Sum::default().words(&seeded).fold();
                assert_eq!(
                    full, header[8],
                    "a device that completes the seed gets the full checksum"
                );
            }
        }
        let sum = |start: Sum, words: &[u16]| words.iter().fold(start, |s, w| s.word(*w));
        let quoted = Quote {
            header: [0x1234; 10],
            transport: [0x1234; 4],
        };
        let (v4, quote) = (unreachable_v4(&packet(4), quoted.sum()), [0x1234; 14]);
        assert_eq!(sum(Sum::default(), &v4[..10]).fold(), 0);
        assert_eq!(sum(sum(Sum::default(), &v4[10..]), &quote).fold(), 0);
        let quoted = Quote {
            header: [0x1234; 20],
            transport: [0x1234; 4],
        };
        let (v6, quote) = (unreachable_v6(&packet(6), quoted.sum()), [0x1234; 24]);
        let start = pseudo(&packet(6), protocol::ICMPV6, 56);
        assert_eq!(sum(sum(start, &v6[20..]), &quote).fold(), 0);
    }
}

//! The packets that must come back, written down from the RFCs and not from the product: compared byte by byte.

use std::net::IpAddr;

use etherparse::{IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6Header, TcpHeader};

use super::build::{Packet, Transport, flag, set_flags, v6, write_ip};

/// Numbers of a reset.
struct Numbers {
    sequence: u32,
    acknowledgement: u32,
    flags: u8,
}

impl Packet {
    /// The reset that a host sends which has no such connection (RFC 9293, 3.10.7.1): to the packet's sender.
    ///
    /// # Panics
    /// When the packet is not TCP.
    pub fn reset_back(&self) -> Vec<u8> {
        let Transport::Tcp {
            flags,
            sequence,
            acknowledgement,
        } = self.transport
        else {
            panic!("only TCP is reset: {self:?}")
        };
        let numbers = if flags & flag::ACK != 0 {
            Numbers {
                sequence: acknowledgement,
                acknowledgement: 0,
                flags: flag::RST,
            }
        } else {
            let controls = u32::from(flags & flag::SYN != 0) + u32::from(flags & flag::FIN != 0);
            let acknowledgement = sequence.wrapping_add(self.payload_len() as u32 + controls);
            Numbers {
                sequence: 0,
                acknowledgement,
                flags: flag::RST | flag::ACK,
            }
        };
        self.reset(true, &numbers)
    }

    /// The reset that the packet's receiver gets in its stead: as if the sender had closed hard at this point.
    ///
    /// # Panics
    /// When the packet is not TCP.
    pub fn reset_onward(&self) -> Vec<u8> {
        let Transport::Tcp {
            flags,
            sequence,
            acknowledgement,
        } = self.transport
        else {
            panic!("only TCP is reset: {self:?}")
        };
        self.reset(
            false,
            &Numbers {
                sequence,
                acknowledgement,
                flags: flag::RST | flags & flag::ACK,
            },
        )
    }

    fn reset(&self, back: bool, numbers: &Numbers) -> Vec<u8> {
        let (source, destination) = self.addresses();
        let (from, to) = self.ports();
        let (source, destination, from, to) = if back {
            (destination, source, to, from)
        } else {
            (source, destination, from, to)
        };
        let mut tcp = TcpHeader::new(from, to, numbers.sequence, 0);
        tcp.acknowledgment_number = numbers.acknowledgement;
        set_flags(&mut tcp, numbers.flags);
        tcp.checksum = match (source, destination) {
            (IpAddr::V4(s), IpAddr::V4(d)) => tcp.calc_checksum_ipv4_raw(s.octets(), d.octets(), &[]),
            (s, d) => tcp.calc_checksum_ipv6_raw(v6(s), v6(d), &[]),
        }
        .expect("an empty payload");
        let mut frame = self.ethernet(back);
        // Everything of the IP header but its addresses and length stays, options and extension headers too.
        let mut ip = self.ip_headers(source, destination);
        ip.set_next_headers(IpNumber::TCP);
        write_ip(&mut frame, ip, &tcp.to_bytes());
        frame
    }

    /// "Port unreachable" from the packet's destination (RFC 792; RFC 4443, 3.1), quoting its start.
    pub fn unreachable(&self) -> Vec<u8> {
        let (source, destination) = self.addresses();
        let whole = self.frame();
        let l3 = self.l3();
        let mut frame = self.ethernet(true);
        match (source, destination) {
            (IpAddr::V4(s), IpAddr::V4(d)) => {
                // The header without its options, and 64 bits of what it carries.
                let mut quoted = Ipv4Header::from_slice(&whole[l3..]).expect("we wrote it").0;
                quoted.options = etherparse::Ipv4Options::new();
                quoted.header_checksum = quoted.calc_header_checksum();
                let mut message = vec![3, 3, 0, 0, 0, 0, 0, 0];
                message.extend(quoted.to_bytes());
                message.extend(&whole[self.l4()..self.l4() + 8]);
                let sum = etherparse::checksum::Sum16BitWords::new()
                    .add_slice(&message)
                    .ones_complement();
                message[2..4].copy_from_slice(&sum.to_ne_bytes());
                let mut header =
                    Ipv4Header::new(0, 64, IpNumber::ICMP, d.octets(), s.octets()).expect("it fits");
                header.dont_fragment = true;
                write_ip(
                    &mut frame,
                    IpHeaders::Ipv4(header, Ipv4Extensions::default()),
                    &message,
                );
            }
            (s, d) => {
                // The same, without extension headers.
                let mut quoted = whole[l3..l3 + 40].to_vec();
                quoted[6] = self.number().0;
                let mut message = vec![1, 4, 0, 0, 0, 0, 0, 0];
                message.extend(quoted);
                message.extend(&whole[self.l4()..self.l4() + 8]);
                let sum = etherparse::checksum::Sum16BitWords::new()
                    .add_16bytes(v6(s))
                    .add_16bytes(v6(d))
                    .add_4bytes((message.len() as u32).to_be_bytes())
                    .add_2bytes([0, IpNumber::IPV6_ICMP.0])
                    .add_slice(&message)
                    .ones_complement();
                message[2..4].copy_from_slice(&sum.to_ne_bytes());
                let header = Ipv6Header {
                    hop_limit: 64,
                    next_header: IpNumber::IPV6_ICMP,
                    source: v6(d),
                    destination: v6(s),
                    ..Ipv6Header::default()
                };
                write_ip(
                    &mut frame,
                    IpHeaders::Ipv6(header, Ipv6Extensions::default()),
                    &message,
                );
            }
        }
        frame
    }
}

//! The packets that must come back, written down from the RFCs and not from the product: compared byte by byte.

use std::net::IpAddr;

use etherparse::{
    IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6Header, TcpHeader, TcpOptions,
    UdpHeader,
};

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

    /// The segment that answers a request: it carries these bytes and ends the connection; time stamps are turned round,
    /// other options left out.
    ///
    /// # Panics
    /// When the packet is not TCP.
    pub fn response(&self, bytes: &[u8]) -> Vec<u8> {
        let (sequence, acknowledgement) = self.numbers();
        let mut tcp = TcpHeader::new(0, 0, acknowledgement, u16::MAX);
        tcp.acknowledgment_number = sequence.wrapping_add(self.payload_len() as u32);
        set_flags(&mut tcp, flag::ACK | flag::PSH | flag::FIN);
        self.segment_back(tcp, bytes)
    }

    /// The acknowledgement of what a client sends after a response of so many bytes to `request`.
    ///
    /// # Panics
    /// When either is not TCP.
    pub fn acknowledged(&self, request: &Self, response: usize) -> Vec<u8> {
        let Transport::Tcp { flags, sequence, .. } = self.transport else {
            panic!("only TCP is acknowledged: {self:?}")
        };
        let next = request.numbers().1.wrapping_add(response as u32).wrapping_add(1);
        let mut tcp = TcpHeader::new(0, 0, next, u16::MAX);
        let fin = u32::from(flags & flag::FIN != 0);
        tcp.acknowledgment_number = sequence.wrapping_add(self.payload_len() as u32).wrapping_add(fin);
        set_flags(&mut tcp, flag::ACK);
        self.segment_back(tcp, &[])
    }

    fn numbers(&self) -> (u32, u32) {
        match self.transport {
            Transport::Tcp {
                sequence,
                acknowledgement,
                ..
            } => (sequence, acknowledgement),
            _ => panic!("no TCP: {self:?}"),
        }
    }

    /// With its ends, its options and its checksum.
    fn segment_back(&self, mut tcp: TcpHeader, bytes: &[u8]) -> Vec<u8> {
        let (source, destination) = self.addresses();
        (tcp.destination_port, tcp.source_port) = self.ports();
        if let Some(stamps) = self.tcp_options.strip_prefix(&[1, 1, 8, 10]) {
            let turned = [&[1, 1, 8, 10], &stamps[4..8], &stamps[..4]].concat();
            tcp.options = TcpOptions::try_from_slice(&turned).expect("twelve bytes");
        }
        tcp.checksum = match (destination, source) {
            (IpAddr::V4(s), IpAddr::V4(d)) => tcp.calc_checksum_ipv4_raw(s.octets(), d.octets(), bytes),
            (s, d) => tcp.calc_checksum_ipv6_raw(v6(s), v6(d), bytes),
        }
        .expect("a small segment");
        let mut frame = self.ethernet(true);
        let mut ip = self.ip_headers(destination, source);
        ip.set_next_headers(IpNumber::TCP);
        write_ip(&mut frame, ip, &[&tcp.to_bytes(), bytes].concat());
        frame
    }

    /// The datagram with these bytes that comes back.
    ///
    /// # Panics
    /// When it is longer than a datagram may be.
    pub fn datagram_back(&self, bytes: &[u8]) -> Vec<u8> {
        let (source, destination) = self.addresses();
        let (from, to) = self.ports();
        let mut udp = UdpHeader {
            source_port: to,
            destination_port: from,
            length: u16::try_from(8 + bytes.len()).expect("a small datagram"),
            checksum: 0,
        };
        udp.checksum = match (destination, source) {
            (IpAddr::V4(s), IpAddr::V4(d)) => udp.calc_checksum_ipv4_raw(s.octets(), d.octets(), bytes),
            (s, d) => udp.calc_checksum_ipv6_raw(v6(s), v6(d), bytes),
        }
        .expect("a small datagram");
        let mut frame = self.ethernet(true);
        let mut ip = self.ip_headers(destination, source);
        ip.set_next_headers(IpNumber::UDP);
        write_ip(&mut frame, ip, &[&udp.to_bytes(), bytes].concat());
        frame
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

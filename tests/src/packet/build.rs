//! Frames, built by a library that shares no code with the product.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{
    EtherType, Ethernet2Header, IcmpEchoHeader, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type,
    IpFragOffset, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv4Options, Ipv6Extensions,
    Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader, Ipv6RoutingExtensions, SingleVlanHeader, TcpHeader,
    TcpOptions, UdpHeader, VlanId, VlanPcp,
};

/// Hardware address of the target in every frame; no device has it, so that no stack answers.
pub const NEAR_MAC: [u8; 6] = [0x02, 0, 0, 0, 0x99, 0x01];
/// Hardware address of the other end.
pub const FAR_MAC: [u8; 6] = [0x02, 0, 0, 0, 0x99, 0x02];
/// Address of the target.
pub const NEAR_V4: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// Address of the other end.
pub const FAR_V4: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
/// Address of the target.
pub const NEAR_V6: Ipv6Addr = Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 1);
/// Address of the other end.
pub const FAR_V6: Ipv6Addr = Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 2);

/// TCP flags.
pub mod flag {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

/// What the IP packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp {
        flags: u8,
        sequence: u32,
        acknowledgement: u32,
    },
    Udp,
    EchoRequest,
    EchoReply,
    /// ICMP or ICMPv6 of another type.
    Icmp {
        kind: u8,
    },
    /// Bytes of another protocol.
    Other(u8),
}

/// An IPv6 extension header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    HopByHop,
    Routing,
    DestinationOptions,
}

/// Where a fragment lies in its datagram.
#[derive(Clone, Copy, Debug)]
struct Piece {
    id: u32,
    /// In eights of bytes.
    offset: u16,
    more: bool,
}

/// A packet between the target (near) and the other end (far).
#[derive(Clone, Debug)]
pub struct Packet {
    pub(super) family: Family,
    pub(super) transport: Transport,
    pub(super) arriving: bool,
    near: IpAddr,
    far: IpAddr,
    near_port: u16,
    far_port: u16,
    payload: Vec<u8>,
    tags: Vec<(u16, u16)>,
    ip_options: bool,
    pub(super) tcp_options: Vec<u8>,
    extensions: Vec<Extension>,
    piece: Option<Piece>,
    padding: usize,
}

impl Packet {
    /// From the target's port 40000 to the far port 7777, with 64 bytes of payload.
    pub fn leaving(family: Family, transport: Transport) -> Self {
        let (near, far) = match family {
            Family::V4 => (NEAR_V4.into(), FAR_V4.into()),
            Family::V6 => (NEAR_V6.into(), FAR_V6.into()),
        };
        Self {
            family,
            transport,
            arriving: false,
            near,
            far,
            near_port: 40_000,
            far_port: 7_777,
            payload: (0..64).collect(),
            tags: Vec::new(),
            ip_options: false,
            tcp_options: TIMESTAMPS.to_vec(),
            extensions: Vec::new(),
            piece: None,
            padding: 0,
        }
    }

    /// The same flow, the other way.
    pub fn arriving(family: Family, transport: Transport) -> Self {
        Self {
            arriving: true,
            ..Self::leaving(family, transport)
        }
    }

    /// Another far end, of either family.
    #[must_use]
    pub fn with_far(mut self, far: IpAddr) -> Self {
        self.family = if far.is_ipv4() { Family::V4 } else { Family::V6 };
        self.near = if far.is_ipv4() {
            NEAR_V4.into()
        } else {
            NEAR_V6.into()
        };
        self.far = far;
        self
    }

    #[must_use]
    pub fn with_ports(mut self, near: u16, far: u16) -> Self {
        (self.near_port, self.far_port) = (near, far);
        self
    }

    /// So many bytes of payload.
    #[must_use]
    pub fn with_payload(mut self, bytes: usize) -> Self {
        self.payload = (0..bytes).map(|i| (i * 7) as u8).collect();
        self
    }

    /// This payload.
    #[must_use]
    pub fn with_bytes(mut self, bytes: &[u8]) -> Self {
        self.payload = bytes.to_vec();
        self
    }

    /// TCP options, a multiple of four bytes, in place of Linux's time stamps.
    #[must_use]
    pub fn with_tcp_options(mut self, options: &[u8]) -> Self {
        self.tcp_options = options.to_vec();
        self
    }

    /// VLAN tags, outermost first: type field and number.
    #[must_use]
    pub fn with_tags(mut self, tags: &[(u16, u16)]) -> Self {
        self.tags = tags.to_vec();
        self
    }

    /// Eight bytes of IPv4 options.
    #[must_use]
    pub fn with_ip_options(mut self) -> Self {
        self.ip_options = true;
        self
    }

    /// IPv6 extension headers before the transport.
    #[must_use]
    pub fn with_extensions(mut self, extensions: &[Extension]) -> Self {
        self.extensions = extensions.to_vec();
        self
    }

    /// A fragment; with an offset above 0 the payload stands where the transport header would.
    #[must_use]
    pub fn as_fragment(mut self, id: u32, offset: u16, more: bool) -> Self {
        self.piece = Some(Piece { id, offset, more });
        self
    }

    /// Bytes of link-layer padding behind the IP packet.
    #[must_use]
    pub fn with_padding(mut self, bytes: usize) -> Self {
        self.padding = bytes;
        self
    }

    pub(super) fn addresses(&self) -> (IpAddr, IpAddr) {
        if self.arriving {
            (self.far, self.near)
        } else {
            (self.near, self.far)
        }
    }

    pub(super) fn ports(&self) -> (u16, u16) {
        if self.arriving {
            (self.far_port, self.near_port)
        } else {
            (self.near_port, self.far_port)
        }
    }

    pub(super) fn payload_len(&self) -> usize {
        self.payload.len()
    }

    /// The whole frame, from its Ethernet header, with right checksums.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = self.ethernet(false);
        let (number, transport) = match self.piece {
            Some(Piece { offset: 1.., .. }) => (self.number(), self.payload.clone()),
            _ => self.transport_bytes(),
        };
        let (source, destination) = self.addresses();
        let mut ip = self.ip_headers(source, destination);
        ip.set_next_headers(number);
        write_ip(&mut frame, ip, &transport);
        frame.resize(frame.len() + self.padding, 0);
        frame
    }

    /// Whether it carries TCP.
    pub fn is_tcp(&self) -> bool {
        matches!(self.transport, Transport::Tcp { .. })
    }

    /// Offset of the IP header.
    pub fn l3(&self) -> usize {
        14 + 4 * self.tags.len()
    }

    /// Offset of the transport header.
    pub fn l4(&self) -> usize {
        let (source, destination) = self.addresses();
        self.l3() + self.ip_headers(source, destination).header_len()
    }

    /// Offset of the transport's payload.
    pub fn payload_at(&self) -> usize {
        self.l4()
            + match self.transport {
                Transport::Tcp { .. } => 20 + self.tcp_options.len(),
                Transport::Other(_) => 0,
                _ => 8,
            }
    }

    /// Ethernet header and tags; `back` turns it round.
    pub(super) fn ethernet(&self, back: bool) -> Vec<u8> {
        let to_near = self.arriving != back;
        let (source, destination) = if to_near {
            (FAR_MAC, NEAR_MAC)
        } else {
            (NEAR_MAC, FAR_MAC)
        };
        let ip = match self.family {
            Family::V4 => EtherType::IPV4,
            Family::V6 => EtherType::IPV6,
        };
        let types: Vec<EtherType> = self
            .tags
            .iter()
            .map(|(kind, _)| EtherType(*kind))
            .chain([ip])
            .collect();
        let mut frame = Vec::new();
        let ethernet = Ethernet2Header {
            source,
            destination,
            ether_type: types[0],
        };
        ethernet.write(&mut frame).expect("a Vec takes it");
        for ((_, id), ether_type) in self.tags.iter().zip(&types[1..]) {
            let tag = SingleVlanHeader {
                pcp: VlanPcp::ZERO,
                drop_eligible_indicator: false,
                vlan_id: VlanId::try_new(*id).expect("12 bits"),
                ether_type: *ether_type,
            };
            tag.write(&mut frame).expect("a Vec takes it");
        }
        frame
    }

    /// IP and extension headers, without next header and length.
    pub(super) fn ip_headers(&self, source: IpAddr, destination: IpAddr) -> IpHeaders {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header = Ipv4Header::new(0, 57, IpNumber::UDP, source.octets(), destination.octets())
                    .expect("an empty payload fits");
                header.identification = 0x4321;
                header.dont_fragment = self.piece.is_none();
                if let Some(piece) = self.piece {
                    header.identification = piece.id as u16;
                    header.more_fragments = piece.more;
                    header.fragment_offset = IpFragOffset::try_new(piece.offset).expect("13 bits");
                }
                if self.ip_options {
                    header.options =
                        Ipv4Options::try_from(&[1u8, 1, 1, 1, 1, 1, 1, 0][..]).expect("eight bytes");
                }
                IpHeaders::Ipv4(header, Ipv4Extensions::default())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let header = Ipv6Header {
                    traffic_class: 0x20,
                    hop_limit: 57,
                    source: source.octets(),
                    destination: destination.octets(),
                    ..Ipv6Header::default()
                };
                IpHeaders::Ipv6(header, self.extension_headers())
            }
            _ => unreachable!("both ends are of one family"),
        }
    }

    fn extension_headers(&self) -> Ipv6Extensions {
        // PadN over the whole header; of a routing header: type 253 (experiments), no segments left.
        let raw = |body: &[u8]| {
            Ipv6RawExtHeader::new_raw(IpNumber::UDP, body).expect("a length that such headers have")
        };
        let mut headers = Ipv6Extensions::default();
        for extension in &self.extensions {
            match extension {
                Extension::HopByHop => headers.hop_by_hop_options = Some(raw(&[1, 4, 0, 0, 0, 0])),
                Extension::DestinationOptions => {
                    headers.destination_options = Some(raw(&[1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
                }
                Extension::Routing => {
                    headers.routing = Some(Ipv6RoutingExtensions {
                        routing: raw(&[253, 0, 0, 0, 0, 0]),
                        final_destination_options: None,
                    });
                }
            }
        }
        if let Some(piece) = self.piece {
            let offset = IpFragOffset::try_new(piece.offset).expect("13 bits");
            headers.fragment = Some(Ipv6FragmentHeader::new(
                IpNumber::UDP,
                offset,
                piece.more,
                piece.id,
            ));
        }
        headers
    }

    pub(super) fn number(&self) -> IpNumber {
        match self.transport {
            Transport::Tcp { .. } => IpNumber::TCP,
            Transport::Udp => IpNumber::UDP,
            Transport::Other(number) => IpNumber(number),
            _ if self.family == Family::V4 => IpNumber::ICMP,
            _ => IpNumber::IPV6_ICMP,
        }
    }

    fn transport_bytes(&self) -> (IpNumber, Vec<u8>) {
        let mut bytes = Vec::new();
        let (source_port, destination_port) = self.ports();
        match self.transport {
            Transport::Tcp {
                flags,
                sequence,
                acknowledgement,
            } => {
                let mut header = TcpHeader::new(source_port, destination_port, sequence, 1024);
                header.acknowledgment_number = acknowledgement;
                set_flags(&mut header, flags);
                header.options = TcpOptions::try_from_slice(&self.tcp_options).expect("at most 40 bytes");
                header.checksum = self.tcp_checksum(&header, &self.payload);
                header.write(&mut bytes).expect("a Vec takes it");
            }
            Transport::Udp => {
                let length = 8 + self.payload.len() as u16;
                let mut header = UdpHeader {
                    source_port,
                    destination_port,
                    length,
                    checksum: 0,
                };
                header.checksum = match self.addresses() {
                    (IpAddr::V4(s), IpAddr::V4(d)) => {
                        header.calc_checksum_ipv4_raw(s.octets(), d.octets(), &self.payload)
                    }
                    (s, d) => header.calc_checksum_ipv6_raw(v6(s), v6(d), &self.payload),
                }
                .expect("a payload below 64 KiB");
                header.write(&mut bytes).expect("a Vec takes it");
            }
            Transport::Other(_) => {}
            Transport::EchoRequest | Transport::EchoReply | Transport::Icmp { .. } => {
                let (source, destination) = self.addresses();
                bytes = icmp(self.family, self.transport, source, destination, &self.payload);
            }
        }
        bytes.extend(&self.payload);
        (self.number(), bytes)
    }

    pub(super) fn tcp_checksum(&self, header: &TcpHeader, payload: &[u8]) -> u16 {
        match self.addresses() {
            (IpAddr::V4(s), IpAddr::V4(d)) => header.calc_checksum_ipv4_raw(s.octets(), d.octets(), payload),
            (s, d) => header.calc_checksum_ipv6_raw(v6(s), v6(d), payload),
        }
        .expect("a payload below 64 KiB")
    }
}

/// Two fillers and a timestamp, as Linux sends them: without options a wrong header length would not be noticed.
const TIMESTAMPS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];

pub(super) fn set_flags(header: &mut TcpHeader, flags: u8) {
    header.fin = flags & flag::FIN != 0;
    header.syn = flags & flag::SYN != 0;
    header.rst = flags & flag::RST != 0;
    header.psh = flags & flag::PSH != 0;
    header.ack = flags & flag::ACK != 0;
}

/// Appends IP headers with their lengths and checksum, and what they carry.
pub(super) fn write_ip(frame: &mut Vec<u8>, mut ip: IpHeaders, payload: &[u8]) {
    ip.set_payload_len(payload.len()).expect("a packet below 64 KiB");
    if let IpHeaders::Ipv4(header, _) = &mut ip {
        header.header_checksum = header.calc_header_checksum();
    }
    ip.write(frame).expect("a Vec takes it");
    frame.extend(payload);
}

fn icmp(
    family: Family,
    transport: Transport,
    source: IpAddr,
    destination: IpAddr,
    payload: &[u8],
) -> Vec<u8> {
    let echo = IcmpEchoHeader { id: 0x1234, seq: 9 };
    if family == Family::V4 {
        let kind = match transport {
            Transport::EchoRequest => Icmpv4Type::EchoRequest(echo),
            Transport::EchoReply => Icmpv4Type::EchoReply(echo),
            Transport::Icmp { kind } => Icmpv4Type::Unknown {
                type_u8: kind,
                code_u8: 0,
                bytes5to8: [0; 4],
            },
            _ => unreachable!("not ICMP"),
        };
        return Icmpv4Header::with_checksum(kind, payload).to_bytes().to_vec();
    }
    let kind = match transport {
        Transport::EchoRequest => Icmpv6Type::EchoRequest(echo),
        Transport::EchoReply => Icmpv6Type::EchoReply(echo),
        Transport::Icmp { kind } => Icmpv6Type::Unknown {
            type_u8: kind,
            code_u8: 0,
            bytes5to8: [0; 4],
        },
        _ => unreachable!("not ICMP"),
    };
    let header = Icmpv6Header::with_checksum(kind, v6(source), v6(destination), payload);
    header.expect("a payload below 64 KiB").to_bytes().to_vec()
}

pub(super) fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => panic!("{address} in an IPv6 packet"),
    }
}

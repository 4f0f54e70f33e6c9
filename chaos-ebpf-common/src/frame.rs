//! Packet headers, from link layer to ports: Ethernet with up to two VLAN tags or bare IP, IPv4 with
//! options, IPv6 with extension headers, fragments, TCP, UDP, ICMP.

use network_types::eth::{EthHdr, EtherType};

use crate::{abi::protocol, address::Address};

/// Bytes of a packet. `None` past its end. The kernel reads the packet in place, tests a slice.
pub trait Frame {
    /// One byte at `at`.
    fn u8(&self, at: u32) -> Option<u8>;
    /// Two bytes at `at`, as they stand (network byte order).
    fn u16(&self, at: u32) -> Option<u16>;
    /// Four bytes at `at`, as they stand.
    fn u32(&self, at: u32) -> Option<u32>;
    /// The fixed part of an IPv4 header, as it stands. All at once: each look at a packet costs the kernel
    /// programs a check of its bounds.
    fn ipv4(&self, at: u32) -> Option<[u32; 5]>;
    /// The fixed part of an IPv6 header.
    fn ipv6(&self, at: u32) -> Option<[u64; 5]>;
}

impl Frame for [u8] {
    fn u8(&self, at: u32) -> Option<u8> {
        self.get(at as usize).copied()
    }
    fn u16(&self, at: u32) -> Option<u16> {
        let b = self.get(at as usize..at as usize + 2)?;
        Some(u16::from_ne_bytes([b[0], b[1]]))
    }
    fn u32(&self, at: u32) -> Option<u32> {
        let b = self.get(at as usize..at as usize + 4)?;
        Some(u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
    }
    fn ipv4(&self, at: u32) -> Option<[u32; 5]> {
        let bytes = self.get(at as usize..at as usize + 20)?;
        Some(core::array::from_fn(|i| bytes.u32(4 * i as u32).unwrap_or(0)))
    }
    fn ipv6(&self, at: u32) -> Option<[u64; 5]> {
        let bytes = self.get(at as usize..at as usize + 40)?;
        let (words, _) = bytes.as_chunks::<8>();
        Some(core::array::from_fn(|i| u64::from_ne_bytes(words[i])))
    }
}

/// EtherType of IPv4, host byte order.
pub const ETH_IPV4: u16 = u16::from_be(EtherType::Ipv4 as u16);
/// EtherType of IPv6.
pub const ETH_IPV6: u16 = u16::from_be(EtherType::Ipv6 as u16);
const ETH_VLAN: u16 = u16::from_be(EtherType::Ieee8021q as u16);
const ETH_QINQ: u16 = u16::from_be(EtherType::Ieee8021ad as u16);
/// Length of an Ethernet header.
pub const ETH_LEN: u32 = EthHdr::LEN as u32;
/// Most extension headers that are walked.
pub const EXTENSIONS: u32 = 6;
/// No header starts further in.
const REACH: u32 = 0x3fff;

/// TCP flags.
pub mod tcp {
    /// No more data.
    pub const FIN: u8 = 0x01;
    /// Set up.
    pub const SYN: u8 = 0x02;
    /// Refused or torn down.
    pub const RST: u8 = 0x04;
    /// What came so far is to be read at once.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 0x10;
    /// The congestion window was reduced.
    pub const CWR: u8 = 0x80;
}

/// Where a packet stands in a fragmented datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum Fragment {
    /// Not fragmented.
    #[default]
    Whole,
    /// The first fragment: it has the ports.
    First,
    /// A later fragment: no transport header of its own.
    Later,
}

/// A packet whose headers were understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Offset of the IP header; 0 when there is no link layer.
    pub l3: u32,
    /// Offset of the transport header.
    pub l4: u32,
    /// End of the IP packet (offset); padding of the link layer lies behind it.
    pub end: u32,
    /// Fragment identification, if a fragment.
    pub fragment_id: u32,
    /// Source port, host byte order; the ICMP type and code otherwise 0.
    pub source_port: u16,
    /// Destination port, host byte order.
    pub destination_port: u16,
    /// 4 or 6.
    pub version: u32,
    /// Transport protocol on the wire.
    pub protocol: u8,
    /// TCP flags, or 0.
    pub tcp_flags: u8,
    /// ICMP type, or 0.
    pub icmp_type: u8,
    /// Place in a fragmented datagram.
    pub fragment: Fragment,
}

impl Packet {
    /// Whether the ports are known.
    #[inline(always)]
    pub fn has_ports(&self) -> bool {
        self.protocol == protocol::TCP || self.protocol == protocol::UDP
    }
}

/// What parsing found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// An IP packet.
    Ip(Packet),
    /// Another protocol, ARP above all: never faulted.
    Other,
    /// IP that is cut short or malformed: passes, and is counted.
    Broken,
}

/// Parses the headers of a frame. `ethertype` is what the kernel knows of the packet (`skb->protocol`,
/// network byte order, VLAN tags held in metadata already taken off), or 0 when it knows nothing (XDP).
///
/// The kernel calls the four steps by itself, with its own kind of loop: see `hook/parse.rs` there.
pub fn parse<F: Frame + ?Sized>(frame: &F, ethertype: u16) -> Parsed {
    let Some((l3, kind)) = link_layer(frame, ethertype) else {
        return Parsed::Other;
    };
    let Some(mut packet) = network(frame, l3, kind) else {
        return Parsed::Broken;
    };
    if packet.version == 6 {
        for _ in 0..EXTENSIONS {
            match extension(frame, &mut packet) {
                Some(true) => {}
                Some(false) => break,
                None => return Parsed::Broken,
            }
        }
    }
    match transport(frame, &mut packet) {
        Some(()) => Parsed::Ip(packet),
        None => Parsed::Broken,
    }
}

/// The headers of a packet as most are: Ethernet without tags, IPv4 without options or IPv6 without extension headers,
/// whole. `None` for all others, which [`parse`] understands. `ethertype` as there.
#[inline(always)]
pub fn plain<F: Frame + ?Sized>(frame: &F, ethertype: u16) -> Option<Packet> {
    let kind = frame.u16(12)?;
    if ethertype != 0 && ethertype != kind {
        return None;
    }
    let mut packet = match u16::from_be(kind) {
        ETH_IPV4 => ipv4(frame, ETH_LEN)?,
        ETH_IPV6 => ipv6(frame, ETH_LEN)?,
        _ => return None,
    };
    let (l4, more) = if packet.version == 4 {
        (ETH_LEN + 20, packet.fragment as u32 != Fragment::Whole as u32)
    } else {
        (ETH_LEN + 40, is_extension(packet.protocol))
    };
    if packet.l4 != l4 || more {
        return None;
    }
    packet.l4 = l4;
    transport(frame, &mut packet)?;
    Some(packet)
}

/// Offset and EtherType of the network layer. A frame whose type field does not say what the kernel
/// says has no link layer (tun, wireguard and the like): then it starts with the IP version.
#[inline(always)]
pub fn link_layer<F: Frame + ?Sized>(frame: &F, ethertype: u16) -> Option<(u32, u16)> {
    let known = u16::from_be(ethertype);
    let mut at = ETH_LEN;
    let mut kind = u16::from_be(frame.u16(12).unwrap_or(0));
    if known != 0 && kind != known && kind != ETH_VLAN && kind != ETH_QINQ {
        let version = frame.u8(0)? >> 4;
        return if is_ip(known, version) {
            Some((0, known))
        } else {
            None
        };
    }
    if kind == ETH_VLAN || kind == ETH_QINQ {
        kind = u16::from_be(frame.u16(at + 2)?);
        at += 4;
        if kind == ETH_VLAN {
            kind = u16::from_be(frame.u16(at + 2)?);
            at += 4;
        }
    }
    if kind == ETH_IPV4 || kind == ETH_IPV6 {
        Some((at, kind))
    } else {
        None
    }
}

#[inline(always)]
fn is_ip(kind: u16, version: u8) -> bool {
    kind == ETH_IPV4 && version == 4 || kind == ETH_IPV6 && version == 6
}

/// The IP header, up to the first byte behind its fixed part. For IPv6, `protocol` and `l4` are those of
/// the next header, which may be an [`extension`]. `None`: cut short or malformed.
#[inline(always)]
pub fn network<F: Frame + ?Sized>(frame: &F, l3: u32, kind: u16) -> Option<Packet> {
    if kind == ETH_IPV4 {
        ipv4(frame, l3)
    } else {
        ipv6(frame, l3)
    }
}

#[inline(always)]
fn ipv4<F: Frame + ?Sized>(frame: &F, l3: u32) -> Option<Packet> {
    let words = frame.ipv4(l3)?;
    let [first, second, third] = [
        u32::from_be(words[0]),
        u32::from_be(words[1]),
        u32::from_be(words[2]),
    ];
    let header = (first >> 24 & 0x0f) * 4;
    if first >> 28 != 4 || header < 20 {
        return None;
    }
    let total = first & 0xffff;
    let fragment = match (second & 0x1fff, second & 0x2000) {
        (0, 0) => Fragment::Whole,
        (0, _) => Fragment::First,
        _ => Fragment::Later,
    };
    Some(Packet {
        source: Address::v4(words[3]),
        destination: Address::v4(words[4]),
        l3,
        l4: l3 + header,
        // BIG TCP writes 0 into the length of packets over 64 KiB.
        end: if total == 0 { u32::MAX } else { l3 + total },
        fragment_id: second >> 16,
        version: 4,
        protocol: (third >> 16) as u8,
        fragment,
        ..Packet::default()
    })
}

#[inline(always)]
fn ipv6<F: Frame + ?Sized>(frame: &F, l3: u32) -> Option<Packet> {
    let words = frame.ipv6(l3)?;
    let first = u64::from_be(words[0]);
    if first >> 60 != 6 {
        return None;
    }
    let length = (first >> 16) as u32 & 0xffff;
    Some(Packet {
        source: Address([words[1], words[2]]),
        destination: Address([words[3], words[4]]),
        l3,
        l4: l3 + 40,
        // As for IPv4: a jumbogram of BIG TCP.
        end: if length == 0 { u32::MAX } else { l3 + 40 + length },
        version: 6,
        protocol: (first >> 8) as u8,
        ..Packet::default()
    })
}

/// Whether an IPv6 header of this kind is followed by another: hop-by-hop, routing, fragment,
/// authentication, destination options.
#[inline(always)]
pub fn is_extension(protocol: u8) -> bool {
    matches!(protocol, 0 | 43 | 44 | 51 | 60)
}

/// Steps over one IPv6 extension header: `Some(true)` when another may follow, `Some(false)` when this
/// is none, or the last that can be read.
#[inline(always)]
pub fn extension<F: Frame + ?Sized>(frame: &F, packet: &mut Packet) -> Option<bool> {
    let at = packet.l4;
    let step = match packet.protocol {
        // Hop-by-hop, routing, destination options: counted in eights of bytes, the first not counted.
        0 | 43 | 60 => (frame.u8(at + 1)? as u32 + 1) * 8,
        // Authentication header: counted in words, the first two not counted.
        51 => (frame.u8(at + 1)? as u32 + 2) * 4,
        44 => {
            let offset = u16::from_be(frame.u16(at + 2)?);
            packet.fragment_id = frame.u32(at + 4)?;
            packet.fragment = match (offset & 0xfff8, offset & 1) {
                (0, 0) => Fragment::Whole,
                (0, _) => Fragment::First,
                _ => Fragment::Later,
            };
            8
        }
        _ => return Some(false),
    };
    packet.protocol = frame.u8(at)?;
    packet.l4 = (at + step) & REACH;
    Some(packet.fragment as u32 != Fragment::Later as u32)
}

/// Ports and flags.
#[inline(always)]
pub fn transport<F: Frame + ?Sized>(frame: &F, packet: &mut Packet) -> Option<()> {
    if packet.fragment as u32 == Fragment::Later as u32 {
        return Some(());
    }
    let at = packet.l4;
    match packet.protocol {
        protocol::TCP => {
            packet.tcp_flags = frame.u8(at + 13)?;
            (packet.source_port, packet.destination_port) = ports(frame.u32(at)?);
        }
        protocol::UDP => (packet.source_port, packet.destination_port) = ports(frame.u32(at)?),
        protocol::ICMP | protocol::ICMPV6 => packet.icmp_type = frame.u8(at)?,
        _ => {}
    }
    Some(())
}

#[inline(always)]
fn ports(word: u32) -> (u16, u16) {
    let word = u32::from_be(word);
    ((word >> 16) as u16, word as u16)
}

#[cfg(test)]
mod tests;

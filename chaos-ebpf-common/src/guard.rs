//! The guard list: what no fault may touch, asked before any rule acts.

use crate::{abi::protocol, frame::Packet};

/// Words of the `GUARD_PORTS` bitmap: 65,536 bits for each of tcp/local, tcp/remote, udp/local, udp/remote.
pub const PORT_WORDS: u32 = 4 * 1024;

/// Which end of a guarded connection a port names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum End {
    /// The target's port.
    Local = 0,
    /// The other end's port.
    Remote = 1,
}

/// Word and bit of a port in the bitmap; `None` for protocols without guarded ports.
#[inline(always)]
pub fn port_bit(protocol: u8, end: End, port: u16) -> Option<(u32, u64)> {
    let plane = match protocol {
        protocol::TCP => end as u32,
        protocol::UDP => 2 + end as u32,
        _ => return None,
    };
    Some((plane * 1024 + (port >> 6) as u32, 1 << (port & 63)))
}

/// The bit of a port in the control word that says which ports cannot be guarded, without a look at
/// the bitmap.
#[inline(always)]
pub fn hint(port: u16) -> u64 {
    1 << (port & 63)
}

/// Whether a packet belongs to neighbour discovery (RFC 4861), which IPv6 needs as IPv4 needs ARP.
#[inline(always)]
pub fn neighbour_discovery(packet: &Packet) -> bool {
    packet.protocol == protocol::ICMPV6 && packet.icmp_type >= 133 && packet.icmp_type <= 137
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_port_has_a_bit_of_its_own() {
        let mut seen = HashSet::new();
        for protocol in [protocol::TCP, protocol::UDP] {
            for end in [End::Local, End::Remote] {
                for port in 0..=u16::MAX {
                    let (word, bit) = port_bit(protocol, end, port).unwrap();
                    assert!(word < PORT_WORDS);
                    assert!(seen.insert((word, bit)));
                }
            }
        }
        assert_eq!(port_bit(protocol::ICMP, End::Local, 1), None);
    }

    #[test]
    fn echo_is_not_neighbour_discovery() {
        let packet = |icmp_type| Packet {
            protocol: protocol::ICMPV6,
            icmp_type,
            ..Packet::default()
        };
        assert!(!neighbour_discovery(&packet(128)));
        assert!((133..=137).all(|t| neighbour_discovery(&packet(t))));
    }
}

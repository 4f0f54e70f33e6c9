//! The guard list: what no fault may touch, asked before any rule acts.
//!
//! Guards are bits of a word: a packet has the bits of all guards that protect it, a rule those that it was allowed
//! to lift. It acts on the packet when it has lifted all of them.

use crate::{
    abi::{FlowKey, protocol},
    address::Address,
    flow::Flow,
    frame::Packet,
};

/// Entries of `GUARD_PORTS`: 65,536 for each of tcp/local, tcp/remote, udp/local, udp/remote.
pub const PORT_SLOTS: u32 = 4 << 16;

/// The guard of neighbour discovery.
pub const NEIGHBOURS: u64 = 1 << 0;
/// The guard of the daemon's own sockets.
pub const OWN: u64 = 1 << 1;
/// First bit of the guards that have a name of their own.
pub const FIRST_NAMED: u32 = 2;

/// Which end of a guarded connection a port names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum End {
    /// The target's port.
    Local = 0,
    /// The other end's port.
    Remote = 1,
}

/// Where the guards of a port are; `None` for protocols without guarded ports.
#[inline(always)]
pub fn port_slot(protocol: u8, end: End, port: u16) -> Option<u32> {
    let plane = match protocol {
        protocol::TCP => end as u32,
        protocol::UDP => 2 + end as u32,
        _ => return None,
    };
    Some(plane << 16 | port as u32)
}

/// The bit of an address in the control word that says which addresses cannot be guarded, without a look at the
/// trie. A guarded network that is more than one address has all bits.
#[inline(always)]
pub fn address_hint(address: Address) -> u64 {
    // The last byte of the address.
    1 << (u32::from_be(address.v4_word()) & 63)
}

/// Whether a rule that has lifted `lifted` leaves a packet alone that `guards` protect.
#[inline(always)]
pub fn spares(guards: u64, lifted: u64) -> bool {
    guards & !lifted != 0
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

impl FlowKey {
    /// The key of a flow, whichever end it is seen from.
    #[inline(always)]
    pub fn of(flow: &Flow) -> Self {
        let (a, b) = (&flow.local.0, &flow.remote.0);
        let (p, q) = (flow.local_port, flow.remote_port);
        let in_order = a[0] < b[0] || (a[0] == b[0] && (a[1] < b[1] || (a[1] == b[1] && p <= q)));
        let (addresses, ports) = if in_order {
            ([flow.local, flow.remote], [p, q])
        } else {
            ([flow.remote, flow.local], [q, p])
        };
        Self {
            addresses,
            ports,
            protocol: flow.protocol as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn a_rule_acts_only_when_it_has_lifted_every_guard() {
        assert!(!spares(0, 0));
        assert!(spares(NEIGHBOURS, 0));
        assert!(spares(NEIGHBOURS | OWN, OWN));
        assert!(!spares(OWN, OWN | NEIGHBOURS));
    }

    #[test]
    fn the_hint_of_an_address_is_that_of_its_last_byte() {
        let v4 = Address::v4(u32::from_be_bytes([169, 254, 169, 254]).to_be());
        assert_eq!(address_hint(v4), 1 << (254 % 64));
        let mut octets = [0; 16];
        octets[15] = 0x54;
        assert_eq!(address_hint(Address::from_octets(octets)), 1 << 0x14);
    }

    #[test]
    fn every_port_has_a_place_of_its_own() {
        let mut seen = HashSet::new();
        for protocol in [protocol::TCP, protocol::UDP] {
            for end in [End::Local, End::Remote] {
                for port in 0..=u16::MAX {
                    let slot = port_slot(protocol, end, port).unwrap();
                    assert!(slot < PORT_SLOTS);
                    assert!(seen.insert(slot));
                }
            }
        }
        assert_eq!(port_slot(protocol::ICMP, End::Local, 1), None);
    }

    proptest! {
        #[test]
        fn both_ends_see_one_flow_and_no_other(a: [u64; 2], b: [u64; 2], p: u16, q: u16, other: u16) {
            let flow = |a, b, p, q| Flow {
                local: Address(a),
                remote: Address(b),
                local_port: p,
                remote_port: q,
                protocol: 6,
            };
            let key = FlowKey::of(&flow(a, b, p, q));
            prop_assert_eq!(key, FlowKey::of(&flow(b, a, q, p)));
            if other != q {
                prop_assert_ne!(key, FlowKey::of(&flow(a, b, p, other)));
            }
            if a != b && p != q {
                prop_assert_ne!(key, FlowKey::of(&flow(a, b, q, p)));
            }
        }
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

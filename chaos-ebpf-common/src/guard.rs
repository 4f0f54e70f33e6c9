//! The guard list: what no fault may touch, asked before any rule acts.

use crate::{
    abi::{FlowKey, protocol},
    flow::Flow,
    frame::Packet,
};

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

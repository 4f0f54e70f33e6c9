//! A packet as its target sees it: local and remote end.

use crate::{abi::Hook, address::Address, frame::Packet, rng::mix};

/// The 5-tuple, oriented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// The target's address.
    pub local: Address,
    /// The other end's address.
    pub remote: Address,
    /// The target's port, host byte order.
    pub local_port: u16,
    /// The other end's port.
    pub remote_port: u16,
    /// Transport protocol on the wire.
    pub protocol: u8,
}

impl Flow {
    /// Orients a packet: what leaves by egress has its source at the target, what arrives its destination.
    #[inline(always)]
    pub fn of(packet: &Packet, hook: u32) -> Self {
        if hook == Hook::Egress as u32 {
            Self {
                local: packet.source,
                remote: packet.destination,
                local_port: packet.source_port,
                remote_port: packet.destination_port,
                protocol: packet.protocol,
            }
        } else {
            Self {
                local: packet.destination,
                remote: packet.source,
                local_port: packet.destination_port,
                remote_port: packet.source_port,
                protocol: packet.protocol,
            }
        }
    }

    /// A number of the flow, the same in both directions, so that a share of flows is sticky for the
    /// life of a 5-tuple.
    #[inline(always)]
    pub fn number(&self) -> u64 {
        let ports = (self.local_port as u64) << 32 | self.remote_port as u64;
        let mut h = mix((ports ^ (self.protocol as u64) << 16).wrapping_add(0x9e37_79b9_7f4a_7c15));
        h = mix(h ^ self.local.0[0]);
        h = mix(h ^ self.local.0[1]);
        h = mix(h ^ self.remote.0[0]);
        mix(h ^ self.remote.0[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_are_one_flow() {
        let out = Packet {
            source: Address::v4(1),
            destination: Address::v4(2),
            source_port: 1000,
            destination_port: 80,
            protocol: 6,
            ..Packet::default()
        };
        let back = Packet {
            source: out.destination,
            destination: out.source,
            source_port: 80,
            destination_port: 1000,
            ..out
        };
        let (a, b) = (
            Flow::of(&out, Hook::Egress as u32),
            Flow::of(&back, Hook::Ingress as u32),
        );
        assert_eq!(a, b);
        assert_eq!(a.number(), b.number());
        assert_ne!(a.number(), Flow::of(&back, Hook::Egress as u32).number());
    }
}

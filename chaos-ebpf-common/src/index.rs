//! The index that keeps lookup flat: a rule is filed under the exact ports and addresses it names, so a
//! packet asks at most eight hash cells per scope, however many faults are loaded. (Tuple space search:
//! Srinivasan, Suri and Varghese, SIGCOMM 1999.)

use crate::{abi::CellKey, address::Address, flow::Flow};

/// Bits of a shape: which fields of a [`CellKey`] are exact. A shape is 0..8.
pub mod shape {
    /// The local port is exact.
    pub const LOCAL_PORT: u32 = 1;
    /// The remote port is exact.
    pub const REMOTE_PORT: u32 = 2;
    /// The remote address is exact.
    pub const REMOTE: u32 = 4;
    /// Number of shapes.
    pub const COUNT: u32 = 8;
}

/// Highest scope number: the shape lives in the bits above.
pub const SCOPE_MAX: u32 = (1 << 24) - 1;

/// The cell of a flow in a scope, for one shape.
#[inline(always)]
pub fn cell_of(scope: u32, shape: u32, flow: &Flow) -> CellKey {
    key(scope, shape, flow.local_port, flow.remote_port, &flow.remote)
}

/// The cell that a rule of this shape is filed under; fields that the shape does not name are ignored.
#[inline(always)]
pub fn key(scope: u32, shape: u32, local_port: u16, remote_port: u16, remote: &Address) -> CellKey {
    // Free of branches: this is asked for every packet, and the verifier walks both sides of each.
    let asked = |bit: u32| 0u64.wrapping_sub(u64::from(shape & bit != 0));
    let (local, far, address) = (
        asked(self::shape::LOCAL_PORT),
        asked(self::shape::REMOTE_PORT),
        asked(self::shape::REMOTE),
    );
    CellKey {
        scope_shape: scope | shape << 24,
        local_port: local_port & local as u16,
        remote_port: remote_port & far as u16,
        remote: Address([remote.0[0] & address, remote.0[1] & address]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_finds_the_cell_its_rule_is_filed_under() {
        let flow = Flow {
            remote: Address::v4(9),
            local_port: 8080,
            remote_port: 5432,
            protocol: 6,
            ..Flow::default()
        };
        for shape in 0..shape::COUNT {
            assert_eq!(
                cell_of(3, shape, &flow),
                key(3, shape, 8080, 5432, &Address::v4(9))
            );
        }
        assert_ne!(cell_of(3, 0, &flow), cell_of(3, 1, &flow));
        assert_ne!(cell_of(3, 0, &flow), cell_of(4, 0, &flow));
    }
}

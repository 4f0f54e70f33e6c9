//! What stands before a hash: an array with one place for each hash of a key. A place answers for all keys
//! that fall on it when none of them is filed, or exactly one; else it says to ask the hash itself. So a
//! packet that nobody named finds out in one array lookup, where a hash costs ten times that.
//!
//! Userspace writes a place while programs read it, so: programs read the value before the key; a
//! key is replaced only while its value is [`NONE`] or [`ASK`].

use crate::abi::{CellKey, Front, Scope, ScopeKey};

/// Nobody is filed here.
pub const NONE: u64 = 0;
/// More than this place can say: ask the hash.
pub const ASK: u64 = u64::MAX;

/// Places for cells.
pub const CELL_PLACES: u32 = 1 << 17;
/// Places for scopes.
pub const SCOPE_PLACES: u32 = 1 << 16;

/// A key that has a place.
pub trait Placed: Copy + Eq {
    /// Its place.
    fn place(&self) -> u32;
}

/// Any odd numbers do; these are the golden ratio and two constants of splitmix64.
const FACTORS: [u64; 3] = [
    0x9e37_79b9_7f4a_7c15,
    0xbf58_476d_1ce4_e5b9,
    0x94d0_49bb_1331_11eb,
];

#[inline(always)]
const fn fold(sum: u64, places: u32) -> u32 {
    // The high bits are the best mixed part of a product; the shift lets them count in a second round.
    ((sum ^ sum >> 29).wrapping_mul(FACTORS[1]) >> (64 - places.trailing_zeros())) as u32
}

impl Placed for CellKey {
    #[inline(always)]
    fn place(&self) -> u32 {
        let ports =
            (self.scope_shape as u64) << 32 | (self.local_port as u64) << 16 | self.remote_port as u64;
        let sum = ports.wrapping_mul(FACTORS[0])
            ^ self.remote.0[0].wrapping_mul(FACTORS[1])
            ^ self.remote.0[1].wrapping_mul(FACTORS[2]);
        fold(sum, CELL_PLACES)
    }
}

impl Placed for ScopeKey {
    #[inline(always)]
    fn place(&self) -> u32 {
        let rest = (self.kind_hook as u64) << 32 | self.netns as u64;
        fold(
            self.id.wrapping_mul(FACTORS[0]) ^ rest.wrapping_mul(FACTORS[1]),
            SCOPE_PLACES,
        )
    }
}

/// What a place knows of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is not filed.
    Absent,
    /// It is, with this value.
    Value(u64),
    /// The hash knows.
    Ask,
}

/// Reads an answer. `same` says whether the key is that of the place; it is asked after `value` was read, and only
/// when it matters.
#[inline(always)]
pub fn read(value: u64, same: impl FnOnce() -> bool) -> Known {
    match value {
        ASK => Known::Ask,
        NONE => Known::Absent,
        value if same() => Known::Value(value),
        _ => Known::Absent,
    }
}

/// A cell with one rule.
#[inline(always)]
pub const fn of_slot(slot: u32) -> u64 {
    slot as u64 + 1
}

/// The slot that [`of_slot`] made a value of.
#[inline(always)]
pub const fn slot(value: u64) -> u32 {
    (value - 1) as u32
}

/// A scope. Scope numbers begin at 1, so this is never [`NONE`].
#[inline(always)]
pub const fn of_scope(scope: Scope) -> u64 {
    (scope.id as u64) << 32 | scope.shapes as u64
}

/// The scope that [`of_scope`] made a value of.
#[inline(always)]
pub const fn scope(value: u64) -> Scope {
    Scope {
        id: (value >> 32) as u32,
        shapes: value as u32,
    }
}

/// What a place has to say when these keys fall on it.
pub fn entry<K: Placed + Default>(mut filed: impl Iterator<Item = (K, Option<u64>)>) -> Front<K> {
    match (filed.next(), filed.next()) {
        (None, _) => Front::default(),
        (Some((key, Some(value))), None) => Front { key, value },
        (Some((key, _)), _) => Front { key, value: ASK },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{address::Address, index};
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::vec::Vec;

    #[test]
    fn a_place_answers_for_nobody_for_one_and_asks_for_more() {
        let key = |id| ScopeKey::new(0, id, 0, 0);
        let none: [(ScopeKey, Option<u64>); 0] = [];
        assert_eq!(entry(none.into_iter()).value, NONE);
        assert_eq!(
            entry([(key(1), Some(7))].into_iter()),
            Front {
                key: key(1),
                value: 7
            }
        );
        assert_eq!(entry([(key(1), None)].into_iter()).value, ASK);
        assert_eq!(
            entry([(key(1), Some(7)), (key(2), Some(8))].into_iter()).value,
            ASK
        );
        assert_eq!(read(7, || true), Known::Value(7));
        assert_eq!(read(7, || false), Known::Absent);
        assert_eq!(read(ASK, || false), Known::Ask);
        assert_eq!(read(NONE, || true), Known::Absent);
    }

    /// Ports in a row, addresses in a row, scopes in a row: what people really write.
    #[test]
    fn rows_of_keys_spread_over_the_places() {
        let mut rows: Vec<(&str, Vec<u32>)> = Vec::new();
        let port = |n: u32| index::key(1, 2, 0, n as u16, &Address::UNSPECIFIED).place();
        rows.push(("remote ports", (1..=4096).map(port).collect()));
        let host = |n: u32| index::key(1, 4, 0, 0, &Address::v4((0x0a00_0000 + n).to_be())).place();
        rows.push(("addresses", (1..=4096).map(host).collect()));
        let both = |n: u32| index::key(1, 6, 0, 5432, &Address::v4((0x0a00_0000 + n).to_be())).place();
        rows.push(("addresses and a port", (1..=4096).map(both).collect()));
        let scope = |n: u32| index::key(n, 2, 0, 5432, &Address::UNSPECIFIED).place();
        rows.push(("scopes", (1..=4096).map(scope).collect()));
        for (what, places) in rows {
            let mut count: HashMap<u32, u32> = HashMap::new();
            for place in places {
                *count.entry(place).or_default() += 1;
            }
            // Thrown at random, 4,096 keys fall on 4,033 of 131,072 places.
            assert!(count.len() > 3900, "{what}: {} places", count.len());
            assert!(count.values().all(|n| *n <= 6), "{what}: a place with many");
        }
        let cgroups: HashMap<u32, u32> = (10_000..14_096).fold(HashMap::new(), |mut count, id| {
            *count.entry(ScopeKey::new(0, id, 1, 0).place()).or_default() += 1;
            count
        });
        assert!(cgroups.len() > 3800, "{} places", cgroups.len());
    }

    proptest! {
        #[test]
        fn values_come_back(id in 1u32..=index::SCOPE_MAX, shapes in 0u32..256, n in 0u32..u32::MAX) {
            let given = Scope { id, shapes };
            prop_assert_eq!(scope(of_scope(given)), given);
            prop_assert_eq!(slot(of_slot(n)), n);
            prop_assert!(![NONE, ASK].contains(&of_scope(given)) && ![NONE, ASK].contains(&of_slot(n)));
        }
    }
}

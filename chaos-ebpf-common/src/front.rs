//! What stands before a hash: an array with one place for each hash of a key. A place answers for all keys
//! that fall on it when none of them is filed, or exactly one; else it says to ask the hash itself. So a
//! packet that nobody named finds out in one array lookup, where a hash costs ten times that.
//!
//! Where several keys fall on one place, the key's own bytes hold their marks, one bit of 64 for each by a second
//! hash: who has none of the bits is not filed, so with as many keys as places the hash is asked for one packet in a
//! hundred, not for one in four.
//!
//! Userspace writes a place while programs read it, so: a key is replaced only while its value is [`NONE`] or [`ASK`],
//! and a program reads the value before the key, and once more before it says that somebody is not filed.

use crate::{
    abi::{CellKey, Front, Scope, ScopeKey},
    address::Address,
};

/// Nobody is filed here.
pub const NONE: u64 = 0;
/// More than this place can say: ask the hash.
pub const ASK: u64 = u64::MAX;
/// Ask the hash for keys whose mark is set in the key; others are not filed.
pub const SHARED: u64 = u64::MAX - 1;

/// Places for cells.
pub const CELL_PLACES: u32 = 1 << 17;
/// Places for scopes.
pub const SCOPE_PLACES: u32 = 1 << 16;

/// A key that has a place.
pub trait Placed: Copy + Eq {
    /// What its place and its mark are made of.
    fn hash(&self) -> u64;
    /// Its place.
    fn place(&self) -> u32;
    /// A key that holds marks.
    fn of_marks(marks: u64) -> Self;
    /// The marks that [`Placed::of_marks`] was made of.
    fn marks(&self) -> u64;
    /// Its mark, one bit.
    #[inline(always)]
    fn mark(&self) -> u64 {
        1 << (self.hash().wrapping_mul(FACTORS[2]) >> 58)
    }
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
    fn hash(&self) -> u64 {
        let ports =
            (self.scope_shape as u64) << 32 | (self.local_port as u64) << 16 | self.remote_port as u64;
        ports.wrapping_mul(FACTORS[0])
            ^ self.remote.0[0].wrapping_mul(FACTORS[1])
            ^ self.remote.0[1].wrapping_mul(FACTORS[2])
    }

    #[inline(always)]
    fn place(&self) -> u32 {
        fold(self.hash(), CELL_PLACES)
    }

    fn of_marks(marks: u64) -> Self {
        Self {
            remote: Address([marks, 0]),
            ..Self::default()
        }
    }

    #[inline(always)]
    fn marks(&self) -> u64 {
        self.remote.0[0]
    }
}

impl Placed for ScopeKey {
    #[inline(always)]
    fn hash(&self) -> u64 {
        let rest = (self.kind_hook as u64) << 32 | self.netns as u64;
        self.id.wrapping_mul(FACTORS[0]) ^ rest.wrapping_mul(FACTORS[1])
    }

    #[inline(always)]
    fn place(&self) -> u32 {
        fold(self.hash(), SCOPE_PLACES)
    }

    fn of_marks(marks: u64) -> Self {
        Self {
            id: marks,
            ..Self::default()
        }
    }

    #[inline(always)]
    fn marks(&self) -> u64 {
        self.id
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

/// Reads an answer for `key`. `front` is the key of the place, asked for after `value` was read and only when it
/// matters; `again` reads the value once more.
#[inline(always)]
pub fn read<K: Placed>(value: u64, key: &K, front: impl FnOnce() -> K, again: impl FnOnce() -> u64) -> Known {
    if value == ASK {
        return Known::Ask;
    }
    if value == NONE {
        return Known::Absent;
    }
    let front = front();
    if value == SHARED {
        if front.marks() & key.mark() != 0 {
            return Known::Ask;
        }
    } else if front == *key {
        return Known::Value(value);
    }
    if again() == value {
        Known::Absent
    } else {
        Known::Ask
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
pub fn entry<K: Placed + Default>(filed: impl Iterator<Item = (K, Option<u64>)>) -> Front<K> {
    let (mut sole, mut marks, mut count) = (None, 0, 0);
    for (key, value) in filed {
        sole = value.map(|value| Front { key, value });
        marks |= key.mark();
        count += 1;
    }
    match (count, sole) {
        (0, _) => Front::default(),
        (1, Some(front)) => front,
        _ => Front {
            key: K::of_marks(marks),
            value: SHARED,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::{vec, vec::Vec};

    fn known<K: Placed>(front: &Front<K>, key: &K) -> Known {
        read(front.value, key, || front.key, || front.value)
    }

    #[test]
    fn a_place_answers_for_nobody_and_for_one_and_of_more_it_knows_the_marks() {
        let key = |id| ScopeKey::new(0, id, 0, 0);
        let none: [(ScopeKey, Option<u64>); 0] = [];
        let empty = entry(none.into_iter());
        assert_eq!(known(&empty, &key(1)), Known::Absent);
        let sole = entry([(key(1), Some(7))].into_iter());
        assert_eq!(known(&sole, &key(1)), Known::Value(7));
        assert_eq!(known(&sole, &key(2)), Known::Absent);
        for filed in [vec![(key(1), None)], vec![(key(1), Some(7)), (key(2), Some(8))]] {
            let shared = entry(filed.iter().copied());
            assert_eq!(shared.value, SHARED);
            for (key, _) in &filed {
                assert_eq!(known(&shared, key), Known::Ask);
            }
            let marks = filed.iter().fold(0, |marks, (key, _)| marks | key.mark());
            for id in 3..1000 {
                let asks = known(&shared, &key(id)) == Known::Ask;
                assert_eq!(asks, key(id).mark() & marks != 0, "{id}");
            }
        }
        assert_eq!(read(ASK, &key(1), || panic!("not looked at"), || ASK), Known::Ask);
    }

    #[test]
    fn a_place_that_is_written_meanwhile_is_no_proof_that_somebody_is_not_filed() {
        let key = |id| ScopeKey::new(0, id, 0, 0);
        // The value was read, then somebody else came to the place: the key read next holds marks.
        let now = entry([(key(1), Some(7)), (key(2), Some(8))].into_iter());
        assert_eq!(read(7, &key(1), || now.key, || now.value), Known::Ask);
        // And the other way: of two, one went.
        let other = (2..)
            .map(key)
            .find(|other| other.mark() & key(1).id == 0)
            .expect("there are many");
        assert_eq!(read(SHARED, &other, || key(1), || 7), Known::Ask);
    }

    /// As many keys as places: a stranger is rarely sent to the hash.
    #[test]
    fn of_strangers_beside_as_many_keys_as_places_few_ask_the_hash() {
        let host = |n: u32| index::key(1, 4, 0, 0, &Address::v4(n.to_be()));
        let mut filed: HashMap<u32, Vec<(CellKey, Option<u64>)>> = HashMap::new();
        for n in 0..CELL_PLACES {
            let key = host(0x0a00_0000 + n);
            filed.entry(key.place()).or_default().push((key, Some(7)));
        }
        let fronts: HashMap<u32, Front<CellKey>> = filed
            .into_iter()
            .map(|(place, filed)| (place, entry(filed.into_iter())))
            .collect();
        let strangers = 20_000;
        let asking = (0..strangers)
            .map(|n| host(0xc0a8_0000 + n))
            .filter(|key| {
                fronts
                    .get(&key.place())
                    .is_some_and(|front| known(front, key) == Known::Ask)
            })
            .count();
        // By chance: 26 % fall on a shared place, and 2.4 of its 64 marks are set there.
        assert!(asking < strangers as usize * 2 / 100, "{asking} of {strangers}");
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
            prop_assert!(![NONE, SHARED, ASK].contains(&of_scope(given)));
            prop_assert!(![NONE, SHARED, ASK].contains(&of_slot(n)));
        }
    }
}

//! The arrays before the hashes `CELLS` and `SCOPES`, as userspace sees them. See
//! [`chaos_ebpf_common::front`].

use std::collections::HashMap;
use std::hash::Hash;

use aya::{
    Pod,
    maps::{Array, MapData},
};
use chaos_ebpf_common::{
    abi::Front,
    front::{ASK, NONE, Placed, entry},
};

use super::DatapathError;

/// Which keys are filed, by place.
#[derive(Debug)]
pub struct Fronts<K> {
    name: &'static str,
    filed: HashMap<u32, Vec<Filed<K>>>,
    written: HashMap<u32, Front<K>>,
}

/// A key, and the value its place can give when it is alone there.
#[derive(Debug)]
struct Filed<K> {
    key: K,
    value: Option<u64>,
}

impl<K: Placed + Default + Hash + std::fmt::Debug> Fronts<K>
where
    Front<K>: Pod,
{
    /// For the map of this name, which is all zero.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            filed: HashMap::new(),
            written: HashMap::new(),
        }
    }

    /// Files a key, or changes what its place can say of it: `None` when only the hash can.
    ///
    /// # Errors
    /// The place says what it said before.
    pub fn file(
        &mut self,
        map: &mut Array<MapData, Front<K>>,
        key: K,
        value: Option<u64>,
    ) -> Result<(), DatapathError> {
        let filed = self.filed.entry(key.place()).or_default();
        let before = filed.iter_mut().find(|filed| filed.key == key);
        let before = match before {
            Some(filed) => Some(std::mem::replace(&mut filed.value, value)),
            None => {
                filed.push(Filed { key, value });
                None
            }
        };
        let result = self.write(map, key.place());
        if result.is_err()
            && let Some(filed) = self.filed.get_mut(&key.place())
        {
            match before {
                Some(before) => {
                    if let Some(filed) = filed.iter_mut().find(|filed| filed.key == key) {
                        filed.value = before;
                    }
                }
                None => filed.retain(|filed| filed.key != key),
            }
        }
        result
    }

    /// Forgets a key.
    ///
    /// # Errors
    /// The place still leads to it; the hash, asked, knows better.
    pub fn forget(&mut self, map: &mut Array<MapData, Front<K>>, key: &K) -> Result<(), DatapathError> {
        if let Some(filed) = self.filed.get_mut(&key.place()) {
            filed.retain(|filed| filed.key != *key);
        }
        self.write(map, key.place())
    }

    fn write(&mut self, map: &mut Array<MapData, Front<K>>, place: u32) -> Result<(), DatapathError> {
        let filed = self.filed.get(&place).map(Vec::as_slice).unwrap_or_default();
        let mut next = entry(filed.iter().map(|filed| (filed.key, filed.value)));
        if filed.is_empty() {
            self.filed.remove(&place);
        }
        let before = self.written.get(&place).copied().unwrap_or_default();
        if next == before {
            return Ok(());
        }
        // A key is replaced only while the value says not to look at it.
        if next.value == NONE {
            next.key = before.key;
        } else if before.value != NONE && next.key != before.key {
            let between = Front { value: ASK, ..before };
            self.set(map, place, between)?;
            self.set(map, place, Front { value: ASK, ..next })?;
        }
        self.set(map, place, next)
    }

    fn set(
        &mut self,
        map: &mut Array<MapData, Front<K>>,
        place: u32,
        front: Front<K>,
    ) -> Result<(), DatapathError> {
        map.set(place, front, 0)
            .map_err(|e| DatapathError::map(self.name, e))?;
        if front.value == NONE {
            self.written.remove(&place);
        } else {
            self.written.insert(place, front);
        }
        Ok(())
    }
}

//! Numbered places in array maps. The place freed longest ago is used first, so that a program that still
//! holds a number of a moment ago does not find somebody else there.

use std::collections::VecDeque;

use chaos_ebpf_common::abi::{Counters, State};

use super::{Datapath, DatapathError};

/// Free places of one kind.
#[derive(Debug)]
pub struct Slots {
    what: &'static str,
    next: u32,
    end: u32,
    freed: VecDeque<u32>,
}

impl Slots {
    /// Places `start..end`.
    pub fn new(what: &'static str, start: u32, end: u32) -> Self {
        Self {
            what,
            next: start,
            end,
            freed: VecDeque::new(),
        }
    }

    /// Whether the place that is taken next was never used: what a map holds there is zero.
    pub fn next_is_new(&self) -> bool {
        self.next < self.end
    }

    /// Takes one.
    pub fn take(&mut self) -> Result<u32, DatapathError> {
        if self.next_is_new() {
            self.next += 1;
            return Ok(self.next - 1);
        }
        self.freed.pop_front().ok_or(DatapathError::Full {
            what: self.what,
            most: self.end as usize,
        })
    }

    /// Gives one back.
    pub fn give(&mut self, slot: u32) {
        self.freed.push_back(slot);
    }
}

impl Datapath {
    /// A place for the counters and budgets of a fault, all zero.
    pub(super) fn new_fault_slot(&mut self) -> Result<u32, DatapathError> {
        let is_new = self.free_faults.next_is_new();
        let slot = self.free_faults.take()?;
        if is_new {
            return Ok(slot);
        }
        let cpus =
            aya::util::nr_cpus().map_err(|(path, e)| DatapathError::system(format!("read {path}"), e))?;
        let zero = aya::maps::PerCpuValues::try_from(vec![Counters::default(); cpus])
            .map_err(|e| DatapathError::system("prepare counters", e))?;
        let cleared = self
            .maps
            .counters
            .set(slot, zero, 0)
            .map_err(|e| DatapathError::map("COUNTERS", e))
            .and_then(|()| {
                self.maps
                    .spent
                    .set(slot, 0, 0)
                    .map_err(|e| DatapathError::map("SPENT", e))
            })
            .and_then(|()| {
                self.maps
                    .flows_spent
                    .set(slot, 0, 0)
                    .map_err(|e| DatapathError::map("FLOWS_SPENT", e))
            });
        if let Err(error) = cleared {
            self.free_faults.give(slot);
            return Err(error);
        }
        Ok(slot)
    }

    /// Each place of a fault draws from its own part of the sequence, or both directions would decide alike.
    pub(super) fn new_state(&mut self, ordinal: u64, chain: u64) -> Result<u32, DatapathError> {
        let state = self.free_states.take()?;
        let value = State {
            sequence: ordinal << 48,
            chain,
        };
        if let Err(error) = self.maps.states.set(state, value, 0) {
            self.free_states.give(state);
            return Err(DatapathError::map("STATES", error));
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_freed_longest_ago_comes_back_first() {
        let mut slots = Slots::new("places", 1, 4);
        assert_eq!([slots.take().unwrap(), slots.take().unwrap()], [1, 2]);
        assert!(slots.next_is_new());
        slots.give(1);
        slots.give(2);
        assert_eq!(
            [
                slots.take().unwrap(),
                slots.take().unwrap(),
                slots.take().unwrap()
            ],
            [3, 1, 2]
        );
        assert!(!slots.next_is_new());
        assert!(matches!(
            slots.take(),
            Err(DatapathError::Full {
                what: "places",
                most: 4
            })
        ));
    }
}

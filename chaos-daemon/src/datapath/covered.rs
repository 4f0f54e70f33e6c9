//! Devices whose packets pass another device as well: programs are there only for faults that name them, and others
//! have to leave their packets alone.

use std::collections::HashSet;

use chaos_ebpf_common::abi::LineKey;

use super::{Datapath, DatapathError};
use crate::target::Interface;

impl Datapath {
    /// Tells the programs of a namespace which of these devices are covered. Before rules that hang on it act.
    pub(super) fn tell_covered(&mut self, space: u32, interfaces: &[Interface]) -> Result<(), DatapathError> {
        let Some(open) = self.spaces.get_mut(&space) else {
            return Err(DatapathError::Unknown(u64::from(space)));
        };
        let failed = |e| DatapathError::map("COVERED", e);
        let mut changed = false;
        for interface in interfaces {
            let index = interface.index;
            if interface.covered && !open.covered.contains(&index) {
                self.maps
                    .covered
                    .insert(key(space, index), 1, 0)
                    .map_err(failed)?;
                open.covered.insert(index);
                changed = true;
            } else if !interface.covered && open.covered.remove(&index) {
                self.maps.covered.remove(&key(space, index)).map_err(failed)?;
                changed = true;
            }
        }
        if changed {
            let count = open.covered.len();
            self.index.set_covered(&mut self.maps, space, count)?;
        }
        Ok(())
    }

    /// Forgets those to which nothing is attached any more.
    pub(super) fn forget_covered(&mut self, space: u32) {
        let Some(open) = self.spaces.get_mut(&space) else {
            return;
        };
        let all = open.covered.iter().copied();
        let on: HashSet<u32> = all.filter(|index| open.is_on(*index)).collect();
        if on.len() == open.covered.len() {
            return;
        }
        for gone in open.covered.difference(&on) {
            if let Err(error) = self.maps.covered.remove(&key(space, *gone)) {
                tracing::debug!(%error, "a device is still said to be covered");
            }
        }
        let count = on.len();
        open.covered = on;
        if let Err(error) = self.index.set_covered(&mut self.maps, space, count) {
            tracing::debug!(%error, "a namespace could not be told of its covered devices");
        }
    }
}

fn key(netns: u32, ifindex: u32) -> LineKey {
    LineKey { netns, ifindex }
}

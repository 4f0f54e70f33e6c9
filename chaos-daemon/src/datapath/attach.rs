//! The links of a change. When the kernel has linked a program to a device, it waits for a grace period of RCU before it
//! says so (`tcx_entry_sync`), 10 to 30 ms, and the program runs from the beginning of that wait on.

use std::collections::BTreeSet;

use super::{
    Datapath, DatapathError, FaultId,
    arm::{Armed, ArmedPlace},
};
use crate::safety::clock::boot_ns;

/// Nanoseconds that the kernel waits on a host that is not busy.
const GRACE: u64 = 30_000_000;

impl Datapath {
    /// Whether all of these faults meet packets at one hook of one device alone, where nothing is linked yet. Then to make
    /// that link is the instant at which they begin, and nobody has to wait for it: the rules are published before.
    pub(super) fn begins_with_its_link(&self, staged: &[(FaultId, Armed)]) -> bool {
        let mut places = staged.iter().flat_map(|(_, record)| &record.places);
        let Some(first) = places.next() else {
            return false;
        };
        let [interface] = first.interfaces.as_slice() else {
            return false;
        };
        let is_due = self
            .spaces
            .get(&first.space)
            .is_some_and(|space| space.is_due(interface.index, first.hook));
        let same = |place: &ArmedPlace| {
            place.space == first.space && place.hook == first.hook && place.interfaces == first.interfaces
        };
        is_due && !first.way.thread && places.all(|place| same(place) && !place.way.thread)
    }

    /// Makes the link with which these faults begin.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub(super) fn begin_with_link(&mut self, staged: &mut [(FaultId, Armed)]) -> Result<(), DatapathError> {
        let before = boot_ns();
        self.attach_due(staged)?;
        let after = boot_ns();
        // Somebody else changed the network meanwhile, and the link waited for that: this is no part of the faults' time.
        if after - before > GRACE
            && let Err(error) = self.start_clocks(staged, after - GRACE)
        {
            tracing::debug!(%error, "some faults end earlier, by as much as their link took");
        }
        Ok(())
    }

    /// Makes the links that these faults still miss.
    ///
    /// # Errors
    /// The kernel refuses one.
    pub(super) fn attach_due(&mut self, staged: &[(FaultId, Armed)]) -> Result<(), DatapathError> {
        let places = staged.iter().flat_map(|(_, record)| &record.places);
        let spaces: BTreeSet<u32> = places.map(|place| place.space).collect();
        for space in spaces {
            if let Some(space) = self.spaces.get_mut(&space) {
                space.attach_due()?;
            }
        }
        Ok(())
    }
}

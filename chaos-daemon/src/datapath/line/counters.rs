//! What the line has counted, in wire packets.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use chaos_spec::api::Packets;

/// Counters of one fault, written by the line's thread and read by anybody.
#[derive(Debug, Default)]
pub struct LineCounters {
    pub matched: AtomicU64,
    pub dropped: AtomicU64,
    pub duplicated: AtomicU64,
    pub corrupted: AtomicU64,
    pub delayed: AtomicU64,
    pub reordered: AtomicU64,
    pub throttled: AtomicU64,
    pub unseen: AtomicU64,
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}

impl LineCounters {
    /// Adds them to what the programs have counted.
    pub fn add_to(&self, sum: &mut Packets) {
        for (from, to) in [
            (&self.matched, &mut sum.matched),
            (&self.dropped, &mut sum.dropped),
            (&self.duplicated, &mut sum.duplicated),
            (&self.corrupted, &mut sum.corrupted),
            (&self.delayed, &mut sum.delayed),
            (&self.reordered, &mut sum.reordered),
            (&self.throttled, &mut sum.throttled),
            (&self.unseen, &mut sum.unseen),
        ] {
            *to += from.load(Relaxed);
        }
    }
}

//! The lease as the programs read it: one number, renewed for as long as somebody is alive to do so.

use chaos_ebpf_common::abi::control;
use nix::time::{ClockId, clock_gettime};
use std::sync::Arc;

use crate::{safety::lease::Heart, sys::shared::Words};

/// Writes the lease; lives on a thread of its own.
pub struct Lease(Arc<Words>);

impl Lease {
    /// Over the words of the `CONTROL` map.
    pub fn new(control: Arc<Words>) -> Self {
        Self(control)
    }
}

/// CLOCK_BOOTTIME minus CLOCK_MONOTONIC: the time spent in suspend.
fn boot_offset() -> u64 {
    let read =
        |clock| clock_gettime(clock).map_or(0, |t| t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64);
    read(ClockId::CLOCK_BOOTTIME).saturating_sub(read(ClockId::CLOCK_MONOTONIC))
}

impl Heart for Lease {
    fn renew(&self, until_monotonic_ns: u64) -> Result<(), String> {
        self.0.store(control::BOOT_OFFSET, boot_offset());
        self.0.store(control::LEASE, until_monotonic_ns);
        Ok(())
    }

    fn halt(&self) -> Result<(), String> {
        self.0.store(control::LEASE, 0);
        Ok(())
    }
}

//! The lease as the programs read it: one number, renewed for as long as somebody is alive to do so.

use aya::maps::{Array, MapData};
use chaos_ebpf_common::abi::control;
use nix::time::{ClockId, clock_gettime};
use std::sync::Mutex;

use crate::safety::lease::Heart;

/// Writes the lease; lives on a thread of its own.
pub struct Lease(Mutex<Array<MapData, u64>>);

impl Lease {
    /// Over a handle of the `CONTROL` map.
    pub fn new(control: Array<MapData, u64>) -> Self {
        Self(Mutex::new(control))
    }

    fn set(&self, slot: u32, value: u64) -> Result<(), String> {
        let mut map = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        map.set(slot, value, 0).map_err(|e| e.to_string())
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
        self.set(control::BOOT_OFFSET, boot_offset())?;
        self.set(control::LEASE, until_monotonic_ns)
    }

    fn halt(&self) -> Result<(), String> {
        self.set(control::LEASE, 0)
    }
}

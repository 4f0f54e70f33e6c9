//! The two clocks a fault is measured by, in nanoseconds.

use nix::time::{ClockId, clock_gettime};

/// CLOCK_BOOTTIME: deadlines; it counts time asleep, as `bpf_ktime_get_boot_ns` does.
pub fn boot_ns() -> u64 {
    read(ClockId::CLOCK_BOOTTIME)
}

/// CLOCK_MONOTONIC: the lease; it stands still while the host sleeps, as `bpf_ktime_get_ns` does.
pub fn monotonic_ns() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

fn read(clock: ClockId) -> u64 {
    // Both clocks exist since Linux 2.6.39 and the call has no other way to fail. Zero lets the lease lapse.
    clock_gettime(clock)
        .map(std::time::Duration::from)
        .map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

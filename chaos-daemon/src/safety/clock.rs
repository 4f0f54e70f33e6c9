//! The two clocks a fault is measured by, in nanoseconds.

use nix::time::{ClockId, clock_gettime};

/// The daemon's clocks are not the kernel's.
#[derive(Debug, thiserror::Error)]
#[error(
    "the daemon is in a time namespace in which {clock} is off by {by} s from the kernel's own clock, which ends faults: \
     deadlines and leases would be wrong by as much – start it outside of that namespace"
)]
pub struct ClockError {
    clock: String,
    by: String,
}

/// Whether the kernel programs read the same clocks as this process.
///
/// # Errors
/// One that is shifted (time_namespaces(7)).
pub fn check() -> Result<(), ClockError> {
    // A kernel without such namespaces has no such file.
    let text = std::fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    match shifted(&text) {
        Some((clock, by)) => Err(ClockError { clock, by }),
        None => Ok(()),
    }
}

/// The first clock with an offset, and that in seconds.
fn shifted(offsets: &str) -> Option<(String, String)> {
    offsets.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (clock, seconds, nanos) = (words.next()?, words.next()?, words.next()?);
        (seconds != "0" || nanos != "0").then(|| (clock.to_owned(), seconds.to_owned()))
    })
}

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

#[cfg(test)]
mod tests {
    use super::shifted;

    #[test]
    fn a_shifted_clock_is_found() {
        assert_eq!(
            shifted("monotonic           0         0\nboottime            0         0\n"),
            None
        );
        assert_eq!(shifted(""), None);
        let found = shifted("monotonic           0         0\nboottime        -3600         0\n");
        assert_eq!(found, Some(("boottime".to_owned(), "-3600".to_owned())));
        assert!(shifted("monotonic           0         5\n").is_some());
    }
}

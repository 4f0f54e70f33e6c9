//! When a rule is over: cheap clock first, exact clock near the end.

/// Nanoseconds before a deadline from which the exact clock is asked. Far above the tick of the
/// coarse clock (10 ms at HZ=100).
const NEAR: u64 = 1_000_000_000;

/// Whether the lease, on CLOCK_MONOTONIC, is still held at `now` (coarse, same clock).
#[inline(always)]
pub fn lease_held(lease: u64, now: u64) -> bool {
    now < lease
}

/// Whether `deadline` (CLOCK_BOOTTIME, ns) has passed. `coarse` is CLOCK_MONOTONIC_COARSE and
/// `boot_offset` the distance between the two clocks as the daemon last published it; `exact` reads
/// CLOCK_BOOTTIME, at 20 ns a call, and is only asked within a second of the deadline.
#[inline(always)]
pub fn deadline_over(deadline: u64, coarse: u64, boot_offset: u64, exact: impl FnOnce() -> u64) -> bool {
    let estimate = coarse.wrapping_add(boot_offset);
    if estimate.saturating_add(NEAR) < deadline {
        return false;
    }
    exact() >= deadline
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_clock_decides_near_the_deadline() {
        let second = 1_000_000_000;
        assert!(!deadline_over(10 * second, 8 * second, 0, || unreachable!()));
        assert!(!deadline_over(10 * second, 9 * second + 1, 0, || 10 * second - 1));
        assert!(deadline_over(10 * second, 9 * second + 1, 0, || 10 * second));
        assert!(deadline_over(10 * second, 2 * second, 8 * second, || 10 * second));
    }

    #[test]
    fn a_halted_lease_is_never_held() {
        assert!(!lease_held(0, 0));
        assert!(lease_held(2, 1));
    }
}

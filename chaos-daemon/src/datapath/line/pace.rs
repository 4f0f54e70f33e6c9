//! How many packets go on, so that trains are only made of a load that is too much one by one.

/// Nanoseconds over which packets are counted.
const WINDOW: u64 = 10_000_000;
/// So many of a window are a load: more than 50,000 a second.
const MANY: u64 = 500;

/// Counts the packets of one window after the other.
#[derive(Debug, Default)]
pub struct Pace {
    since: u64,
    count: u64,
    fast: bool,
}

impl Pace {
    /// Takes note of packets that go on now, in nanoseconds of a clock, and says whether those of the window before were
    /// a load. A burst that is over within a window is none.
    pub fn count(&mut self, now: u64, packets: usize) -> bool {
        let passed = now.saturating_sub(self.since);
        if passed >= WINDOW {
            self.fast = self.count.saturating_mul(WINDOW) > MANY.saturating_mul(passed);
            self.since = now;
            self.count = 0;
        }
        self.count += packets as u64;
        self.fast
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the last of `count` packets, `every` nanoseconds apart, are part of a load.
    fn at_a_distance(every: u64, count: u64) -> bool {
        let mut pace = Pace::default();
        (1..=count).fold(false, |_, n| pace.count(n * every, 1))
    }

    #[test]
    fn a_load_is_one_that_lasts() {
        assert!(at_a_distance(4_000, 10_000), "250,000 a second");
        assert!(!at_a_distance(25_000, 10_000), "40,000 a second");
        assert!(!at_a_distance(4_000, 1_000), "a burst of 4 ms");
        let mut pace = Pace::default();
        pace.count(WINDOW, 10_000);
        assert!(!pace.count(100 * WINDOW * 10, 1), "a burst long ago");
    }
}

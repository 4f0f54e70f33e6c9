//! How far apart the packets are that enter a kernel line, and so for how long one may be held at its end.
//!
//! A processor that holds a packet does nothing else, and those of a bulk stream would wait for each other. So only packets
//! that are rare are held. That is asked where they enter: at the end of the line, it would be known as much later as they
//! wait.

use crate::abi::Pace;

/// A window has so many packets at least, and takes so long, nanoseconds.
const PACKETS: u64 = 8;
const PERIOD: u64 = 10_000_000;

/// Packets are held that are so far apart on average, nanoseconds, and for one part in so many of the time, at most, by all
/// lines together.
const APART: u64 = 500_000;
const SHARE: u64 = 8;

impl Pace {
    /// The same, and a packet that came at `now`.
    #[inline(always)]
    pub fn came(self, now: u64) -> Self {
        let lasted = now.saturating_sub(self.since);
        if self.packets < PACKETS || lasted < PERIOD {
            return Self {
                packets: self.packets + 1,
                ..self
            };
        }
        Self {
            gap: lasted / self.packets,
            packets: 1,
            since: now,
        }
    }

    /// For how long the packet that came last, at `now`, may be held, where there are so many lines, nanoseconds.
    #[inline(always)]
    pub fn most_held(&self, now: u64, lines: u64) -> u64 {
        let lasted = now.saturating_sub(self.since);
        // More have come meanwhile than in the window before.
        let crowded = self.packets >= PACKETS && lasted < (self.packets - 1) * APART;
        if crowded || self.gap < APART {
            return 0;
        }
        self.gap / SHARE / if lines == 0 { 1 } else { lines }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 5 * PERIOD;

    /// One packet each `gap`, from `start` on; and when the last one came.
    fn after(pace: Pace, start: u64, gap: u64, packets: u64) -> (Pace, u64) {
        let all = (1..=packets).map(|n| start + n * gap);
        all.fold((pace, start), |(pace, _), now| (pace.came(now), now))
    }

    #[test]
    fn packets_that_are_rare_are_held_for_their_share_of_the_time() {
        for gap in [APART, 2 * APART, 20 * APART] {
            let (pace, now) = after(Pace::default(), START, gap, 200);
            assert_eq!(pace.most_held(now, 1), gap / SHARE);
            assert_eq!(pace.most_held(now, 0), gap / SHARE);
            assert_eq!(pace.most_held(now, 100), gap / SHARE / 100);
        }
    }

    #[test]
    fn many_are_not_held() {
        for gap in [1, 1_000, APART - 1] {
            let (pace, now) = after(Pace::default(), START, gap, PERIOD / gap.min(1_000) * 2);
            assert_eq!(pace.most_held(now, 1), 0, "{gap}");
        }
    }

    #[test]
    fn none_is_held_before_there_is_something_to_go_by() {
        let (pace, now) = after(Pace::default(), START, 2 * APART, PACKETS);
        assert_eq!(pace.most_held(now, 1), 0);
    }

    #[test]
    fn a_burst_among_rare_packets_is_not_held_once_it_is_one() {
        let (rare, then) = after(Pace::default(), START, 20 * APART, 200);
        for n in 2 * PACKETS..PERIOD / 1_000 {
            let (pace, now) = after(rare, then, 1_000, n);
            assert_eq!(pace.most_held(now, 1), 0, "{n}");
            // The window is not over.
            assert!(pace.gap >= APART, "{n}");
        }
    }

    #[test]
    fn rare_packets_after_a_burst_are_held_again() {
        let (many, then) = after(Pace::default(), START, 1_000, 30_000);
        let (pace, now) = after(many, then, 2 * APART, 3 * PACKETS);
        assert!(pace.most_held(now, 1) > 0, "{pace:?}");
    }

    #[test]
    fn a_processor_whose_clock_is_behind_changes_nothing() {
        let (pace, now) = after(Pace::default(), START, 2 * APART, 200);
        let behind = pace.came(pace.since - 1);
        assert_eq!((behind.gap, behind.since), (pace.gap, pace.since));
        assert!(behind.most_held(now, 1) > 0);
    }
}

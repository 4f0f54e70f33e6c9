//! When a packet leaves the queue of a kernel line, so that it goes on when it should.
//!
//! The line itself takes its time: the queue's timer, two devices and three programs. That is measured packet by packet
//! where the packet goes on, and later ones leave the queue earlier by the least that was seen lately. One that is faster
//! than all before it is held for the rest of its time, which its stamp tells: none goes on too early.

use crate::abi::Way;

/// A window has so many packets at least, and takes so long, nanoseconds.
const PACKETS: u64 = 8;
const PERIOD: u64 = 10_000_000;

/// The low bits of a stamp say by how many units it is before the packet's time.
const UNITS: u64 = 0xff;
/// Nanoseconds.
const UNIT: u64 = 1 << 10;
/// The longest lead, and so the longest that a processor is busy with holding a packet, nanoseconds. Far above what a line
/// takes where not each instruction is emulated.
const MOST: u64 = 127 * UNIT;

/// What the queue is told of a packet that is to go on at `due`, with so much of a lead: nanoseconds, and after `last`, the
/// stamp of the packet before it.
#[inline(always)]
pub fn stamp(due: u64, lead: u64, last: u64) -> u64 {
    let after = (last | UNITS) + 1;
    let own = (due - lead + UNITS) & !UNITS;
    let leaves = if own < after { after } else { own };
    if leaves >= due {
        return leaves;
    }
    leaves | (due - leaves).div_ceil(UNIT)
}

/// When a packet with this stamp leaves the queue, and when it is to go on.
#[inline(always)]
pub fn times(stamp: u64) -> (u64, u64) {
    let leaves = stamp & !UNITS;
    (leaves, leaves + (stamp & UNITS) * UNIT)
}

impl Way {
    /// The same, and a packet that was on its way for `took` when it could go on at `now`.
    #[inline(always)]
    pub fn learn(self, took: u64, now: u64) -> Self {
        // 0 stands for nothing.
        let took = if took == 0 { 1 } else { took };
        if self.packets >= PACKETS && now.wrapping_sub(self.since) >= PERIOD {
            return Self {
                least: took,
                before: self.least,
                packets: 1,
                since: now,
            };
        }
        Self {
            least: if self.packets > 0 && self.least < took {
                self.least
            } else {
                took
            },
            packets: self.packets + 1,
            ..self
        }
    }

    /// By how much a packet that is to wait for `wait` leaves the queue earlier, nanoseconds.
    #[inline(always)]
    pub fn lead(&self, wait: u64) -> u64 {
        let mut lead = wait;
        if self.least < lead {
            lead = self.least;
        }
        if self.before < lead {
            lead = self.before;
        }
        if lead < MOST { lead } else { MOST }
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    const WAIT: u64 = 1_000_000;

    /// One packet each millisecond.
    fn after(packets: impl IntoIterator<Item = u64>) -> Way {
        let packets = packets.into_iter().zip(1..);
        packets.fold(Way::default(), |way, (took, n)| {
            way.learn(took, 5 * PERIOD + n * 1_000_000)
        })
    }

    #[test]
    fn a_stamp_tells_both_times_and_none_is_early() {
        for due in (5_000_000_000..5_000_001_000).step_by(7) {
            for lead in [0, 1, 255, 256, 1_023, 1_024, 9_000, MOST - 1, MOST] {
                let (leaves, goes_on) = times(stamp(due, lead, 0));
                let told = format!("{due} {lead}: {leaves} {goes_on}");
                assert!((due - lead..=due - lead + UNITS).contains(&leaves), "{told}");
                assert!((due..due + UNIT + UNITS).contains(&goes_on), "{told}");
            }
        }
    }

    #[test]
    fn packets_leave_one_after_the_other_however_the_lead_changes() {
        let leads = [0, 30_000, MOST, 2_000, MOST, 0];
        let mut last = 0;
        for n in 0..600 {
            let due = 5_000_000_000 + n * 100;
            let now = stamp(due, leads[n as usize / 100], last);
            assert!(times(now).0 > times(last).0, "{n}");
            assert!(times(now).1 >= due, "{n}");
            last = now;
        }
    }

    #[test]
    fn nothing_is_taken_off_before_there_is_something_to_go_by() {
        assert_eq!(Way::default().lead(WAIT), 0);
        assert_eq!(after([9_000; PACKETS as usize]).lead(WAIT), 0);
        assert_eq!(after([9_000; 200]).lead(WAIT), 9_000);
    }

    #[test]
    fn a_lead_is_no_longer_than_the_wait_and_than_what_a_stamp_can_tell() {
        assert_eq!(after([9_000; 200]).lead(1_000), 1_000);
        assert_eq!(after([9_000; 200]).lead(0), 0);
        assert_eq!(after([WAIT; 200]).lead(WAIT), MOST);
    }

    #[test]
    fn the_fastest_of_two_windows_counts_and_is_forgotten() {
        let slow = [9_000; 50];
        let fast_at = |n: usize| {
            let mut packets = slow;
            packets[n] = 2_000;
            after(packets).lead(WAIT)
        };
        // The last one; of this window; of the one before it; of an earlier one.
        for (n, lead) in [(49, 2_000), (48, 2_000), (40, 2_000), (30, 9_000)] {
            assert_eq!(fast_at(n), lead, "{n}");
        }
    }

    #[test]
    fn few_packets_make_no_window() {
        // One each 10 s.
        let rare = |count: u64| (1..=count).fold(Way::default(), |way, n| way.learn(7_000, n * 100 * PERIOD));
        assert_eq!(rare(PACKETS).lead(WAIT), 0);
        assert_eq!(rare(PACKETS + 1).lead(WAIT), 7_000);
    }
}

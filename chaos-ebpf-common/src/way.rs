//! When a packet leaves the queue of a kernel line, so that it goes on when it should.
//!
//! The line itself takes its time: the queue's timer, devices and programs. That is measured packet by packet
//! where the packet goes on, and later ones leave the queue earlier by what most have taken lately. One that takes less is
//! held for the rest of its time, which its stamp tells, so none goes on too early. Those that may not be held
//! ([`crate::pace`]) leave the queue earlier by the least that any has taken.

use crate::abi::Way;

/// A window has so many packets at least, and takes so long, nanoseconds.
const PACKETS: u64 = 8;
const PERIOD: u64 = 10_000_000;

/// One packet in so many takes longer than usual.
const MOST_OF: u64 = 16;
/// How fast that number follows: by this part of itself and nanoseconds.
const PART: u64 = 256;
const STEP: u64 = 16;

/// The low bits of a stamp say by how much it is before the packet's time, as [`code_of`] writes it.
const CODES: u64 = 0xff;
/// Nanoseconds.
const UNIT: u64 = CODES + 1;
/// Bits of a code that count; those above them say how often they are doubled.
const BITS: u32 = 5;
/// The longest lead, and so the longest that a processor is busy with holding a packet, nanoseconds.
const MOST: u64 = 500_000;

/// What the queue is told of a packet that is to go on at `due`, with so much of a lead: nanoseconds, and after `last`, the
/// stamp of the packet before it.
#[inline(always)]
pub fn stamp(due: u64, lead: u64, last: u64) -> u64 {
    let after = (last | CODES) + 1;
    let own = (due - lead + CODES) & !CODES;
    let leaves = if own < after { after } else { own };
    if leaves >= due {
        return leaves;
    }
    leaves | code_of((due - leaves).div_ceil(UNIT))
}

/// When a packet with this stamp leaves the queue, and when it is to go on.
#[inline(always)]
pub fn times(stamp: u64) -> (u64, u64) {
    let leaves = stamp & !CODES;
    (leaves, leaves + units_of(stamp & CODES) * UNIT)
}

/// The code of a number of units, or of the next larger one that has a code.
#[inline(always)]
fn code_of(units: u64) -> u64 {
    let code = code_within(units);
    // Codes follow each other as what they stand for does.
    code + (units_of(code) < units) as u64
}

/// The code of a number of units, or of the next smaller one that has a code.
#[inline(always)]
fn code_within(units: u64) -> u64 {
    if units < 1 << BITS {
        return units;
    }
    let doubled = units.ilog2() - BITS;
    ((doubled as u64) << BITS) + (units >> doubled)
}

/// Units of a code.
#[inline(always)]
fn units_of(code: u64) -> u64 {
    let counted = 1 << BITS;
    if code < counted {
        return code;
    }
    let doubled = (code >> BITS) - 1;
    (counted | code & (counted - 1)) << doubled
}

impl Way {
    /// The same, and a packet that was on its way for `took` when it could go on at `now`.
    #[inline(always)]
    pub fn learn(self, took: u64, now: u64) -> Self {
        // 0 stands for nothing.
        let took = if took == 0 { 1 } else { took };
        let usual = self.usual_after(took);
        if self.packets >= PACKETS && now.wrapping_sub(self.since) >= PERIOD {
            return Self {
                least: took,
                before: self.least,
                usual,
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
            usual,
            packets: self.packets + 1,
            ..self
        }
    }

    /// What most have stayed below: up by much when one took longer, down by little when not.
    #[inline(always)]
    fn usual_after(&self, took: u64) -> u64 {
        let step = self.usual / PART + STEP;
        let usual = if self.usual == 0 {
            took
        } else if took <= self.usual {
            self.usual.saturating_sub(step)
        } else {
            self.usual + step * (MOST_OF - 1)
        };
        if usual < MOST { usual } else { MOST }
    }

    /// What a line goes by that has let no packet go yet, where another one has learnt this.
    pub fn handed_on(self) -> Option<Self> {
        let least = self.least();
        (least > 0).then(|| Self {
            least,
            before: least,
            usual: self.usual,
            ..Self::default()
        })
    }

    /// The least that any packet has taken lately; of the first window, nothing is known yet.
    #[inline(always)]
    fn least(&self) -> u64 {
        if self.least < self.before {
            self.least
        } else {
            self.before
        }
    }

    /// By how much a packet that is to wait for `wait`, and may be held for `most_held`, leaves the queue earlier,
    /// nanoseconds.
    #[inline(always)]
    pub fn lead(&self, wait: u64, most_held: u64) -> u64 {
        let least = self.least();
        if least == 0 {
            return 0;
        }
        let mut held = self.usual.saturating_sub(least);
        if most_held < held {
            held = most_held;
        }
        let mut lead = least + held;
        if wait < lead {
            lead = wait;
        }
        if MOST < lead {
            lead = MOST;
        }
        units_of(code_within(lead / UNIT)) * UNIT
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    const WAIT: u64 = 1_000_000;
    const GAP: u64 = 5_000_000;

    /// One packet each [`GAP`].
    fn after(packets: impl IntoIterator<Item = u64>) -> Way {
        each(GAP, packets)
    }

    fn each(gap: u64, packets: impl IntoIterator<Item = u64>) -> Way {
        let packets = packets.into_iter().zip(1..);
        packets.fold(Way::default(), |way, (took, n)| {
            way.learn(took, 5 * PERIOD + n * gap)
        })
    }

    /// Packets of which one in eight takes four times as long as the others.
    fn mixed(count: usize) -> impl Iterator<Item = u64> {
        (0..count).map(|n| if n % 8 == 3 { 40_000 } else { 10_000 })
    }

    #[test]
    fn codes_stand_for_numbers_that_differ_by_a_part_of_32_and_follow_each_other() {
        for code in 0..=CODES {
            assert_eq!(code_of(units_of(code)), code);
            assert_eq!(code_within(units_of(code)), code);
        }
        for code in 1..=CODES {
            let (before, units) = (units_of(code - 1), units_of(code));
            assert!(
                before < units && (units - before) * 32 <= units.max(32),
                "{code}: {before} {units}"
            );
            if before + 1 < units {
                assert_eq!(code_of(before + 1), code);
                assert_eq!(code_within(units - 1), code - 1);
            }
        }
        assert!(units_of(CODES) * UNIT > MOST);
    }

    #[test]
    fn a_stamp_tells_both_times_and_none_is_early() {
        for due in (5_000_000_000..5_000_001_000).step_by(7) {
            for code in [0, 1, 3, 31, 32, 40, 130, 200] {
                let lead = units_of(code) * UNIT;
                let (leaves, goes_on) = times(stamp(due, lead, 0));
                let told = format!("{due} {lead}: {leaves} {goes_on}");
                assert!((due - lead..due - lead + UNIT).contains(&leaves), "{told}");
                assert!((due..due + UNIT).contains(&goes_on), "{told}");
            }
        }
    }

    #[test]
    fn packets_leave_one_after_the_other_however_the_lead_changes() {
        let leads = [0, 31 * UNIT, 992 * UNIT, 2 * UNIT, 992 * UNIT, 0];
        let mut last = 0;
        for n in 0..600 {
            let due = 5_000_000_000 + n * 100;
            let lead = leads[n as usize / 100];
            let now = stamp(due, lead, last);
            let (leaves, goes_on) = times(now);
            assert!(leaves > times(last).0, "{n}");
            assert!(goes_on >= due, "{n}");
            assert!(goes_on <= leaves.max(due + UNIT + lead / 32), "{n}");
            last = now;
        }
    }

    #[test]
    fn nothing_is_taken_off_before_there_is_something_to_go_by() {
        assert_eq!(Way::default().lead(WAIT, MOST), 0);
        assert_eq!(after([8_960; PACKETS as usize]).lead(WAIT, MOST), 0);
        assert_eq!(after([8_960; 200]).lead(WAIT, MOST), 8_960);
    }

    #[test]
    fn a_lead_is_no_longer_than_the_wait_and_than_the_longest() {
        assert_eq!(after([8_960; 200]).lead(1_024, MOST), 1_024);
        assert_eq!(after([8_960; 200]).lead(1_023, MOST), 768);
        assert_eq!(after([8_960; 200]).lead(0, MOST), 0);
        let longest = after([WAIT; 200]).lead(WAIT, MOST);
        assert!(longest <= MOST && longest > MOST - MOST / 32, "{longest}");
    }

    #[test]
    fn packets_leave_by_what_most_take_earlier_or_by_the_least_and_what_they_may_be_held() {
        let way = after(mixed(3_000));
        let most = way.lead(WAIT, MOST);
        assert!((38_000..60_000).contains(&most), "{most}");
        let least = way.lead(WAIT, 0);
        assert!((9_900..=10_100).contains(&least), "{least}");
        let between = way.lead(WAIT, 8_000);
        assert!((17_400..=18_000).contains(&between), "{between}");
    }

    #[test]
    fn a_packet_that_took_long_is_forgotten() {
        let once = [MOST].into_iter().chain([10_000; 1_500]);
        let lead = after(once).lead(WAIT, MOST);
        assert!((9_900..=11_000).contains(&lead), "{lead}");
    }

    #[test]
    fn the_fastest_of_two_windows_counts_and_is_forgotten() {
        let slow = [8_960; 50];
        let fast_at = |n: usize| {
            let mut packets = slow;
            packets[n] = 2_048;
            // Windows of many packets.
            each(1_000, packets.into_iter().flat_map(|took| [took; 2_000])).lead(WAIT, 0)
        };
        // The last one; of this window; of the one before it; of an earlier one.
        for (n, lead) in [(49, 2_048), (48, 2_048), (40, 2_048), (30, 8_960)] {
            assert_eq!(fast_at(n), lead, "{n}");
        }
    }

    #[test]
    fn few_packets_make_no_window() {
        // One each 10 s.
        let rare = |count: usize| each(1_000 * PERIOD, std::vec![7_168; count]);
        assert_eq!(rare(PACKETS as usize).lead(WAIT, MOST), 0);
        let lead = rare(PACKETS as usize + 1).lead(WAIT, MOST);
        assert!((7_168..8_000).contains(&lead), "{lead}");
    }

    #[test]
    fn what_one_line_has_learnt_is_handed_on_to_another() {
        assert_eq!(Way::default().handed_on(), None);
        assert_eq!(after([8_960; PACKETS as usize]).handed_on(), None);
        let learnt = after(mixed(3_000));
        let fresh = learnt.handed_on().expect("has let packets go");
        for most_held in [0, 8_000, MOST] {
            assert_eq!(fresh.lead(WAIT, most_held), learnt.lead(WAIT, most_held));
        }
        // Of its own packets it learns like any other.
        let own = [20_480; 200];
        let at = (0..).map(|n| 500 * PERIOD + n * GAP);
        let way = own
            .into_iter()
            .zip(at)
            .fold(fresh, |way, (took, now)| way.learn(took, now));
        assert_eq!(way.lead(WAIT, 0), 20_480);
    }
}

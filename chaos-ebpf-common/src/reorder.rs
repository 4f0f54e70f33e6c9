//! Which packets do not wait.

/// How long, in nanoseconds, a packet is held back for others to overtake it, when none of them waits by itself.
pub const HELD_BACK: u64 = 10_000_000;

/// Whether a packet jumps the queue, as netem has it: when it is `chosen`, which nobody is asked before `gap` - 1
/// others have waited; and the memory afterwards, which counts those, from 0.
pub fn jumps(gap: u32, waited: u32, chosen: impl FnOnce() -> bool) -> (bool, u32) {
    if waited.saturating_add(1) >= gap && chosen() {
        (true, 0)
    } else {
        (false, waited.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{CERTAIN, Stream, hit};

    fn run(chance: u64, gap: u32, packets: u64) -> usize {
        let mut waited = 0;
        (0..packets)
            .filter(|n| {
                let (jumped, next) = jumps(gap, waited, || hit(7, Stream::Reorder, *n, chance));
                waited = next;
                jumped
            })
            .count()
    }

    #[test]
    fn every_fifth_when_certain_and_one_in_eight_with_a_quarter() {
        assert_eq!(run(CERTAIN, 5, 1_000), 200);
        assert_eq!(run(CERTAIN, 1, 1_000), 1_000);
        assert_eq!(run(0, 1, 1_000), 0);
        // Four wait, then a quarter: 4 + 4 packets for each that jumps.
        assert!((11_800..13_200).contains(&run(CERTAIN / 4, 5, 100_000)));
    }

    #[test]
    fn nobody_is_chosen_before_the_gap_is_over() {
        assert_eq!(jumps(5, 3, || panic!("asked too early")), (false, 4));
    }

    #[test]
    fn the_count_of_those_that_waited_does_not_turn_over() {
        assert_eq!(jumps(5, u32::MAX, || false), (false, u32::MAX));
    }
}

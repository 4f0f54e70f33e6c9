//! On which processor the packets of a flow wait on a kernel line: where the first of them came to the hook, for as long as
//! any wait. It does what a healthy path does, too: whoever sends pays for it, and is slower when there is too much to do.
//! On another processor packets would come faster than they go, and be lost.
//!
//! The kernel spreads packets over the processors that it may by the upper bits of their hash, `hash * processors >> 32`
//! (`get_rps_cpu` and `skb_tx_hash` of net/core/dev.c), so that is how a home is named: by its part of the way through them,
//! in 256ths.

/// Bits of a hash below those that name the home.
pub const BELOW: u32 = 24;
/// A flow keeps its home for so long after its last packet has left, nanoseconds: one may be late.
const SETTLED: u64 = 10_000_000;
/// The low bits of a stamp, which are not part of the time ([`crate::way`]).
const HOME: u64 = 0xff;

/// Value of the `HOMES` array, for each processor: the home of packets that come to the hook there, how many processors
/// receive packets, and its place among them.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home(pub u64);

impl Home {
    /// Bits that a number of processors takes.
    const NUMBER: u32 = 28;
    const NUMBERS: u64 = (1 << Self::NUMBER) - 1;
    /// No place.
    const AWAY: u64 = Self::NUMBERS;

    /// Of the processor at this place. Of more than 128, some share a home with the next.
    pub fn at(place: u32, processors: u32) -> Self {
        let (place, processors) = (u64::from(place), u64::from(processors.max(1)));
        let part = (place << 8).div_ceil(processors);
        Self(place << (8 + Self::NUMBER) | (processors & Self::NUMBERS) << 8 | part.min(0xff))
    }

    /// Of one that receives none, at that of the processor at this place.
    pub fn away(place: u32, processors: u32) -> Self {
        Self(Self::at(place, processors).0 | Self::AWAY << (8 + Self::NUMBER))
    }

    /// How it is named.
    #[inline(always)]
    pub fn name(self) -> u8 {
        self.0 as u8
    }

    /// Whether packets with this hash are received by this very processor.
    #[inline(always)]
    pub fn receives(self, hash: u32) -> bool {
        let processors = self.0 >> 8 & Self::NUMBERS;
        (hash as u64 * processors) >> 32 == self.0 >> (8 + Self::NUMBER)
    }
}

/// The hash of a packet that waits there, the rest of which is a number.
#[inline(always)]
pub fn hash(home: u8, number: u32) -> u32 {
    (home as u32) << BELOW | number & ((1 << BELOW) - 1)
}

/// What is remembered of the last packet of a flow: when it leaves, and where it waits.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last(pub u64);

impl Last {
    /// Of a packet with this stamp.
    #[inline(always)]
    pub fn new(stamp: u64, home: u8) -> Self {
        Self(stamp & !HOME | home as u64)
    }

    /// Where the next one waits, which has come now and here.
    #[inline(always)]
    pub fn home(self, now: u64, here: u8) -> u8 {
        if (self.0 & !HOME) + SETTLED < now {
            here
        } else {
            (self.0 & HOME) as u8
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::way::{stamp, times};

    /// As the kernel does it.
    fn processor_of(hash: u32, processors: u32) -> u32 {
        ((u64::from(hash) * u64::from(processors)) >> 32) as u32
    }

    #[test]
    fn packets_wait_at_home_whatever_the_rest_of_their_hash_is() {
        for processors in 1..=128 {
            for place in 0..processors {
                for number in [0, 1, 0x0080_0000, u32::MAX] {
                    let home = Home::at(place, processors);
                    let hash = hash(home.name(), number);
                    assert!(home.receives(hash), "{place} of {processors}: {number:#x}");
                    assert_eq!(
                        processor_of(hash, processors),
                        place,
                        "of {processors}: {number:#x}"
                    );
                }
            }
        }
    }

    #[test]
    fn on_larger_machines_they_wait_near_it() {
        for processors in [129_u32, 192, 256, 384, 1024, 4096] {
            let near = 2 * processors.div_ceil(256);
            for place in 0..processors {
                for number in [0, u32::MAX] {
                    let home = Home::at(place, processors);
                    let hash = hash(home.name(), number);
                    let found = processor_of(hash, processors);
                    assert_eq!(home.receives(hash), found == place, "{place} of {processors}");
                    assert!(found < processors, "{place} of {processors}: {found}");
                    assert!(found.abs_diff(place) <= near, "{place} of {processors}: {found}");
                }
            }
        }
    }

    #[test]
    fn a_processor_that_receives_none_sends_its_packets_to_another() {
        for (place, processors) in [(0, 1), (1, 2), (127, 128), (4095, 4096)] {
            let (there, away) = (Home::at(place, processors), Home::away(place, processors));
            assert_eq!(away.name(), there.name());
            assert!(!away.receives(hash(away.name(), 5)));
        }
    }

    #[test]
    fn a_flow_stays_at_home_until_its_last_packet_has_long_left() {
        const LEAVES: u64 = 5_000_000_000;
        let last = Last::new(stamp(LEAVES + 70_000, 70_000, 0), 7);
        assert_eq!(last.home(LEAVES - 40_000_000, 3), 7);
        assert_eq!(last.home(LEAVES + SETTLED / 2, 3), 7);
        assert_eq!(last.home(LEAVES + 2 * SETTLED, 3), 3);
    }

    #[test]
    fn the_next_one_leaves_later_whatever_the_home_is() {
        for home in [0, 1, 255] {
            let first = stamp(5_000_000_000, 0, 0);
            let second = stamp(4_000_000_000, 0, Last::new(first, home).0);
            assert!(times(second).0 > times(first).0);
        }
    }
}

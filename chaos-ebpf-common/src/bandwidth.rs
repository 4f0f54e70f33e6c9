//! A bottleneck: a bucket of tokens seen as a virtual clock (ITU-T I.371, generic cell rate algorithm).

/// Longest time, in nanoseconds, that packets wait for a bottleneck which nobody holds back; later ones are lost, as in
/// a router's queue.
pub const LONGEST: u64 = 1_000_000_000;

/// When a packet has passed the bottleneck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passes {
    /// At once: the burst allows it. `busy_until` is the memory of the bottleneck afterwards.
    AtOnce { busy_until: u64 },
    /// At `busy_until`, which is its memory, too.
    Later { busy_until: u64 },
    /// Never: too many wait already.
    Lost,
}

/// `bytes` arrive at `arrival` at a bottleneck of `rate` bits a second, through which `burst` bytes may go at once, and
/// which is busy with earlier ones until `busy_until`, and wait there for `longest` at most. Times are nanoseconds of one
/// clock.
pub fn pass(rate: u64, burst: u64, bytes: u64, arrival: u64, busy_until: u64, longest: u64) -> Passes {
    let time = |bytes: u64| {
        let nanoseconds = u128::from(bytes) * 8_000_000_000 / u128::from(rate.max(1));
        u64::try_from(nanoseconds).unwrap_or(u64::MAX)
    };
    let start = busy_until.max(arrival.saturating_sub(time(burst)));
    let busy_until = start.saturating_add(time(bytes));
    if busy_until <= arrival {
        Passes::AtOnce { busy_until }
    } else if busy_until - arrival > longest {
        Passes::Lost
    } else {
        Passes::Later { busy_until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MBIT: u64 = 1_000_000;
    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let (mut busy, mut at_once, mut last) = (0, 0, 0);
        for _ in 0..100 {
            match pass(10 * MBIT, 32_768, 1_250, SECOND, busy, LONGEST) {
                Passes::AtOnce { busy_until } => {
                    at_once += 1;
                    busy = busy_until;
                }
                Passes::Later { busy_until } => {
                    last = busy_until;
                    busy = busy_until;
                }
                Passes::Lost => unreachable!("100 packets are a tenth of a second"),
            }
        }
        assert_eq!(at_once, 26, "32 KiB are 26 packets");
        // 125,000 bytes less the burst, at 10 Mbit/s.
        let want = SECOND + (125_000 - 32_768) * 800;
        assert!(last.abs_diff(want) < 1_000, "{last} {want}");
    }

    #[test]
    fn what_would_wait_too_long_is_lost_and_takes_no_time() {
        let far = SECOND + LONGEST;
        assert_eq!(pass(MBIT, 0, 1_250, SECOND, far, LONGEST), Passes::Lost);
        assert!(matches!(
            pass(MBIT, 0, 1_250, SECOND, far, u64::MAX),
            Passes::Later { .. }
        ));
        assert!(matches!(
            pass(MBIT, 0, 1, SECOND, SECOND, LONGEST),
            Passes::Later { .. }
        ));
        assert_eq!(
            pass(0, 0, u64::MAX, 0, 0, LONGEST),
            Passes::Lost,
            "no rate at all"
        );
    }
}

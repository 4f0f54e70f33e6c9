//! A counter-based random generator: the n-th draw is a function of (seed, stream, n) alone, so the
//! same seed over the same packets gives the same verdicts, on any CPU and after any restart.

/// Independent streams of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Stream {
    /// Choice of flows, keyed by the flow instead of a counter.
    Flows = 1,
    /// Choice of flows to reset.
    Reset = 2,
    /// `reject`.
    Reject = 3,
    /// `drop`.
    Drop = 4,
    /// State changes of the loss chain.
    Chain = 5,
    /// `duplicate`.
    Duplicate = 6,
    /// `corrupt`.
    Corrupt = 7,
    /// Which bit `corrupt` flips.
    Bit = 8,
    /// The state in which a loss chain begins.
    Beginning = 9,
    /// How long a packet waits.
    Delay = 10,
    /// `reorder`.
    Reorder = 11,
    /// `http` and `dns`.
    Application = 12,
}

/// 100 % as a threshold.
pub const CERTAIN: u64 = 1 << 32;

/// A 64-bit mix with full avalanche (the finalizer of splitmix64, Steele, Lea and Flood 2014).
#[inline(always)]
pub const fn mix(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Draw `n` of a stream: 64 uniform bits.
#[inline(always)]
pub const fn draw(seed: u64, stream: Stream, n: u64) -> u64 {
    let key = mix(seed.wrapping_add((stream as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    mix(key ^ n.wrapping_mul(0xd134_2543_de82_ef95))
}

/// Whether draw `n` hits with probability `threshold` / 2^32.
#[inline(always)]
pub const fn hit(seed: u64, stream: Stream, n: u64, threshold: u64) -> bool {
    (draw(seed, stream, n) >> 32) < threshold
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn nothing_and_everything_are_exact() {
        for n in 0..10_000 {
            assert!(!hit(7, Stream::Drop, n, 0));
            assert!(hit(7, Stream::Drop, n, CERTAIN));
        }
    }

    #[test]
    fn a_seed_replays_and_streams_differ() {
        let run = |seed, stream| (0..64).map(|n| draw(seed, stream, n)).collect::<Vec<_>>();
        assert_eq!(run(42, Stream::Drop), run(42, Stream::Drop));
        assert_ne!(run(42, Stream::Drop), run(43, Stream::Drop));
        assert_ne!(run(42, Stream::Drop), run(42, Stream::Corrupt));
    }

    /// Two-sided 99.9 % bounds of a binomial, normal approximation.
    #[test]
    fn chances_hold_for_counters_and_for_small_seeds() {
        for seed in 0..20 {
            for (threshold, p) in [
                (CERTAIN / 100, 0.01f64),
                (CERTAIN / 2, 0.5),
                (CERTAIN / 10 * 9, 0.9),
            ] {
                let n = 200_000u64;
                let hits = (0..n).filter(|&i| hit(seed, Stream::Drop, i, threshold)).count() as f64;
                // 20 seeds × 3 chances are tried: 4.5 sigma keeps the family at 99.9 %.
                let sigma = (n as f64 * p * (1.0 - p)).sqrt();
                assert!(
                    (hits - n as f64 * p).abs() < 4.5 * sigma,
                    "seed {seed} p {p}: {hits}"
                );
            }
        }
    }

    #[test]
    fn neighbouring_draws_are_not_correlated() {
        let n = 200_000u64;
        let x: Vec<f64> = (0..n)
            .map(|i| (draw(1, Stream::Drop, i) >> 32) as f64 / CERTAIN as f64 - 0.5)
            .collect();
        let c: f64 = x.windows(2).map(|w| w[0] * w[1]).sum::<f64>() / (n as f64 / 12.0);
        assert!(c.abs() < 4.0 / (n as f64).sqrt(), "lag-1 correlation {c}");
    }
}

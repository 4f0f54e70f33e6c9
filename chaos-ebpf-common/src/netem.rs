//! netem's recurrences (`net/sched/sch_netem.c`), for `compat: netem`: the same sequence of operations on our own
//! random numbers. Neither keeps what was asked for, which is why nobody gets them without asking.
//!
//! netem correlates by a weighted mean of a fresh number and the last. Such means crowd around the middle, so a
//! small chance is met far more rarely than it says (20 % with a correlation of 75 %: 0.12 %). Jitter is read from the low digits
//! of the same number, by a remainder, and those hardly remember anything.

use crate::rng::CERTAIN;

/// One jitter in the units of netem's tables.
pub const SCALE: i64 = 8192;

/// The next correlated number (`get_crandom`), 32 bits wide, and at the same time the memory for the one after it.
/// `correlation` is 0..2^32; netem's `rho` is one less and has one added before use.
#[inline(always)]
pub fn number(fresh: u32, last: u64, correlation: u64) -> u64 {
    if correlation == 0 {
        return fresh as u64;
    }
    let fresh_part = (fresh as u64).wrapping_mul(CERTAIN.wrapping_sub(correlation));
    fresh_part.wrapping_add((last & 0xffff_ffff).wrapping_mul(correlation)) >> 32
}

/// Whether a correlated number hits: `loss_event`, and likewise for copies and flips.
#[inline(always)]
pub fn hits(chance: u64, number: u64) -> bool {
    chance != 0 && chance >= number
}

/// A delay in nanoseconds (`tabledist`), never less than nothing. Without a table the jitter is uniform; a table is
/// read at the number's remainder, so its order does not matter. `jitter` counts up to 2^31 - 1 ns, as there.
pub fn delay(latency: u64, jitter: u64, table: Option<&[i16]>, number: u64) -> u64 {
    let (latency, jitter) = (
        i64::try_from(latency).unwrap_or(i64::MAX),
        i64::try_from(jitter).unwrap_or(i64::MAX).min(i64::from(i32::MAX)),
    );
    let offset = match table {
        _ if jitter == 0 => 0,
        None => (number & 0xffff_ffff) as i64 % (2 * jitter) - jitter,
        Some([]) => 0,
        Some(table) => {
            let entry = i64::from(table[(number & 0xffff_ffff) as usize % table.len()]);
            let fine = jitter % SCALE * entry;
            let half = if fine < 0 { -SCALE / 2 } else { SCALE / 2 };
            (fine + half) / SCALE + jitter / SCALE * entry
        }
    };
    latency.saturating_add(offset).max(0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Stream, draw};
    use std::vec::Vec;

    fn run(correlation: f64, count: u64) -> Vec<u64> {
        let correlation = (correlation * CERTAIN as f64) as u64;
        let mut last = draw(7, Stream::Beginning, 0) >> 32;
        (0..count)
            .map(|n| {
                last = number((draw(7, Stream::Drop, n) >> 32) as u32, last, correlation);
                last
            })
            .collect()
    }

    fn lag1(values: &[f64]) -> f64 {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let square: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        values
            .windows(2)
            .map(|w| (w[0] - mean) * (w[1] - mean))
            .sum::<f64>()
            / square
    }

    #[test]
    fn the_recurrence_by_hand() {
        // rho = 0.75: a quarter of the fresh number and three quarters of the last.
        let three_quarters = CERTAIN / 4 * 3;
        assert_eq!(number(4_000_000_000, 0, three_quarters), 1_000_000_000);
        assert_eq!(number(0, 4_000_000_000, three_quarters), 3_000_000_000);
        assert_eq!(
            number(u32::MAX, u64::from(u32::MAX), three_quarters),
            u64::from(u32::MAX)
        );
        assert_eq!(
            number(77, 12345, 0),
            77,
            "without correlation nothing is remembered"
        );
        assert!(hits(5, 5) && !hits(5, 6) && !hits(0, 0));
    }

    #[test]
    fn its_numbers_are_as_correlated_as_asked_but_not_uniform() {
        let numbers: Vec<f64> = run(0.75, 200_000).iter().map(|n| *n as f64).collect();
        assert!((lag1(&numbers) - 0.75).abs() < 0.01, "{}", lag1(&numbers));
        let below = |share: f64| {
            let limit = share * CERTAIN as f64;
            numbers.iter().filter(|n| **n <= limit).count() as f64 / numbers.len() as f64
        };
        assert!(below(0.2) < 0.002, "{}", below(0.2));
        assert!((below(0.5) - 0.5).abs() < 0.02, "{}", below(0.5));
    }

    #[test]
    fn delays_keep_their_spread_and_lose_their_correlation() {
        let table: Vec<i16> = (0..4096).map(|n| ((n - 2048) * 4) as i16).collect();
        for table in [None, Some(table.as_slice())] {
            let delays: Vec<f64> = run(0.75, 200_000)
                .iter()
                .map(|n| delay(100_000_000, 20_000_000, table, *n) as f64 / 1e6)
                .collect();
            let mean = delays.iter().sum::<f64>() / delays.len() as f64;
            let deviation =
                (delays.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / delays.len() as f64).sqrt();
            assert!((mean - 100.0).abs() < 0.1, "{mean}");
            assert!((deviation - 20.0 / 3f64.sqrt()).abs() < 0.1, "{deviation}");
            assert!(lag1(&delays).abs() < 0.01, "{}", lag1(&delays));
        }
    }

    #[test]
    fn a_delay_by_hand() {
        let table = [-8192, 0, 8192, 4096];
        assert_eq!(delay(1_000_000, 500_000, Some(&table), 0), 500_000);
        assert_eq!(delay(1_000_000, 500_000, Some(&table), 5), 1_000_000);
        assert_eq!(delay(1_000_000, 500_000, Some(&table), 6), 1_500_000);
        assert_eq!(delay(1_000_000, 500_000, Some(&table), 7), 1_250_000);
        assert_eq!(delay(100_000, 500_000, Some(&table), 0), 0, "not before it came");
        assert_eq!(delay(1_000, 100, None, 0), 900);
        assert_eq!(delay(1_000, 100, None, 199), 1_099);
        assert_eq!(delay(1_000, 0, None, 199), 1_000);
        assert_eq!(delay(1_000, 100, Some(&[]), 199), 1_000);
    }
}

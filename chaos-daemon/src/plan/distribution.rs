//! Jitter distributions as tables, in units of the jitter: zero mean but for `uniform`'s own, and a standard
//! deviation of one where the distribution has one by that name.

use std::sync::OnceLock;

use chaos_ebpf_common::delay::{Normal, ONE, Shape, TABLE};
use chaos_spec::Distribution;

/// Exponent of the Pareto distribution, as netem's table has it.
const PARETO: f64 = 3.0;

/// Quantiles of the standard normal distribution.
pub fn normal() -> &'static Normal {
    static TABLE_OF: OnceLock<Box<Normal>> = OnceLock::new();
    TABLE_OF.get_or_init(|| Box::new(core::array::from_fn(|i| fixed(normal_quantile(centre(i))))))
}

/// A distribution by its name.
pub fn shape(distribution: Distribution) -> &'static Shape {
    static TABLES: [OnceLock<Box<Shape>>; 4] = [const { OnceLock::new() }; 4];
    let (place, quantile): (usize, fn(f64) -> f64) = match distribution {
        Distribution::Uniform => (0, |u| 2.0 * u - 1.0),
        Distribution::Normal => (1, normal_quantile),
        Distribution::Pareto => (2, pareto_quantile),
        Distribution::ParetoNormal => (3, pareto_normal_quantile),
    };
    TABLES[place].get_or_init(|| {
        Box::new(core::array::from_fn(|i| {
            let number = -4.0 + (i as f64 + 0.5) * 8.0 / TABLE as f64;
            fixed(quantile(normal_share(number)))
        }))
    })
}

fn centre(i: usize) -> f64 {
    (i as f64 + 0.5) / TABLE as f64
}

fn fixed(number: f64) -> i32 {
    (number * ONE as f64).round() as i32
}

/// How much of the standard normal distribution lies below `x`.
fn normal_share(x: f64) -> f64 {
    0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)
}

/// Its inverse, by halving: a table is made once.
fn normal_quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-9.0, 9.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if normal_share(middle) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// Pareto, moved and scaled to zero mean and a standard deviation of one.
fn pareto_quantile(share: f64) -> f64 {
    let mean = PARETO / (PARETO - 1.0);
    let deviation = (PARETO / ((PARETO - 1.0).powi(2) * (PARETO - 2.0))).sqrt();
    ((1.0 - share).powf(-1.0 / PARETO) - mean) / deviation
}

/// A quarter normal, three quarters Pareto, as netem mixes them: quantile by quantile.
fn pareto_normal_quantile(share: f64) -> f64 {
    0.25 * normal_quantile(share) + 0.75 * pareto_quantile(share)
}

/// Square root of 1 - c².
pub fn freshness(correlation: f64) -> f64 {
    (1.0 - correlation * correlation).max(0.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chaos_ebpf_common::delay::{Delay, sample};

    fn run(distribution: Distribution, correlation: f64, n: u64) -> Vec<f64> {
        let delay = Delay {
            latency: 100_000_000,
            jitter: 20_000_000,
            correlation: (correlation * ONE as f64) as i64,
            freshness: (freshness(correlation) * ONE as f64) as i64,
        };
        let mut memory = 0;
        (0..n)
            .map(|i| {
                let (wait, next) = sample(&delay, normal(), shape(distribution), 42, i, memory);
                memory = next;
                (wait as f64 - 1e8) / 2e7
            })
            .collect()
    }

    /// Kolmogorov-Smirnov distance to the distribution that `share` is the inverse of.
    fn distance(mut found: Vec<f64>, quantile: fn(f64) -> f64) -> f64 {
        found.sort_by(f64::total_cmp);
        let n = found.len() as f64;
        (1..1000)
            .map(|i| {
                let u = f64::from(i) / 1000.0;
                let below = found.partition_point(|x| *x < quantile(u)) as f64 / n;
                (below - u).abs()
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn every_distribution_is_the_asked_one_whatever_the_correlation() {
        type Quantile = fn(f64) -> f64;
        let uniform: Quantile = |u| 2.0 * u - 1.0;
        for (distribution, quantile) in [
            (Distribution::Uniform, uniform),
            (Distribution::Normal, normal_quantile),
            (Distribution::Pareto, pareto_quantile),
            (Distribution::ParetoNormal, pareto_normal_quantile),
        ] {
            for correlation in [0.0, 0.25, 0.75] {
                let n = 100_000;
                let d = distance(run(distribution, correlation, n), quantile);
                // 1.95 / sqrt(n) is the 99.9 % bound; correlated samples count for fewer.
                let fewer = n as f64 * (1.0 - correlation) / (1.0 + correlation);
                assert!(d < 1.95 / fewer.sqrt(), "{distribution:?} {correlation}: {d}");
            }
        }
    }

    #[test]
    fn neighbours_are_as_correlated_as_asked() {
        for asked in [0.0, 0.25, 0.75] {
            let found = run(Distribution::Normal, asked, 100_000);
            let mean = found.iter().sum::<f64>() / found.len() as f64;
            let square: f64 = found.iter().map(|x| (x - mean).powi(2)).sum();
            let lag: f64 = found.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum();
            assert!((lag / square - asked).abs() < 0.015, "{asked}: {}", lag / square);
        }
    }

    #[test]
    fn no_jitter_is_the_latency_and_nothing_is_less_than_nothing() {
        let still = Delay {
            latency: 7,
            ..Delay::default()
        };
        assert_eq!(
            sample(&still, normal(), shape(Distribution::Normal), 1, 1, 5),
            (7, 5)
        );
        let wild = Delay {
            latency: 1,
            jitter: 1_000_000,
            correlation: 0,
            freshness: ONE,
        };
        let waits: Vec<u64> = (0..1000)
            .map(|i| sample(&wild, normal(), shape(Distribution::Normal), 1, i, 0).0)
            .collect();
        assert!(waits.contains(&0) && waits.iter().all(|w| *w < 10_000_000));
    }
}

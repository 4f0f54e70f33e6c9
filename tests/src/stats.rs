//! Bounds that an honest random process stays within in 999 of 1,000 runs.

use std::ops::RangeInclusive;

/// Inclusive bounds of a count.
pub type Bounds = RangeInclusive<u64>;

/// Two-sided 99.9 % bounds of a binomial count: each tail outside has at most 0.05 %. Exact.
///
/// # Panics
/// When `p` is no probability.
pub fn binomial_999(n: u64, p: f64) -> Bounds {
    assert!((0.0..=1.0).contains(&p), "{p} is no probability");
    if p == 0.0 {
        return 0..=0;
    }
    if p == 1.0 {
        return n..=n;
    }
    const TAIL: f64 = 0.0005;
    let mut below = 0.0;
    let mut low = 0;
    for k in 0..=n {
        below += probability(n, p, k);
        if below > TAIL {
            low = k;
            break;
        }
    }
    let mut above = 0.0;
    let mut high = n;
    for k in (0..=n).rev() {
        above += probability(n, p, k);
        if above > TAIL {
            high = k;
            break;
        }
    }
    low..=high
}

/// Chance of exactly `k` out of `n`, by logarithms, so that large `n` do not underflow.
fn probability(n: u64, p: f64, k: u64) -> f64 {
    let (nf, kf) = (n as f64, k as f64);
    (ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k) + kf * p.ln() + (nf - kf) * (1.0 - p).ln()).exp()
}

/// Stirling's series with two corrections; the table's end is where that is good to 1e-10.
fn ln_factorial(n: u64) -> f64 {
    if n < 20 {
        return (2..=n).map(|k| (k as f64).ln()).sum();
    }
    let x = n as f64;
    x * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI * x).ln() + 1.0 / (12.0 * x)
        - 1.0 / (360.0 * x.powi(3))
}

/// Correlation of each value with the one before it.
pub fn lag1_correlation(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    let covariance: f64 = values.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum();
    covariance / variance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_small_counts_are_the_ones_in_the_tables() {
        // P(X <= 0) = 2^-10 = 0.00098 > 0.0005, so not even 0 of 10 heads is outside.
        assert_eq!(binomial_999(10, 0.5), 0..=10);
        // P(X <= 1) for n=20 is 21/2^20 = 0.00002; P(X <= 2) = 0.0002; P(X <= 3) = 0.0013.
        assert_eq!(binomial_999(20, 0.5), 3..=17);
        assert_eq!(binomial_999(7, 0.0), 0..=0);
        assert_eq!(binomial_999(7, 1.0), 7..=7);
    }

    #[test]
    fn bounds_of_large_counts_are_three_point_three_standard_deviations() {
        let (n, p) = (10_000_u64, 0.1);
        let sd = (n as f64 * p * (1.0 - p)).sqrt();
        let bounds = binomial_999(n, p);
        let width = (*bounds.end() - *bounds.start()) as f64 / 2.0 / sd;
        assert!((3.2..3.4).contains(&width), "{bounds:?} is {width} sd");
        assert!(bounds.contains(&1000));
    }

    #[test]
    fn all_probabilities_add_up_to_one() {
        let sum: f64 = (0..=200).map(|k| probability(200, 0.3, k)).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn alternating_values_correlate_negatively() {
        let values: Vec<f64> = (0..1000).map(|i| f64::from(i % 2)).collect();
        assert!(lag1_correlation(&values) < -0.99);
    }
}

//! Samples in three numbers.

use serde::{Deserialize, Serialize};

/// Median and quartiles of samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    pub median: f64,
    pub q1: f64,
    pub q3: f64,
}

impl Figures {
    /// None without samples, or when one of them is no number.
    pub fn of(samples: &[f64]) -> Option<Self> {
        if samples.is_empty() || samples.iter().any(|sample| !sample.is_finite()) {
            return None;
        }
        Some(Self {
            median: quantile(samples, 0.5),
            q1: quantile(samples, 0.25),
            q3: quantile(samples, 0.75),
        })
    }

    /// From quartile to quartile.
    pub fn spread(&self) -> f64 {
        self.q3 - self.q1
    }
}

/// The value below which this share of the samples lies, between two of them by proportion.
///
/// # Panics
/// Without samples.
pub fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = share.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_samples() {
        let figures = Figures::of(&[4.0, 1.0, 3.0, 2.0]).expect("there are samples");
        assert_eq!((figures.q1, figures.median, figures.q3), (1.75, 2.5, 3.25));
        assert_eq!(figures.spread(), 1.5);
    }

    #[test]
    fn what_is_no_number_has_no_figures() {
        assert_eq!(Figures::of(&[]), None);
        assert_eq!(Figures::of(&[1.0, f64::INFINITY]), None);
    }
}

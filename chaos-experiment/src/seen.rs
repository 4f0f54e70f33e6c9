//! What a probe saw in one phase, all samples together.

use std::collections::BTreeMap;
use std::time::Duration;

use chaos_probe::Sample;
use chaos_spec::api::Seen;
use hdrhistogram::Histogram;

/// Different failures that are told apart.
const MOST_FAILURES: usize = 8;
/// An hour in microseconds: no sample takes longer.
const LONGEST: u64 = 3_600_000_000;

/// Counts samples.
pub(crate) struct Tally {
    /// Microseconds, of samples that were well.
    times: Histogram<u64>,
    pub(crate) samples: u64,
    pub(crate) failed: u64,
    values: (f64, u64),
    failures: BTreeMap<String, u64>,
}

impl Default for Tally {
    fn default() -> Self {
        // Three digits, from a microsecond to an hour: these bounds are known to be accepted.
        let times = Histogram::new_with_bounds(1, LONGEST, 3).or_else(|_| Histogram::new(3));
        Self {
            times: times.expect("three significant digits are allowed"),
            samples: 0,
            failed: 0,
            values: (0.0, 0),
            failures: BTreeMap::new(),
        }
    }
}

impl Tally {
    pub(crate) fn add(&mut self, sample: &Sample) {
        self.samples += 1;
        match &sample.outcome {
            Ok(reading) => {
                let micros = u64::try_from(sample.took.as_micros()).unwrap_or(LONGEST);
                self.times.saturating_record(micros.clamp(1, LONGEST));
                if let Some(value) = reading.value {
                    self.values = (self.values.0 + value, self.values.1 + 1);
                }
            }
            Err(fail) => {
                self.failed += 1;
                let why = fail.to_string();
                if self.failures.len() < MOST_FAILURES || self.failures.contains_key(&why) {
                    *self.failures.entry(why).or_default() += 1;
                } else {
                    *self.failures.entry("others".to_owned()).or_default() += 1;
                }
            }
        }
    }

    pub(crate) const fn well(&self) -> u64 {
        self.samples - self.failed
    }

    /// The time that so large a share of all samples did not exceed (nearest rank); a failure is slower than any
    /// limit. None: it is a failure, or there is no sample.
    pub(crate) fn percentile(&self, share: f64) -> Option<Duration> {
        let rank = ((self.samples as f64 * share).ceil() as u64).max(1);
        if rank > self.well() {
            return None;
        }
        let quantile = rank as f64 / self.well() as f64;
        let micros = if rank == self.well() {
            self.times.max()
        } else {
            self.times.value_at_quantile(quantile)
        };
        Some(Duration::from_micros(micros))
    }

    /// Mean of the numbers that a query gave.
    pub(crate) fn value(&self) -> Option<f64> {
        (self.values.1 > 0).then(|| self.values.0 / self.values.1 as f64)
    }

    pub(crate) fn first_failure(&self) -> Option<&str> {
        let most = self.failures.iter().max_by_key(|(_, count)| **count);
        most.map(|(why, _)| why.as_str())
    }

    pub(crate) fn seen(&self) -> Seen {
        let ms = |share: f64| {
            (self.well() > 0).then(|| {
                let micros = if share >= 1.0 {
                    self.times.max()
                } else {
                    self.times.value_at_quantile(share)
                };
                micros as f64 / 1000.0
            })
        };
        Seen {
            samples: self.samples,
            failed: self.failed,
            p50_ms: ms(0.5),
            p95_ms: ms(0.95),
            p99_ms: ms(0.99),
            max_ms: ms(1.0),
            value: self.value(),
            failures: self.failures.clone(),
        }
    }
}

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use chaos_spec::{HealthCheck, WindowExpect};

use crate::Sample;

/// The last samples, and what is expected of them together.
#[derive(Clone, Debug)]
pub struct Window {
    expect: WindowExpect,
    length: Duration,
    most: usize,
    samples: VecDeque<Kept>,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    ended: Instant,
    /// None: failed, which is slower than any limit.
    took: Option<Duration>,
}

impl Window {
    /// Samples that are kept at most.
    const MOST: usize = 10_000;

    pub fn new(check: &HealthCheck) -> Self {
        Self {
            expect: check.expect.window,
            length: check.window(),
            most: Self::MOST,
            samples: VecDeque::new(),
        }
    }

    /// Adds a sample and judges: by the sample alone when nothing is expected of a window, else by the samples that
    /// ended no longer than the window ago.
    ///
    /// # Errors
    /// Why it is not well.
    pub fn judge(&mut self, sample: &Sample) -> Result<(), String> {
        let alone = match &sample.outcome {
            Ok(_) => Ok(()),
            Err(fail) => Err(fail.to_string()),
        };
        if self.expect.is_empty() {
            return alone;
        }
        if self.samples.len() == self.most {
            self.samples.pop_front();
        }
        let now = sample.ended();
        self.samples.push_back(Kept {
            ended: now,
            took: sample.is_well().then_some(sample.took),
        });
        while let Some(first) = self.samples.front()
            && now.saturating_duration_since(first.ended) > self.length
        {
            self.samples.pop_front();
        }
        let whole = self.samples.len() as u64;
        match self.expect.success {
            None => alone.clone()?,
            Some(expected) => {
                let well = self.samples.iter().filter(|kept| kept.took.is_some()).count() as u64;
                if !expected.holds(well, whole) {
                    let last = alone
                        .err()
                        .map(|why| format!("; the last: {why}"))
                        .unwrap_or_default();
                    return Err(format!("{well} of {whole} succeeded, expected {expected}{last}"));
                }
            }
        }
        for (name, share, expected) in self.expect.percentiles() {
            match self.percentile(share) {
                Some(took) if expected.holds(took) => {}
                Some(took) => {
                    let took = chaos_spec::Duration::from(took);
                    return Err(format!("{name} of {whole} is {took}, expected {expected}"));
                }
                None => return Err(format!("{name} of {whole} is a failure, expected {expected}")),
            }
        }
        Ok(())
    }

    /// The smallest time that so many percent of the samples do not exceed (nearest rank).
    fn percentile(&self, share: u32) -> Option<Duration> {
        let mut times: Vec<Duration> = self
            .samples
            .iter()
            .map(|kept| kept.took.unwrap_or(Duration::MAX))
            .collect();
        let rank = (times.len() as u64 * u64::from(share)).div_ceil(100).max(1);
        let rank = usize::try_from(rank - 1).ok()?;
        if rank >= times.len() {
            return None;
        }
        let (_, took, _) = times.select_nth_unstable(rank);
        (*took != Duration::MAX).then_some(*took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fail, Reading};
    use chaos_spec::{Probe, TcpProbe};
    use proptest::prelude::*;

    fn window(expect: serde_json::Value) -> Window {
        let mut check = HealthCheck::new(Probe::Tcp(TcpProbe {
            address: "a:1".parse().unwrap(),
        }));
        check.expect = serde_json::from_value(expect).unwrap();
        Window::new(&check)
    }

    fn sample(start: Instant, second: u64, took: Option<u64>) -> Sample {
        Sample {
            at: jiff::Timestamp::UNIX_EPOCH,
            began: start + Duration::from_secs(second),
            took: Duration::from_millis(took.unwrap_or(1)),
            outcome: match took {
                Some(_) => Ok(Reading::default()),
                None => Err(Fail::Status(500)),
            },
        }
    }

    fn judge(window: &mut Window, start: Instant, samples: &[Option<u64>]) -> Vec<Option<String>> {
        (0..)
            .zip(samples)
            .map(|(n, took)| window.judge(&sample(start, n, *took)).err())
            .collect()
    }

    #[test]
    fn nothing_expected_of_a_window_is_one_sample() {
        let said = judge(
            &mut window(serde_json::json!({})),
            Instant::now(),
            &[Some(1), None, Some(1)],
        );
        assert_eq!(said, [None, Some("answered HTTP status 500".to_owned()), None]);
    }

    #[test]
    fn one_slow_sample_is_in_p99_until_it_has_left_the_window() {
        let mut samples = vec![Some(300)];
        samples.extend([Some(10); 12]);
        let said = judge(
            &mut window(serde_json::json!({"p99": "<= 200ms"})),
            Instant::now(),
            &samples,
        );
        assert_eq!(said[0].as_deref(), Some("p99 of 1 is 300ms, expected <= 200ms"));
        let failed: Vec<bool> = said.iter().map(Option::is_some).collect();
        // It ended at 0.3 s, the one at 10.01 s is the last that has it among the last ten seconds.
        assert_eq!(failed, [vec![true; 11], vec![false; 2]].concat());
    }

    #[test]
    fn a_share_of_failures_is_told() {
        let mut w = window(serde_json::json!({"success": ">= 80%"}));
        let said = judge(
            &mut w,
            Instant::now(),
            &[Some(1), Some(1), Some(1), Some(1), None, None],
        );
        assert_eq!(said[4], None);
        assert_eq!(
            said[5].as_deref(),
            Some("4 of 6 succeeded, expected >= 80%; the last: answered HTTP status 500")
        );
    }

    #[test]
    fn a_failure_is_slower_than_any_limit() {
        let mut w = window(serde_json::json!({"success": ">= 1%", "max": "<= 499ms"}));
        let said = judge(&mut w, Instant::now(), &[Some(1), None]);
        assert_eq!(
            said[1].as_deref(),
            Some("max of 2 is a failure, expected <= 499ms")
        );
    }

    proptest! {
        #[test]
        fn percentiles_are_those_of_sorting(
            times in proptest::collection::vec(0u64..1000, 1..200), share in 1u32..=100
        ) {
            let mut w = window(serde_json::json!({"p50": "1h"}));
            let start = Instant::now();
            for took in &times {
                let _ = w.judge(&Sample { began: start, ..sample(start, 0, Some(*took)) });
            }
            let mut sorted = times.clone();
            sorted.sort_unstable();
            let rank = (times.len() * share as usize).div_ceil(100) - 1;
            prop_assert_eq!(w.percentile(share), Some(Duration::from_millis(sorted[rank])));
        }
    }
}

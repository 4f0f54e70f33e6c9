use std::time::{Duration, Instant};

use chaos_spec::HealthCheck;

/// What the judgements so far add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Well,
    /// Some failures, not enough of them yet.
    Failing,
    Failed,
}

/// Counts failures. A success alone does not forget them: only `successThreshold` successes in a row do.
#[derive(Clone, Debug)]
pub struct Streak {
    failure_threshold: u32,
    success_threshold: u32,
    sustained: Duration,
    failures: u32,
    successes: u32,
    since: Option<Instant>,
}

impl Streak {
    pub fn new(check: &HealthCheck) -> Self {
        Self {
            failure_threshold: check.failure_threshold,
            success_threshold: check.success_threshold,
            sustained: check.sustained.as_std(),
            failures: 0,
            successes: 0,
            since: None,
        }
    }

    /// Adds a judgement that was made at `at`.
    pub fn add(&mut self, is_well: bool, at: Instant) -> Verdict {
        if is_well {
            self.successes = self.successes.saturating_add(1);
            if self.successes >= self.success_threshold {
                self.failures = 0;
                self.since = None;
            }
        } else {
            self.successes = 0;
            self.failures = self.failures.saturating_add(1);
            let since = *self.since.get_or_insert(at);
            let lasted = at.saturating_duration_since(since);
            if self.failures >= self.failure_threshold && lasted >= self.sustained {
                return Verdict::Failed;
            }
        }
        if self.failures == 0 {
            Verdict::Well
        } else {
            Verdict::Failing
        }
    }

    /// Failures that are not forgotten.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Successes in a row.
    pub const fn successes(&self) -> u32 {
        self.successes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chaos_spec::{Probe, TcpProbe};
    use proptest::prelude::*;

    fn streak(failures: u32, successes: u32, sustained: u64) -> Streak {
        let mut check = HealthCheck::new(Probe::Tcp(TcpProbe {
            address: "a:1".parse().unwrap(),
        }));
        check.failure_threshold = failures;
        check.success_threshold = successes;
        check.sustained = chaos_spec::Duration::from_secs(sustained);
        Streak::new(&check)
    }

    /// `F` and `.` at one a second: when it fails, from 1.
    fn fails_at(mut streak: Streak, judgements: &str) -> Option<usize> {
        let start = Instant::now();
        judgements
            .chars()
            .enumerate()
            .find(|(n, judgement)| {
                let at = start + Duration::from_secs(*n as u64);
                streak.add(*judgement == '.', at) == Verdict::Failed
            })
            .map(|(n, _)| n + 1)
    }

    #[test]
    fn the_third_failure_in_a_row_decides() {
        assert_eq!(fails_at(streak(3, 1, 0), "..FF.FF.FFF"), Some(11));
        assert_eq!(fails_at(streak(3, 1, 0), "F.F.F.F.F.F."), None);
        assert_eq!(fails_at(streak(1, 1, 0), "F"), Some(1));
    }

    #[test]
    fn one_that_flaps_is_caught_by_a_success_threshold() {
        assert_eq!(fails_at(streak(3, 2, 0), "F.F.F"), Some(5));
        assert_eq!(fails_at(streak(3, 2, 0), "F.F..F.F..FF"), None);
    }

    #[test]
    fn failures_that_have_to_go_on_do() {
        assert_eq!(fails_at(streak(3, 1, 5), "FFFFFFF"), Some(6));
        assert_eq!(fails_at(streak(3, 1, 5), "FFF.FFFF"), None);
    }

    proptest! {
        /// Says the same as counting by hand does.
        #[test]
        fn with_one_success_to_forget_it_is_the_longest_run(
            judgements in "[F.]{0,60}", threshold in 1u32..6
        ) {
            let run = "F".repeat(threshold as usize);
            let expected = judgements.find(&run).map(|at| at + run.len());
            prop_assert_eq!(fails_at(streak(threshold, 1, 0), &judgements), expected);
        }
    }
}

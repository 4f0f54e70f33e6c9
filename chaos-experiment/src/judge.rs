//! What the samples of one probe say: one by one, for those who want to stop early, and all together, for the verdict.

use std::time::{Duration, Instant};

use chaos_probe::{Sample, Window};
use chaos_spec::experiment::{SteadyExpect, SteadyProbe};
use chaos_spec::{Expect, HealthCheck, WindowExpect};

use crate::seen::Tally;

/// What is expected of one probe in numbers, and what was seen.
pub(crate) struct Judge {
    pub(crate) expect: Expect,
    window: Window,
    pub(crate) tally: Tally,
    /// Judgements in a row that were no pass, and since when.
    pub(crate) failures: u32,
    failing_since: Option<Instant>,
    /// Judgements in a row that were a pass, and since when.
    pub(crate) passes: u32,
    well_since: Option<Instant>,
}

impl Judge {
    /// Judges by limits alone: what is relative to the baseline is left out.
    pub(crate) fn of_baseline(steady: &SteadyProbe) -> Self {
        Self::new(steady, limits(&steady.expect, None))
    }

    /// Judges by all that is expected, given what the baseline was.
    pub(crate) fn against(steady: &SteadyProbe, baseline: &Tally) -> Self {
        Self::new(steady, limits(&steady.expect, Some(baseline)))
    }

    /// The same expectations, and nothing seen yet.
    pub(crate) fn afresh(&self, steady: &SteadyProbe) -> Self {
        Self::new(steady, self.expect.clone())
    }

    fn new(steady: &SteadyProbe, expect: Expect) -> Self {
        let check = HealthCheck {
            expect: expect.clone(),
            interval: steady.every,
            timeout: steady.timeout,
            window: steady.window,
            ..HealthCheck::new(steady.probe.clone())
        };
        Self {
            window: Window::new(&check),
            expect,
            tally: Tally::default(),
            failures: 0,
            failing_since: None,
            passes: 0,
            well_since: None,
        }
    }

    /// Adds a sample.
    ///
    /// # Errors
    /// Why things are not well, as of this sample.
    pub(crate) fn add(&mut self, sample: &Sample) -> Result<(), String> {
        self.tally.add(sample);
        let judged = self.window.judge(sample);
        if judged.is_ok() {
            self.failures = 0;
            self.failing_since = None;
            self.passes += 1;
            self.well_since.get_or_insert(sample.began);
        } else {
            self.passes = 0;
            self.well_since = None;
            self.failures += 1;
            self.failing_since.get_or_insert(sample.began);
        }
        judged
    }

    /// How long it has not been well, without a pass in between.
    pub(crate) fn failing_for(&self, now: Instant) -> Duration {
        self.failing_since
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// When the passes in a row began.
    pub(crate) const fn well_since(&self) -> Option<Instant> {
        self.well_since
    }

    /// What all samples together say.
    ///
    /// # Errors
    /// Why they do not bear it out. Of nothing, nothing is borne out.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        let tally = &self.tally;
        let (well, samples) = (tally.well(), tally.samples);
        if samples == 0 {
            return Err("nothing was seen of it".to_owned());
        }
        let last = tally
            .first_failure()
            .map(|why| format!("; most often: {why}"))
            .unwrap_or_default();
        match self.expect.window.success {
            Some(expected) if !expected.holds(well, samples) => {
                return Err(format!(
                    "{well} of {samples} succeeded, expected {expected}{last}"
                ));
            }
            None if well < samples => {
                return Err(format!("{} of {samples} failed{last}", tally.failed));
            }
            _ => {}
        }
        for (name, share, expected) in self.expect.window.percentiles() {
            match tally.percentile(f64::from(share) / 100.0) {
                Some(took) if expected.holds(took) => {}
                Some(took) => {
                    let took = chaos_spec::Duration::from(took);
                    return Err(format!("{name} of {samples} is {took}, expected {expected}"));
                }
                None => return Err(format!("{name} of {samples} is a failure, expected {expected}")),
            }
        }
        Ok(())
    }

    /// What is expected, in words.
    pub(crate) fn words(&self) -> Vec<String> {
        let expect = &self.expect;
        let mut words = Vec::new();
        let statuses: Vec<String> = expect.status.0.iter().map(ToString::to_string).collect();
        if !statuses.is_empty() {
            words.push(format!("status {}", statuses.join(", ")));
        }
        words.extend(
            expect
                .body
                .contains
                .as_ref()
                .map(|it| format!("body with `{it}`")),
        );
        words.extend(expect.body.matches.as_ref().map(|it| format!("body like `{it}`")));
        words.extend(expect.latency.map(|it| format!("each {it}")));
        words.extend(expect.value.map(|it| format!("value {it}")));
        words.extend(expect.window.success.map(|it| format!("success {it}")));
        words.extend(
            expect
                .window
                .percentiles()
                .map(|(name, _, it)| format!("{name} {it}")),
        );
        if words.is_empty() || expect.window.success.is_none() {
            words.push("every sample well".to_owned());
        }
        words
    }
}

/// Limits in numbers. Without a baseline, those that are relative to one are left out; with one in which nothing was
/// well they are zero, which nothing is.
fn limits(expect: &SteadyExpect, baseline: Option<&Tally>) -> Expect {
    let mut window = WindowExpect {
        success: expect.success,
        ..WindowExpect::default()
    };
    for (name, share, tolerance) in expect.percentiles() {
        let bound = match baseline {
            None if tolerance.is_relative() => continue,
            None => tolerance.against(Duration::ZERO),
            Some(tally) => tolerance.against(tally.percentile(share).unwrap_or_default()),
        };
        match name {
            "p50" => window.p50 = Some(bound),
            "p95" => window.p95 = Some(bound),
            "p99" => window.p99 = Some(bound),
            _ => window.max = Some(bound),
        }
    }
    let value = expect.value.and_then(|tolerance| match baseline {
        None if tolerance.is_relative() => None,
        None => Some(tolerance.against(0.0)),
        Some(tally) => Some(tolerance.against(tally.value().unwrap_or(f64::NAN))),
    });
    Expect {
        status: expect.status.clone(),
        body: expect.body.clone(),
        latency: expect.latency,
        value,
        window,
    }
}

//! Questions to an echo, how long their answers took, and what such times have in common.

use std::net::SocketAddr;
use std::time::Duration;

use chaos_tests::workload::{Probed, Sample};
use chaos_tests::{eventually, monotonic_nanos, patience, stalled, until};
use serde_json::{Value, json};

use crate::bed::Bed;

/// Nanoseconds of a millisecond.
pub(crate) const MS: f64 = 1e6;

/// Asks an echo of the server at this pace until `count` answers are there; what each took, in milliseconds, in the
/// order of the questions.
pub(crate) fn waits(bed: &Bed, to: SocketAddr, pace: Duration, count: usize) -> Vec<f64> {
    millis(&questions(bed, to, pace, count), count)
}

pub(crate) fn questions(bed: &Bed, to: SocketAddr, pace: Duration, count: usize) -> Probed {
    let probe = bed.client.probe(to, pace);
    let length = pace * u32::try_from(count).expect("a small number");
    // Nobody looks before they can be there: reading them all takes a processor's time.
    until(monotonic_nanos() + u64::try_from(length.as_nanos()).expect("less than centuries"));
    eventually(
        length + Duration::from_secs(5),
        "all questions are answered",
        || {
            let samples = bed.client.probe_report(probe).samples;
            samples.len() >= count && samples[..count].iter().all(|sample| sample.answered.is_some())
        },
    );
    let report = bed.client.probe_report(probe);
    // Who asks next has the line for themselves.
    bed.client.close(probe);
    report
}

/// What the answers to questions took that the machine did not hold up by standing still, milliseconds: what was drawn, not
/// what was added to it. As many questions are asked as it takes for `enough` of them.
pub(crate) fn calm_waits(bed: &Bed, to: SocketAddr, pace: Duration, enough: usize) -> Vec<f64> {
    let first = calm_or_none(&questions(bed, to, pace, enough), enough);
    calm(bed, to, pace, &first, enough)
}

/// The same, with what [`calm_or_none`] made of a report to begin with.
pub(crate) fn calm(
    bed: &Bed,
    to: SocketAddr,
    pace: Duration,
    first: &[Option<f64>],
    enough: usize,
) -> Vec<f64> {
    let mut calm: Vec<f64> = first.iter().copied().flatten().collect();
    for _ in 0..12 {
        if calm.len() >= enough {
            return calm;
        }
        let more = questions(bed, to, pace, enough);
        calm.extend(calm_or_none(&more, enough).into_iter().flatten());
    }
    panic!(
        "a machine that stands still so often shows nothing: {} of {enough}",
        calm.len()
    );
}

/// [`millis`], `None` for those at whose begin or end the machine stood still. In between it may: a packet that waits
/// does not notice, and to leave out all of those would leave out long waits more often than short ones. So these have
/// the distribution that was drawn. Not its sequence: one stop leaves out neighbours that were drawn alike; for that
/// there is [`undisturbed`].
pub(crate) fn calm_or_none(report: &Probed, count: usize) -> Vec<Option<f64>> {
    const BEGIN: u64 = 2_000_000;
    const END: u64 = 5_000_000;
    let one = |sample: &Sample| {
        let (asked, answered) = (sample.asked, sample.answered.expect("answered"));
        let calm = stalled(asked, asked + BEGIN).is_zero() && stalled(answered - END, answered).is_zero();
        calm.then(|| wait(sample))
    };
    report.samples[..count].iter().map(one).collect()
}

/// What the answers to `count` questions took, milliseconds, and `None` where the machine stood still at any time within
/// `longest` of the question: whether an answer counts has nothing to do with when it came, if none takes longer.
fn undisturbed(report: &Probed, count: usize, longest: Duration) -> Vec<Option<f64>> {
    let longest = u64::try_from(longest.as_nanos()).expect("less than centuries");
    let one = |sample: &Sample| {
        let calm = stalled(sample.asked, sample.asked + longest).is_zero();
        calm.then(|| wait(sample))
    };
    report.samples[..count].iter().map(one).collect()
}

/// [`undisturbed`] answers, with as many questions as it takes for `enough` of them.
pub(crate) fn enough_undisturbed(
    bed: &Bed,
    to: SocketAddr,
    pace: Duration,
    enough: usize,
    longest: Duration,
) -> Vec<Option<f64>> {
    let mut all = Vec::new();
    for _ in 0..12 {
        all.extend(undisturbed(&questions(bed, to, pace, enough), enough, longest));
        if all.iter().flatten().count() >= enough {
            return all;
        }
        // No pair of neighbours from one batch to the next.
        all.push(None);
    }
    panic!(
        "a machine that stands still so often shows nothing: {} of {} were undisturbed",
        all.iter().flatten().count(),
        all.len()
    );
}

/// Correlation of each with the one before it, where both are there.
pub(crate) fn correlation_of_neighbours(values: &[Option<f64>]) -> f64 {
    let known: Vec<f64> = values.iter().copied().flatten().collect();
    let (middle, spread) = (mean(&known), deviation(&known));
    let pairs = values.windows(2).filter_map(|pair| pair[0].zip(pair[1]));
    let products: Vec<f64> = pairs.map(|(a, b)| (a - middle) * (b - middle)).collect();
    mean(&products) / spread.powi(2)
}

fn wait(sample: &Sample) -> f64 {
    let answered = sample.answered.expect("answered");
    (answered - sample.asked) as f64 / MS
}

pub(crate) fn millis(report: &Probed, count: usize) -> Vec<f64> {
    report.samples[..count].iter().map(wait).collect()
}

pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

pub(crate) fn deviation(values: &[f64]) -> f64 {
    let middle = mean(values);
    (values.iter().map(|v| (v - middle).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

/// So many milliseconds; more where they mean little.
pub(crate) fn slack(millis: f64) -> f64 {
    patience(Duration::from_secs(1)).as_secs_f64() * millis
}

pub(crate) fn delay(latency: &str) -> Value {
    json!({"delay": {"latency": latency}})
}

pub(crate) fn udp(port: u16) -> Value {
    json!({"protocol": "udp", "remote": {"ports": [port]}})
}

/// How many of the first `count` answers came before that to an earlier question. Order is what a machine that stands
/// still for a while does not change.
pub(crate) fn overtakers(report: &Probed, count: usize) -> usize {
    let mut latest = None;
    let mut seen = 0;
    for sample in &report.samples[..count] {
        seen += usize::from(sample.answered < latest);
        latest = latest.max(sample.answered);
    }
    seen
}

/// How many of the first `count` answers came after that to a later question.
pub(crate) fn overtaken(report: &Probed, count: usize) -> usize {
    let mut earliest = report.samples[count - 1].answered;
    let mut seen = 0;
    for sample in report.samples[..count].iter().rev() {
        seen += usize::from(sample.answered > earliest);
        earliest = earliest.min(sample.answered);
    }
    seen
}

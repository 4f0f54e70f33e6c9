//! What came out, for people and for programs. The canonical form is the [`ExperimentView`] as JSON; everything here
//! is made of it.

mod diff;
mod html;
mod junit;
mod markdown;
mod plot;
mod score;

pub use diff::diff;
pub use html::html;
pub use junit::junit;
pub use markdown::markdown;
pub use score::{Score, score};

use chaos_spec::api::{ExperimentStatus, ExperimentView, Outcome, Seen};
use jiff::Timestamp;

/// `12.3 ms`, `1.23 s`, or a dash.
fn ms(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(ms) if ms >= 1000.0 => format!("{:.2} s", ms / 1000.0),
        Some(ms) if ms >= 10.0 => format!("{ms:.0} ms"),
        Some(ms) => format!("{ms:.1} ms"),
    }
}

/// `99.5 %` of the samples were well; a dash without any.
fn share(seen: &Seen) -> String {
    if seen.samples == 0 {
        return "–".to_owned();
    }
    let well = (seen.samples - seen.failed) as f64 / seen.samples as f64 * 100.0;
    if seen.failed > 0 && well > 99.9 {
        return ">99.9 %".to_owned();
    }
    format!("{well:.1} %")
}

/// Seconds between two moments; a dash while one is missing.
fn lasted(from: Option<Timestamp>, to: Option<Timestamp>) -> String {
    match (from, to) {
        (Some(from), Some(to)) => format!("{:.1} s", to.duration_since(from).as_secs_f64()),
        _ => "–".to_owned(),
    }
}

/// The outcome in words, also of a run that is still under way.
fn verdict(status: &ExperimentStatus) -> String {
    status.outcome.map_or_else(
        || format!("under way ({})", status.phase),
        |it| it.words().to_owned(),
    )
}

/// Packets that something was done to.
fn acted_on(view: &ExperimentView) -> impl Iterator<Item = (&str, u64, u64)> {
    view.status.faults.iter().map(|fault| {
        let p = &fault.packets;
        (fault.name.as_str(), p.matched, p.acted_on())
    })
}

const fn is_good(outcome: Option<Outcome>) -> bool {
    matches!(outcome, Some(Outcome::Held))
}

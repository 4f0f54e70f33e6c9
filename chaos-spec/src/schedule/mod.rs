//! A `Schedule`: when an experiment begins by itself.

mod cron;
mod next;
mod read;
#[cfg(test)]
mod tests;

pub use cron::{Cron, CronError};
pub use next::{Due, Verdict};
pub use read::{Begins, LocatedSchedule, ScheduleSubmission, parse_schedule, parse_schedule_body};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::{TimeZoneName, Window};
use crate::spec::{is_default, not_empty};
use crate::{Duration, Metadata};

pub const SCHEDULE_KIND: &str = "Schedule";

/// When an experiment begins by itself. The experiment stands beside it, or a Mission that makes one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Schedule {
    /// Always `chaos-daemon.dev/v1alpha1`.
    pub api_version: String,
    /// Always `Schedule`.
    pub kind: String,
    pub metadata: Metadata,
    pub spec: ScheduleSpec,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScheduleSpec {
    /// Minute, hour, day of the month, month, day of the week: `0 10 * * mon-fri`.
    pub cron: Cron,
    /// In which the clock is read, such as `Europe/Berlin`; left out: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<TimeZoneName>,
    /// Up to so much later, drawn anew each time: so that not all nodes begin at once, and nobody waits for it.
    #[serde(default = "ScheduleSpec::none", skip_serializing_if = "ScheduleSpec::is_none")]
    pub jitter: Duration,
    /// What becomes of one that is due while the one before is under way.
    #[serde(default, skip_serializing_if = "is_default")]
    pub concurrency: Concurrency,
    /// What becomes of those that were due while nobody was there to begin them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub missed: Missed,
    /// Begun later than this, it counts as missed.
    #[serde(
        default = "ScheduleSpec::usual",
        skip_serializing_if = "ScheduleSpec::is_usual"
    )]
    pub start_within: Duration,
    /// When nothing begins.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "not_empty"
    )]
    pub blackouts: Vec<Blackout>,
    /// When it may begin, and at no other time: those of a Mission, or one's own.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "not_empty"
    )]
    pub windows: Vec<Window>,
    /// Nothing begins until this is taken out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
}

/// What becomes of one that is due while the one before is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Concurrency {
    /// It does not begin.
    #[default]
    Forbid,
    /// The one before is rolled back first.
    Replace,
}

/// What becomes of those that were due while nobody was there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Missed {
    /// Nothing: the next one is begun in its time.
    #[default]
    Skip,
    /// One is begun as soon as possible, however many were missed.
    RunOnce,
}

/// A time at which nothing begins: hours of some days, or from one moment to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Blackout {
    Span(Span),
    Hours(Window),
}

/// From one moment to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Span {
    /// `2026-12-20T00:00:00Z`
    pub begins: Timestamp,
    pub ends: Timestamp,
    /// Why, for messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Schedule {
    pub fn name(&self) -> &str {
        &self.metadata.name
    }
}

impl ScheduleSpec {
    const USUAL: Duration = Duration::from_secs(60);

    const fn usual() -> Duration {
        Self::USUAL
    }

    const fn none() -> Duration {
        Duration::ZERO
    }

    fn is_none(time: &Duration) -> bool {
        time.is_zero()
    }

    fn is_usual(time: &Duration) -> bool {
        *time == Self::USUAL
    }
}

impl Blackout {
    pub fn covers(&self, now: Timestamp) -> bool {
        match self {
            Self::Span(span) => span.begins <= now && now < span.ends,
            Self::Hours(window) => window.left(now).is_some(),
        }
    }
}

impl std::fmt::Display for Blackout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Span(span) => {
                write!(f, "{} to {}", span.begins, span.ends)?;
                match &span.why {
                    Some(why) => write!(f, " ({why})"),
                    None => Ok(()),
                }
            }
            Self::Hours(window) => window.fmt(f),
        }
    }
}

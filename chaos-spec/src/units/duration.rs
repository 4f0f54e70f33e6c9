use std::fmt;
use std::str::FromStr;

use super::text_form;

/// A length of time with its unit: `5m`, `100ms`, `1m 30s`. Nanosecond resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(std::time::Duration);

/// Why a text is no length of time, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("`{0}` has no unit – write `{0}s` for seconds or `{0}ms` for milliseconds")]
    MissingUnit(String),
    #[error("`{0}` is less than nothing – write a length of time such as `5m` or `100ms`")]
    Negative(String),
    #[error(
        "`{0}` is not a length of time ({1}) – write a number and a unit, such as `5m`, `30s` or `100ms`"
    )]
    NotADuration(String, String),
}

impl Duration {
    pub const ZERO: Self = Self(std::time::Duration::ZERO);

    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(std::time::Duration::from_millis(milliseconds))
    }

    pub const fn as_std(self) -> std::time::Duration {
        self.0
    }

    /// Whole nanoseconds, saturating at `u64::MAX` (584 years).
    pub fn as_nanos(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }

    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl From<std::time::Duration> for Duration {
    fn from(duration: std::time::Duration) -> Self {
        Self(duration)
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let text = text.trim();
        if text.starts_with('-') {
            return Err(DurationError::Negative(text.to_owned()));
        }
        // humantime takes a bare `0` for a duration; a missing unit is refused whatever the number.
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err(DurationError::MissingUnit(text.to_owned()));
        }
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|error| DurationError::NotADuration(text.to_owned(), error.to_string()))
    }
}

impl fmt::Display for Duration {
    /// `1m 30s`, `31days`: days are the largest unit, for months and years have no fixed length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        let days = seconds / 86_400;
        let parts = [
            (days, if days == 1 { "day" } else { "days" }),
            (seconds / 3_600 % 24, "h"),
            (seconds / 60 % 60, "m"),
            (seconds % 60, "s"),
            (u64::from(nanos / 1_000_000), "ms"),
            (u64::from(nanos / 1_000 % 1_000), "us"),
            (u64::from(nanos % 1_000), "ns"),
        ];
        let written: Vec<_> = parts
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, unit)| format!("{n}{unit}"))
            .collect();
        f.pad(
            if written.is_empty() {
                "0s".to_owned()
            } else {
                written.join(" ")
            }
            .as_str(),
        )
    }
}

text_form!(Duration, "a length of time such as `5m`", {
    "type": "string",
    "description": "A length of time with its unit.",
    "pattern": r"[a-zµ]\s*$",
    "examples": ["5m", "30s", "100ms", "1m 30s"]
});

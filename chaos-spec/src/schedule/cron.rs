use std::fmt;
use std::str::FromStr;

use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::units::text_form;

/// When something is due: `0 10 * * mon-fri`, with seconds in front when there are six parts.
#[derive(Clone, Debug)]
pub struct Cron {
    text: String,
    pattern: croner::Cron,
}

/// Why a text says no times, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` says no times ({why}) – write minute, hour, day, month and day of the week, such as `0 10 * * mon-fri`"
)]
pub struct CronError {
    text: String,
    why: String,
}

impl Cron {
    /// The first time after this one at which it is due; `None` when there is none any more.
    pub fn after(&self, moment: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let moment = moment.to_zoned(zone.clone());
        let next = self.pattern.find_next_occurrence(&moment, false).ok()?;
        Some(next.timestamp())
    }

    /// In words.
    pub fn describe(&self) -> String {
        self.pattern.describe()
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Cron {}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let wrong = |why: String| CronError {
            text: text.trim().to_owned(),
            why,
        };
        let parser = CronParser::builder()
            .seconds(Seconds::Optional)
            .year(Year::Disallowed)
            .build();
        let pattern = parser
            .parse(text.trim())
            .map_err(|error| wrong(error.to_string()))?;
        let cron = Self {
            text: text.trim().to_owned(),
            pattern,
        };
        // The 30th of February is well-formed, and never comes.
        if cron.after(Timestamp::UNIX_EPOCH, &TimeZone::UTC).is_none() {
            return Err(wrong("that day never comes".to_owned()));
        }
        Ok(cron)
    }
}

text_form!(Cron, "times such as `0 10 * * mon-fri`", {
    "type": "string",
    "description": "Minute, hour, day of the month, month, day of the week; with seconds in front when there are six.",
    "examples": ["0 10 * * mon-fri", "*/15 * * * *", "0 3 1 * *"]
});

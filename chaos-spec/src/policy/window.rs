use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::text_form;

/// A part of some days, in one time zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    /// On which days it opens; left out: every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Days>,
    /// When it opens; left out: at midnight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<ClockTime>,
    /// When it closes. Not after `from`: on the next day. Left out: at midnight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<ClockTime>,
    /// A name of the IANA data base, such as `Europe/Berlin`; left out: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<TimeZoneName>,
}

/// One day (`mon`) or a run of days (`mon-fri`, `sat-mon`), both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    first: Weekday,
    last: Weekday,
}

/// A time of day to the minute: `09:30`; `24:00` is the end of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClockTime {
    minutes: u16,
}

/// A time zone that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeZoneName(String);

/// Why a text is no part of a window, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    #[error("`{0}` is no day – write `mon`, or a run of days such as `mon-fri`")]
    Day(String),
    #[error("`{0}` is no time of day – write hours and minutes, such as \"09:30\"")]
    Time(String),
    #[error("`{0}` is no time zone that is known – write a name such as `Europe/Berlin` or `UTC`")]
    Zone(String),
}

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

const A_DAY: u16 = 24 * 60;

impl Days {
    fn contain(self, day: Weekday) -> bool {
        // Days after the first one, round the week.
        self.first.until(day) <= self.first.until(self.last)
    }
}

impl FromStr for Days {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let day = |word: &str| {
            let word = word.trim().to_ascii_lowercase();
            let found = DAYS.iter().find(|(name, _)| *name == word);
            found
                .map(|(_, day)| *day)
                .ok_or_else(|| WindowError::Day(text.to_owned()))
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Ok(Self {
            first: day(first)?,
            last: day(last)?,
        })
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |day| {
            DAYS.iter()
                .find(|(_, known)| *known == day)
                .map_or("?", |(word, _)| word)
        };
        f.write_str(word(self.first))?;
        if self.first == self.last {
            Ok(())
        } else {
            write!(f, "-{}", word(self.last))
        }
    }
}

impl ClockTime {
    fn civil(self) -> Time {
        let minutes = self.minutes % A_DAY;
        // Less than 24 hours and 60 minutes by construction.
        Time::new((minutes / 60) as i8, (minutes % 60) as i8, 0, 0).unwrap_or(Time::MIN)
    }
}

impl FromStr for ClockTime {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let wrong = || WindowError::Time(text.to_owned());
        let (hours, minutes) = text.trim().split_once(':').ok_or_else(wrong)?;
        let number = |part: &str, most: u16| {
            let two = part.len() <= 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse::<u16>().ok().filter(|number| two && *number <= most)
        };
        let hours = number(hours, 24).ok_or_else(wrong)?;
        let minutes = number(minutes, 59)
            .filter(|_| text.trim().len() >= 4)
            .ok_or_else(wrong)?;
        let minutes = hours * 60 + minutes;
        if minutes > A_DAY {
            return Err(wrong());
        }
        Ok(Self { minutes })
    }
}

impl fmt::Display for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

impl TimeZoneName {
    pub(crate) fn zone(&self) -> TimeZone {
        // It was there when the name was read.
        TimeZone::get(&self.0).unwrap_or(TimeZone::UTC)
    }
}

impl FromStr for TimeZoneName {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        match TimeZone::get(text.trim()) {
            Ok(_) => Ok(Self(text.trim().to_owned())),
            Err(_) => Err(WindowError::Zone(text.to_owned())),
        }
    }
}

impl fmt::Display for TimeZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Window {
    /// How much longer it is open; `None` while it is closed.
    pub fn left(&self, now: Timestamp) -> Option<SignedDuration> {
        let zone = self.time_zone.as_ref().map_or(TimeZone::UTC, TimeZoneName::zone);
        let today = now.to_zoned(zone.clone()).date();
        // One that opened yesterday may be open still.
        let days = [today.yesterday().ok(), Some(today)];
        let mut most = None;
        for day in days.into_iter().flatten() {
            if let Some((opens, closes)) = self.on(day, &zone)
                && opens <= now
                && now < closes
            {
                most = most.max(Some(closes.duration_since(now)));
            }
        }
        most
    }

    /// When it opens and closes if it opens on this day.
    fn on(&self, day: Date, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
        if !self.days.is_empty() && !self.days.iter().any(|days| days.contain(day.weekday())) {
            return None;
        }
        let from = self.from.map_or(0, |time| time.minutes);
        let to = self.to.map_or(A_DAY, |time| time.minutes);
        let over_midnight = to <= from || to == A_DAY;
        let last = if over_midnight {
            day.checked_add(1.day()).ok()?
        } else {
            day
        };
        let instant = |date: Date, minutes: u16| {
            let civil = date.to_datetime(ClockTime { minutes }.civil());
            // In a gap or a fold of summer time: as the clock on the wall would have it.
            Some(zone.to_ambiguous_zoned(civil).compatible().ok()?.timestamp())
        };
        Some((instant(day, from)?, instant(last, to)?))
    }
}

impl fmt::Display for Window {
    /// `mon-fri 09:00-17:00 Europe/Berlin`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days.is_empty() {
            f.write_str("every day")?;
        }
        for (place, days) in self.days.iter().enumerate() {
            write!(f, "{}{days}", if place == 0 { "" } else { ", " })?;
        }
        let midnight = ClockTime { minutes: 0 };
        let end = ClockTime { minutes: A_DAY };
        write!(
            f,
            " {}-{} ",
            self.from.unwrap_or(midnight),
            self.to.unwrap_or(end)
        )?;
        match &self.time_zone {
            Some(zone) => zone.fmt(f),
            None => f.write_str("UTC"),
        }
    }
}

text_form!(Days, "a day such as `mon`, or a run of days such as `mon-fri`", {
    "type": "string",
    "pattern": r"^(mon|tue|wed|thu|fri|sat|sun)(-(mon|tue|wed|thu|fri|sat|sun))?$",
    "examples": ["mon", "mon-fri"]
});
text_form!(ClockTime, "a time of day such as \"09:30\"", {
    "type": "string",
    "pattern": r"^\d{1,2}:\d{2}$",
    "examples": ["09:30", "24:00"]
});
text_form!(TimeZoneName, "a time zone such as `Europe/Berlin`", {
    "type": "string",
    "examples": ["Europe/Berlin", "UTC"]
});

#[cfg(test)]
mod tests {
    use super::*;

    fn window(days: &[&str], from: &str, to: &str, zone: &str) -> Window {
        Window {
            days: days.iter().map(|text| text.parse().unwrap()).collect(),
            from: Some(from.parse().unwrap()),
            to: Some(to.parse().unwrap()),
            time_zone: Some(zone.parse().unwrap()),
        }
    }

    /// Minutes that the window stays open at an instant of UTC.
    fn left(window: &Window, at: &str) -> Option<i64> {
        window.left(at.parse().unwrap()).map(|left| left.as_mins())
    }

    #[test]
    fn office_hours_follow_summer_time() {
        let office = window(&["mon-fri"], "09:00", "17:00", "Europe/Berlin");
        // Monday in winter (UTC+1), Monday in summer (UTC+2).
        assert_eq!(left(&office, "2026-01-05T07:59:59Z"), None);
        assert_eq!(left(&office, "2026-01-05T08:00:00Z"), Some(480));
        assert_eq!(left(&office, "2026-01-05T16:00:00Z"), None);
        assert_eq!(left(&office, "2026-07-06T07:00:00Z"), Some(480));
        // Saturday.
        assert_eq!(left(&office, "2026-01-10T12:00:00Z"), None);
    }

    #[test]
    fn a_night_belongs_to_the_day_it_begins_on() {
        let night = window(&["fri"], "22:00", "06:00", "UTC");
        assert_eq!(left(&night, "2026-01-09T23:00:00Z"), Some(420));
        assert_eq!(left(&night, "2026-01-10T05:00:00Z"), Some(60));
        assert_eq!(left(&night, "2026-01-09T05:00:00Z"), None);
        assert_eq!(left(&night, "2026-01-10T23:00:00Z"), None);
    }

    #[test]
    fn a_run_of_days_may_go_round_the_week() {
        let days: Days = "sat-mon".parse().unwrap();
        let inside: Vec<_> = DAYS
            .iter()
            .filter(|(_, day)| days.contain(*day))
            .map(|(word, _)| *word)
            .collect();
        assert_eq!(inside, ["mon", "sat", "sun"]);
        assert_eq!(days.to_string(), "sat-mon");
    }

    #[test]
    fn a_whole_day_is_open_to_its_end() {
        let day = window(&["mon"], "00:00", "24:00", "UTC");
        assert_eq!(left(&day, "2026-01-05T00:00:00Z"), Some(1440));
        assert_eq!(left(&day, "2026-01-05T23:59:00Z"), Some(1));
        assert_eq!(left(&day, "2026-01-06T00:00:00Z"), None);
    }

    #[test]
    fn what_is_no_day_time_or_zone_is_refused() {
        for text in ["", "monday", "mon-", "8"] {
            assert!(text.parse::<Days>().is_err(), "{text}");
        }
        for text in [
            "", "9", "25:00", "24:01", "09:60", "9:5", "-1:00", "09:00:00", "+9:30",
        ] {
            assert!(text.parse::<ClockTime>().is_err(), "{text}");
        }
        assert!("Mars/Olympus".parse::<TimeZoneName>().is_err());
    }
}

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::{Missed, ScheduleSpec};

/// What is to be done at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing is due before then; `None`: nothing is due any more.
    Later(Option<Timestamp>),
    /// One is due, that of this time, and so many were missed.
    Now {
        of: Timestamp,
        missed: u64,
        verdict: Verdict,
    },
}

/// What becomes of one that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Begin,
    /// It does not begin, because of this.
    Skip(String),
}

/// Missed ones are counted up to here.
const MOST_MISSED: u64 = 10_000;

impl ScheduleSpec {
    fn zone(&self) -> TimeZone {
        self.time_zone.as_ref().map_or(TimeZone::UTC, |zone| zone.zone())
    }

    /// When it is due next, after a moment.
    pub fn after(&self, moment: Timestamp) -> Option<Timestamp> {
        self.cron.after(moment, &self.zone())
    }

    /// What is to be done at `now`, when the one of `next` was to come and begins `late` after its time (its jitter).
    /// A clock that is turned back makes nothing due twice: `next` stands.
    pub fn due(&self, next: Timestamp, late: SignedDuration, now: Timestamp) -> Due {
        let begins = next.saturating_add(late).unwrap_or(Timestamp::MAX);
        if now < begins {
            return Due::Later(Some(begins));
        }
        // The last one that is due, and how many before it were not begun.
        let (mut of, mut missed) = (next, 0);
        while let Some(following) = self.after(of)
            && following.saturating_add(late).is_ok_and(|begins| begins <= now)
            && missed < MOST_MISSED
        {
            (of, missed) = (following, missed + 1);
        }
        let waited = now.duration_since(of.saturating_add(late).unwrap_or(now));
        let within = SignedDuration::try_from(self.start_within.as_std()).unwrap_or(SignedDuration::MAX);
        let is_late = waited > within;
        if is_late {
            missed += 1;
        }
        let verdict = self.verdict(is_late, missed, now);
        Due::Now { of, missed, verdict }
    }

    /// Why one that is due at a time would not begin, as far as the schedule says; `None` when it would.
    pub fn verdict_at(&self, moment: Timestamp) -> Option<String> {
        match self.verdict(false, 0, moment) {
            Verdict::Begin => None,
            Verdict::Skip(why) => Some(why),
        }
    }

    fn verdict(&self, is_late: bool, missed: u64, now: Timestamp) -> Verdict {
        if self.suspended {
            return Verdict::Skip("it is suspended".to_owned());
        }
        if is_late && self.missed == Missed::Skip {
            return Verdict::Skip(format!("{missed} were missed, and are not made up for"));
        }
        if let Some(blackout) = self.blackouts.iter().find(|blackout| blackout.covers(now)) {
            return Verdict::Skip(format!("nothing begins in {blackout}"));
        }
        if !self.windows.is_empty() && self.windows.iter().all(|window| window.left(now).is_none()) {
            let windows: Vec<String> = self.windows.iter().map(ToString::to_string).collect();
            return Verdict::Skip(format!("it may begin only {}", windows.join(" or ")));
        }
        Verdict::Begin
    }
}

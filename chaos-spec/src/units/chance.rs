use std::fmt;
use std::str::FromStr;

use super::text_form;

/// How many units one percent has: nine decimals are kept exactly.
const PER_PERCENT: u64 = 1_000_000_000;
const DECIMALS: usize = 9;
const WHOLE: u64 = 100 * PER_PERCENT;

/// A probability between 0 % and 100 %, kept as the exact decimal that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chance(u64);

/// Why a text is no chance, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChanceError {
    #[error("`{0}` has no percent sign – write `{0}%`")]
    MissingPercent(String),
    #[error("`{0}` is not a chance – write a number and a percent sign, such as `30%` or `0.5%`")]
    NotANumber(String),
    #[error("{0} is more than 100% – write a chance between 0% and 100%")]
    TooLarge(String),
    #[error("{0} is less than 0% – write a chance between 0% and 100%")]
    Negative(String),
    #[error("{0} has more than nine decimals – write at most nine, such as `0.000000001%`")]
    TooFine(String),
}

impl Chance {
    pub const NEVER: Self = Self(0);
    pub const ALWAYS: Self = Self(WHOLE);

    /// The threshold that stands for 100 %.
    pub const FULL_THRESHOLD: u64 = 1 << 32;

    /// A whole number of percent; `None` above 100.
    pub const fn percent(percent: u64) -> Option<Self> {
        if percent <= 100 {
            Some(Self(percent * PER_PERCENT))
        } else {
            None
        }
    }

    /// The chance as a number to compare a uniform 32-bit random word with: the event happens when
    /// `u64::from(word) < threshold`. 0 % is exactly 0 and 100 % exactly 2^32; in between the value is rounded to
    /// the nearest, but never onto either end, so that "hardly ever" is not "never".
    pub const fn threshold(self) -> u64 {
        if self.0 == 0 {
            return 0;
        }
        if self.0 == WHOLE {
            return Self::FULL_THRESHOLD;
        }
        let scaled = ((self.0 as u128) << 32) + (WHOLE as u128) / 2;
        let rounded = (scaled / WHOLE as u128) as u64;
        if rounded == 0 {
            1
        } else if rounded >= Self::FULL_THRESHOLD {
            Self::FULL_THRESHOLD - 1
        } else {
            rounded
        }
    }

    /// Between 0.0 and 1.0, for printing and statistics; decisions use [`Chance::threshold`].
    pub fn as_ratio(self) -> f64 {
        self.0 as f64 / WHOLE as f64
    }

    /// Of the exact decimal, in billionths of a percent.
    pub(crate) const fn units(self) -> u64 {
        self.0
    }

    /// What is left of 100 %.
    #[must_use]
    pub const fn complement(self) -> Self {
        Self(WHOLE - self.0)
    }

    pub const fn is_never(self) -> bool {
        self.0 == 0
    }

    pub const fn is_always(self) -> bool {
        self.0 == WHOLE
    }

    /// For serde's `skip_serializing_if`, which hands over a reference.
    pub(crate) const fn is_never_ref(&self) -> bool {
        self.is_never()
    }

    /// For serde's `skip_serializing_if`, which hands over a reference.
    pub(crate) const fn is_always_ref(&self) -> bool {
        self.is_always()
    }
}

impl FromStr for Chance {
    type Err = ChanceError;

    fn from_str(text: &str) -> Result<Self, ChanceError> {
        let text = text.trim();
        let not_a_number = || ChanceError::NotANumber(text.to_owned());
        let (number, has_percent) = match text.strip_suffix('%') {
            Some(number) => (number.trim_end(), true),
            None => (text, false),
        };
        let (digits, negative) = match number.strip_prefix('-') {
            Some(digits) => (digits, true),
            None => (number.strip_prefix('+').unwrap_or(number), false),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(whole) || !all_digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
            return Err(not_a_number());
        }
        if !has_percent {
            return Err(ChanceError::MissingPercent(number.to_owned()));
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > DECIMALS {
            return Err(ChanceError::TooFine(text.to_owned()));
        }
        let whole = whole.trim_start_matches('0');
        // Four digits are over 100 % already; longer ones need not fit a number.
        let percent: u64 = match whole.len() {
            0 => 0,
            1..=3 => whole.parse().map_err(|_| not_a_number())?,
            _ => u64::from(u16::MAX),
        };
        let parts: u64 = if fraction.is_empty() {
            0
        } else {
            format!("{fraction:0<DECIMALS$}")
                .parse()
                .map_err(|_| not_a_number())?
        };
        let value = percent * PER_PERCENT + parts;
        if negative && value > 0 {
            return Err(ChanceError::Negative(text.to_owned()));
        }
        if value > WHOLE {
            return Err(ChanceError::TooLarge(text.to_owned()));
        }
        Ok(Self(value))
    }
}

impl fmt::Display for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, parts) = (self.0 / PER_PERCENT, self.0 % PER_PERCENT);
        if parts == 0 {
            return write!(f, "{whole}%");
        }
        let fraction = format!("{parts:0DECIMALS$}");
        write!(f, "{whole}.{}%", fraction.trim_end_matches('0'))
    }
}

text_form!(Chance, "a chance such as `30%`", {
    "type": "string",
    "description": "A chance between 0% and 100%, with its percent sign and at most nine decimals.",
    "pattern": r"^\s*\+?(100(\.0*)?|\d{1,2}(\.\d*)?|\.\d+)\s*%\s*$",
    "examples": ["30%", "0.5%"]
});

use std::fmt;
use std::str::FromStr;

use super::{Chance, Duration, text_form};

/// How a measured value is compared with a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
    Other,
}

/// A limit from above for a length of time: `<= 200ms`, `< 1s`. A length of time alone stands for `<=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LatencyBound {
    strict: bool,
    limit: Duration,
}

/// A limit from below for a share: `>= 99%`, `> 99%`. A share alone stands for `>=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShareBound {
    strict: bool,
    limit: Chance,
}

/// What a number has to be: `<= 0.5`, `> 0`, `== 1`, `!= 0`. NaN and infinities never are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueBound {
    comparison: Comparison,
    limit: f64,
}

/// Why a text is no expectation, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BoundError {
    #[error("`{0}` does not say how to compare – write `<= {0}`, or one of `<`, `>`, `>=`, `==`, `!=`")]
    NoComparison(String),
    #[error("`{0}` asks for slowness – write the longest time that is well, such as `<= 200ms` or `< 200ms`")]
    NotFromAbove(String),
    #[error("`{0}` asks for failures – write the smallest share that is well, such as `>= 99%`")]
    NotFromBelow(String),
    #[error("`{0}` is not a number – write a comparison and a number, such as `<= 0.5`")]
    NotANumber(String),
    #[error("{0}")]
    Limit(String),
}

impl Comparison {
    /// Longest first, so that `<=` is not read as `<`.
    const ALL: [(&'static str, Self); 6] = [
        ("<=", Self::AtMost),
        (">=", Self::AtLeast),
        ("==", Self::Equal),
        ("!=", Self::Other),
        ("<", Self::Less),
        (">", Self::More),
    ];

    pub const fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::AtLeast => ">=",
            Self::Equal => "==",
            Self::Other => "!=",
        }
    }

    pub(super) fn split(text: &str) -> (Option<Self>, &str) {
        let found = Self::ALL
            .iter()
            .find_map(|(sign, it)| Some((*it, text.strip_prefix(sign)?)));
        match found {
            Some((comparison, rest)) => (Some(comparison), rest.trim_start()),
            None => (None, text),
        }
    }
}

impl LatencyBound {
    pub const fn at_most(limit: Duration) -> Self {
        Self { strict: false, limit }
    }

    pub const fn below(limit: Duration) -> Self {
        Self { strict: true, limit }
    }

    pub const fn limit(self) -> Duration {
        self.limit
    }

    pub fn holds(self, took: std::time::Duration) -> bool {
        let limit = self.limit.as_std();
        took < limit || (!self.strict && took == limit)
    }
}

impl ShareBound {
    pub const fn at_least(limit: Chance) -> Self {
        Self { strict: false, limit }
    }

    pub const fn limit(self) -> Chance {
        self.limit
    }

    /// Whether `part` of `whole` is enough. Of nothing, nothing is enough.
    pub fn holds(self, part: u64, whole: u64) -> bool {
        if whole == 0 {
            return false;
        }
        // In exact arithmetic: 99 of 100 is 99 %.
        let (part, whole) = (u128::from(part), u128::from(whole));
        let (have, need) = (
            part * u128::from(Chance::ALWAYS.units()),
            whole * u128::from(self.limit.units()),
        );
        have > need || (!self.strict && have == need)
    }
}

impl ValueBound {
    pub const fn new(comparison: Comparison, limit: f64) -> Self {
        Self { comparison, limit }
    }

    pub fn holds(self, value: f64) -> bool {
        value.is_finite()
            && match self.comparison {
                Comparison::Less => value < self.limit,
                Comparison::AtMost => value <= self.limit,
                Comparison::More => value > self.limit,
                Comparison::AtLeast => value >= self.limit,
                Comparison::Equal => value.total_cmp(&self.limit).is_eq() || value == self.limit,
                Comparison::Other => value != self.limit,
            }
    }
}

impl FromStr for LatencyBound {
    type Err = BoundError;

    fn from_str(text: &str) -> Result<Self, BoundError> {
        let text = text.trim();
        let (comparison, rest) = Comparison::split(text);
        let strict = match comparison {
            None | Some(Comparison::AtMost) => false,
            Some(Comparison::Less) => true,
            Some(_) => return Err(BoundError::NotFromAbove(text.to_owned())),
        };
        let limit = rest
            .parse()
            .map_err(|error: super::DurationError| BoundError::Limit(error.to_string()))?;
        Ok(Self { strict, limit })
    }
}

impl FromStr for ShareBound {
    type Err = BoundError;

    fn from_str(text: &str) -> Result<Self, BoundError> {
        let text = text.trim();
        let (comparison, rest) = Comparison::split(text);
        let strict = match comparison {
            None | Some(Comparison::AtLeast) => false,
            Some(Comparison::More) => true,
            Some(_) => return Err(BoundError::NotFromBelow(text.to_owned())),
        };
        let limit = rest
            .parse()
            .map_err(|error: super::ChanceError| BoundError::Limit(error.to_string()))?;
        Ok(Self { strict, limit })
    }
}

impl FromStr for ValueBound {
    type Err = BoundError;

    fn from_str(text: &str) -> Result<Self, BoundError> {
        let text = text.trim();
        let (comparison, rest) = Comparison::split(text);
        let limit = match rest.parse::<f64>() {
            Ok(limit) if limit.is_finite() => limit,
            _ => return Err(BoundError::NotANumber(text.to_owned())),
        };
        match comparison {
            Some(comparison) => Ok(Self { comparison, limit }),
            None => Err(BoundError::NoComparison(text.to_owned())),
        }
    }
}

impl fmt::Display for LatencyBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.strict { "<" } else { "<=" }, self.limit)
    }
}

impl fmt::Display for ShareBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.strict { ">" } else { ">=" }, self.limit)
    }
}

impl fmt::Display for ValueBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.comparison.sign(), self.limit)
    }
}

text_form!(LatencyBound, "a limit such as `<= 200ms`", {
    "type": "string",
    "description": "The longest time that is well: `<=` or `<` and a length of time; without a sign, `<=`.",
    "pattern": r"^\s*(<=?)?\s*[0-9].*[a-zµ]\s*$",
    "examples": ["<= 200ms", "< 1s"]
});

text_form!(ShareBound, "a share such as `>= 99%`", {
    "type": "string",
    "description": "The smallest share that is well: `>=` or `>` and a share; without a sign, `>=`.",
    "pattern": r"^\s*(>=?)?\s*\+?(100(\.0*)?|\d{1,2}(\.\d*)?|\.\d+)\s*%\s*$",
    "examples": [">= 99%"]
});

text_form!(ValueBound, "a comparison and a number, such as `<= 0.5`", {
    "type": "string",
    "description": "A comparison and a number.",
    "pattern": r"^\s*(<=|>=|==|!=|<|>)\s*[-+]?([0-9]|\.[0-9])",
    "examples": ["<= 0.5", "> 0", "== 1"]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_shown_again() {
        for text in ["<= 200ms", "< 1s"] {
            assert_eq!(text.parse::<LatencyBound>().unwrap().to_string(), text);
        }
        assert_eq!("200ms".parse::<LatencyBound>().unwrap().to_string(), "<= 200ms");
        assert_eq!("<1s".parse::<LatencyBound>().unwrap().to_string(), "< 1s");
        assert_eq!("99%".parse::<ShareBound>().unwrap().to_string(), ">= 99%");
        for text in ["<= 0.5", "> -3", "== 1", "!= 0", ">= 1000000"] {
            assert_eq!(text.parse::<ValueBound>().unwrap().to_string(), text);
        }
        assert_eq!("<= 1e3".parse::<ValueBound>().unwrap().to_string(), "<= 1000");
    }

    #[test]
    fn nonsense_is_refused_with_a_remedy() {
        for text in [">= 200ms", "== 200ms", "<= 200", "<=", "fast"] {
            assert!(
                text.parse::<LatencyBound>()
                    .unwrap_err()
                    .to_string()
                    .contains("write"),
                "{text}"
            );
        }
        for text in ["<= 99%", ">= 99", ">= 101%", ">="] {
            assert!(
                text.parse::<ShareBound>()
                    .unwrap_err()
                    .to_string()
                    .contains("write"),
                "{text}"
            );
        }
        for text in ["0.5", "<= NaN", "<= inf", "<= ", "=< 3", "<= 3s"] {
            assert!(
                text.parse::<ValueBound>()
                    .unwrap_err()
                    .to_string()
                    .contains("write"),
                "{text}"
            );
        }
    }

    #[test]
    fn limits_are_exact() {
        let ms = std::time::Duration::from_millis;
        assert!("<= 200ms".parse::<LatencyBound>().unwrap().holds(ms(200)));
        assert!(!"< 200ms".parse::<LatencyBound>().unwrap().holds(ms(200)));
        let share: ShareBound = ">= 99%".parse().unwrap();
        assert!(share.holds(99, 100) && !share.holds(98, 100) && !share.holds(0, 0));
        assert!(!"> 99%".parse::<ShareBound>().unwrap().holds(99, 100));
        let value = |text: &str, value: f64| text.parse::<ValueBound>().unwrap().holds(value);
        assert!(value("!= 1", 2.0) && !value("!= 1", f64::NAN) && !value("> 1", f64::INFINITY));
        assert!(value("== 0", -0.0) && value("<= 0.05", 0.05) && !value("< 0.05", 0.05));
    }
}

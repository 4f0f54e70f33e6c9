use std::fmt;
use std::str::FromStr;

use super::{BoundError, Comparison, Duration, LatencyBound, ValueBound, text_form};

/// What a latency may be: a limit, or a multiple of what it was before anything was done (`<= 1.5x baseline`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LatencyTolerance {
    Bound(LatencyBound),
    Baseline { strict: bool, factor: f64 },
}

/// What a number may be: a limit, or a multiple of what it was before anything was done (`>= 0.9x baseline`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueTolerance {
    Bound(ValueBound),
    Baseline { comparison: Comparison, factor: f64 },
}

/// Why a text is no tolerance, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ToleranceError {
    #[error("`{0}` is no multiple of the baseline – write for example `<= 1.5x baseline`")]
    NotAMultiple(String),
    #[error("{0}")]
    Bound(#[from] BoundError),
}

/// The comparison and the factor of `<= 1.5x baseline`; none when the text is not about the baseline.
fn multiple(text: &str) -> Option<Result<(Comparison, f64), ToleranceError>> {
    let text = text.trim();
    let rest = text.strip_suffix("baseline")?;
    let wrong = || ToleranceError::NotAMultiple(text.to_owned());
    let (comparison, rest) = Comparison::split(rest.trim());
    let factor = rest.trim_end().strip_suffix('x').map(str::trim);
    Some(match (comparison, factor.map(str::parse::<f64>)) {
        (Some(comparison), Some(Ok(factor))) if factor.is_finite() && factor > 0.0 => {
            Ok((comparison, factor))
        }
        _ => Err(wrong()),
    })
}

impl LatencyTolerance {
    /// The limit, once it is known what was measured in the baseline.
    pub fn against(self, baseline: std::time::Duration) -> LatencyBound {
        match self {
            Self::Bound(bound) => bound,
            Self::Baseline { strict, factor } => {
                let seconds = (baseline.as_secs_f64() * factor).min(1e9);
                let limit = Duration::from(std::time::Duration::from_secs_f64(seconds));
                if strict {
                    LatencyBound::below(limit)
                } else {
                    LatencyBound::at_most(limit)
                }
            }
        }
    }

    pub const fn is_relative(self) -> bool {
        matches!(self, Self::Baseline { .. })
    }
}

impl ValueTolerance {
    /// The limit, once it is known what was measured in the baseline.
    pub fn against(self, baseline: f64) -> ValueBound {
        match self {
            Self::Bound(bound) => bound,
            Self::Baseline { comparison, factor } => ValueBound::new(comparison, baseline * factor),
        }
    }

    pub const fn is_relative(self) -> bool {
        matches!(self, Self::Baseline { .. })
    }
}

impl FromStr for LatencyTolerance {
    type Err = ToleranceError;

    fn from_str(text: &str) -> Result<Self, ToleranceError> {
        match multiple(text) {
            None => Ok(Self::Bound(text.parse()?)),
            Some(Ok((comparison @ (Comparison::Less | Comparison::AtMost), factor))) => Ok(Self::Baseline {
                strict: comparison == Comparison::Less,
                factor,
            }),
            Some(Ok(_)) => Err(BoundError::NotFromAbove(text.trim().to_owned()).into()),
            Some(Err(error)) => Err(error),
        }
    }
}

impl FromStr for ValueTolerance {
    type Err = ToleranceError;

    fn from_str(text: &str) -> Result<Self, ToleranceError> {
        match multiple(text) {
            None => Ok(Self::Bound(text.parse()?)),
            Some(Ok((comparison, factor))) => Ok(Self::Baseline { comparison, factor }),
            Some(Err(error)) => Err(error),
        }
    }
}

impl fmt::Display for LatencyTolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bound(bound) => bound.fmt(f),
            Self::Baseline { strict, factor } => {
                write!(f, "{} {factor}x baseline", if *strict { "<" } else { "<=" })
            }
        }
    }
}

impl fmt::Display for ValueTolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bound(bound) => bound.fmt(f),
            Self::Baseline { comparison, factor } => {
                write!(f, "{} {factor}x baseline", comparison.sign())
            }
        }
    }
}

text_form!(LatencyTolerance, "a length of time such as `<= 200ms`, or `<= 1.5x baseline`", {
    "type": "string",
    "description": "The longest time that is well, or the largest multiple of what it was in the baseline.",
    "examples": ["<= 200ms", "<= 1.5x baseline"]
});

text_form!(ValueTolerance, "a comparison and a number, such as `<= 0.5`, or `<= 1.5x baseline`", {
    "type": "string",
    "description": "A comparison with a number, or with a multiple of what it was in the baseline.",
    "pattern": r"^\s*(<=|>=|==|!=|<|>)\s*[-+]?([0-9]|\.[0-9])",
    "examples": ["<= 0.5", ">= 0.9x baseline"]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiples_of_the_baseline_are_read_and_shown_again() {
        for text in ["<= 1.5x baseline", "< 2x baseline", "<= 200ms"] {
            assert_eq!(text.parse::<LatencyTolerance>().unwrap().to_string(), text);
        }
        for text in [">= 0.9x baseline", "<= 0.5"] {
            assert_eq!(text.parse::<ValueTolerance>().unwrap().to_string(), text);
        }
        assert_eq!(
            "<=1.5 x baseline"
                .parse::<LatencyTolerance>()
                .unwrap()
                .to_string(),
            "<= 1.5x baseline"
        );
    }

    #[test]
    fn they_become_limits() {
        let ms = std::time::Duration::from_millis;
        let relative: LatencyTolerance = "<= 1.5x baseline".parse().unwrap();
        let bound = relative.against(ms(100));
        assert!(bound.holds(ms(150)) && !bound.holds(ms(151)));
        let absolute: LatencyTolerance = "< 10ms".parse().unwrap();
        assert!(!absolute.against(ms(1000)).holds(ms(10)));
        let value: ValueTolerance = ">= 0.5x baseline".parse().unwrap();
        assert!(value.against(4.0).holds(2.0) && !value.against(4.0).holds(1.9));
    }

    #[test]
    fn nonsense_is_refused_with_a_remedy() {
        for text in [
            "1.5x baseline",
            "<= baseline",
            "<= -1x baseline",
            "<= NaNx baseline",
            ">= 2x baseline",
        ] {
            let error = text.parse::<LatencyTolerance>().unwrap_err().to_string();
            assert!(error.contains("write"), "{text}: {error}");
        }
    }
}

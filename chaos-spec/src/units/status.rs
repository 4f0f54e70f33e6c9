use std::fmt;
use std::str::FromStr;

use super::text_form;

/// HTTP status codes: one (`200`), a class (`2xx`) or a range (`200-399`), both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StatusRange {
    first: u16,
    last: u16,
}

/// Why a text is no status, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatusError {
    #[error("`{0}` is no HTTP status – write `200`, `2xx` or `200-399`")]
    NotAStatus(String),
    #[error("{0} is no HTTP status – write one between 100 and 599")]
    OutOfRange(u16),
    #[error("{0}-{1} runs backwards – write `{1}-{0}`")]
    Reversed(u16, u16),
}

impl StatusRange {
    /// What a server says when it is well: 200 to 399.
    pub const WELL: Self = Self {
        first: 200,
        last: 399,
    };

    pub const fn contains(self, status: u16) -> bool {
        self.first <= status && status <= self.last
    }
}

impl FromStr for StatusRange {
    type Err = StatusError;

    fn from_str(text: &str) -> Result<Self, StatusError> {
        let text = text.trim();
        let code = |part: &str| {
            let part = part.trim();
            if part.len() != 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
                return Err(StatusError::NotAStatus(text.to_owned()));
            }
            match part.parse() {
                Ok(code @ 100..=599) => Ok(code),
                Ok(code) => Err(StatusError::OutOfRange(code)),
                Err(_) => Err(StatusError::NotAStatus(text.to_owned())),
            }
        };
        if let Some(class) = text.strip_suffix("xx") {
            let first = code(&format!("{class}00"))?;
            return Ok(Self {
                first,
                last: first + 99,
            });
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (code(first)?, code(last)?);
        if first > last {
            return Err(StatusError::Reversed(first, last));
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.last) {
            (first, last) if first == last => write!(f, "{first}"),
            (first, last) if first % 100 == 0 && last == first + 99 => write!(f, "{}xx", first / 100),
            (first, last) => write!(f, "{first}-{last}"),
        }
    }
}

text_form!(StatusRange, "an HTTP status such as `200`, `2xx` or `200-399`", {
    "description": "An HTTP status, a class of them, or a range.",
    "oneOf": [
        {"type": "integer", "minimum": 100, "maximum": 599},
        {"type": "string", "pattern": r"^\s*([1-5]xx|[1-5]\d\d(\s*-\s*[1-5]\d\d)?)\s*$"}
    ],
    "examples": ["200", "2xx", "200-399"]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_and_shown_again() {
        for text in ["200", "2xx", "200-399"] {
            assert_eq!(text.parse::<StatusRange>().unwrap().to_string(), text);
        }
        for text in ["20", "6xx", "x", "200-100", "099", "600", "2xx-3xx", "", "+20"] {
            assert!(
                text.parse::<StatusRange>()
                    .unwrap_err()
                    .to_string()
                    .contains("write"),
                "{text}"
            );
        }
        assert!(StatusRange::WELL.contains(204) && !StatusRange::WELL.contains(500));
    }
}

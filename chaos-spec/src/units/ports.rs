use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// One port (`8080`) or a range of ports, both ends included (`6000-6010`). Never empty, never port 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// Why a text names no ports, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    #[error("`{0}` is not a port – write a number such as `8080` or a range such as `6000-6010`")]
    NotAPort(String),
    #[error("{0} is not a port: ports end at 65535 – write a port between 1 and 65535")]
    TooLarge(String),
    #[error("0 is not a port that traffic uses – write a port between 1 and 65535")]
    Zero,
    #[error("{first}-{last} runs backwards – write `{last}-{first}`")]
    Reversed { first: u16, last: u16 },
}

impl PortRange {
    /// Ports `first` to `last`, both included.
    pub const fn new(first: u16, last: u16) -> Result<Self, PortError> {
        if first == 0 || last == 0 {
            return Err(PortError::Zero);
        }
        if first > last {
            return Err(PortError::Reversed { first, last });
        }
        Ok(Self { first, last })
    }

    pub const fn single(port: u16) -> Result<Self, PortError> {
        Self::new(port, port)
    }

    pub const fn first(self) -> u16 {
        self.first
    }

    pub const fn last(self) -> u16 {
        self.last
    }

    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    pub const fn ports(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }
}

fn port(text: &str, whole: &str) -> Result<u16, PortError> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(PortError::NotAPort(whole.to_owned()));
    }
    text.parse().map_err(|_| PortError::TooLarge(text.to_owned()))
}

impl FromStr for PortRange {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, PortError> {
        let text = text.trim();
        match text.split_once('-') {
            Some((first, last)) => Self::new(port(first, text)?, port(last, text)?),
            None => Self::single(port(text, text)?),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl serde::Serialize for PortRange {
    /// One port is a number, a range is text: as people write them.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.first == self.last {
            serializer.serialize_u16(self.first)
        } else {
            serializer.collect_str(self)
        }
    }
}

impl<'de> serde::Deserialize<'de> for PortRange {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PortVisitor;
        impl serde::de::Visitor<'_> for PortVisitor {
            type Value = PortRange;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port such as `8080` or a range such as `6000-6010`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<PortRange, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<PortRange, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<PortRange, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<PortRange, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(PortVisitor)
    }
}

impl schemars::JsonSchema for PortRange {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PortRange".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A port, or a range of ports with both ends included.",
            "oneOf": [
                {"type": "integer", "minimum": 1, "maximum": 65535},
                {"type": "string", "pattern": r"^\s*\d{1,5}\s*(-\s*\d{1,5}\s*)?$"}
            ],
            "examples": [8080, "6000-6010"]
        })
    }
}

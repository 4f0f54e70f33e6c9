use std::fmt;
use std::str::FromStr;

use super::text_form;

/// A rate in bits per second, written as tc writes it: `10mbit`, `512kbit`, `1gbit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(u64);

/// A number of bytes: `32KiB`, `1500B`, `2MB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// Why a text is no rate or no size, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("`{written}` has no unit – write a unit behind it: {units}")]
    MissingUnit { written: String, units: &'static str },
    #[error("`{unit}` in `{written}` is not a unit – write one of {units}")]
    UnknownUnit {
        written: String,
        unit: String,
        units: &'static str,
    },
    #[error("`{written}` does not begin with a whole number – write for example `{example}`")]
    NotANumber { written: String, example: &'static str },
    #[error("`{0}` is too large to count – write a smaller number")]
    TooLarge(String),
}

/// Ascending; the first with a factor of one is the base unit.
type Units = &'static [(&'static str, u64)];

const RATE_UNITS: Units = &[
    ("bit", 1),
    ("kbit", 1_000),
    ("mbit", 1_000_000),
    ("gbit", 1_000_000_000),
    ("tbit", 1_000_000_000_000),
];
const RATE_NAMES: &str = "`bit`, `kbit`, `mbit`, `gbit` or `tbit` (per second)";

const SIZE_UNITS: Units = &[
    ("B", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];
const SIZE_NAMES: &str = "`B`, `kB`, `KiB`, `MB`, `MiB`, `GB` or `GiB`";

fn quantity(
    text: &str,
    units: Units,
    names: &'static str,
    example: &'static str,
) -> Result<u64, QuantityError> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = (&text[..split], text[split..].trim());
    if number.is_empty() || unit.starts_with('.') {
        return Err(QuantityError::NotANumber {
            written: text.to_owned(),
            example,
        });
    }
    if unit.is_empty() {
        return Err(QuantityError::MissingUnit {
            written: text.to_owned(),
            units: names,
        });
    }
    let factor = units
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))
        .map(|(_, factor)| *factor);
    let Some(factor) = factor else {
        return Err(QuantityError::UnknownUnit {
            written: text.to_owned(),
            unit: unit.to_owned(),
            units: names,
        });
    };
    let number: Option<u64> = number.parse().ok();
    number
        .and_then(|n| n.checked_mul(factor))
        .ok_or_else(|| QuantityError::TooLarge(text.to_owned()))
}

/// In the largest unit that leaves a whole number.
fn display(value: u64, units: Units, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let fits = |factor: u64| value != 0 && value.is_multiple_of(factor);
    let (name, factor) = units
        .iter()
        .rev()
        .find(|(_, factor)| fits(*factor))
        .unwrap_or(&units[0]);
    write!(f, "{}{name}", value / factor)
}

impl Rate {
    pub const fn bits_per_second(self) -> u64 {
        self.0
    }
}

impl ByteSize {
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        quantity(text, RATE_UNITS, RATE_NAMES, "10mbit").map(Self)
    }
}

impl FromStr for ByteSize {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        quantity(text, SIZE_UNITS, SIZE_NAMES, "32KiB").map(Self)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(self.0, RATE_UNITS, f)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(self.0, SIZE_UNITS, f)
    }
}

text_form!(Rate, "a rate such as `10mbit`", {
    "type": "string",
    "description": "A rate in bits per second with its unit.",
    "pattern": r"^\s*\d+\s*[kKmMgGtT]?[bB][iI][tT]\s*$",
    "examples": ["10mbit", "512kbit"]
});

text_form!(ByteSize, "a number of bytes such as `32KiB`", {
    "type": "string",
    "description": "A number of bytes with its unit.",
    "pattern": r"^\s*\d+\s*([kKmMgG][iI]?)?[bB]\s*$",
    "examples": ["32KiB", "1500B"]
});

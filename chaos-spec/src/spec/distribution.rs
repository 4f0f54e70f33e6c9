//! How jitter is spread: a word, or a table of one's own.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

use super::lists::not_empty;
use crate::diagnostic::{Diagnostic, Mark};

/// How jitter is spread around the latency.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// Between `latency - jitter` and `latency + jitter`.
    Uniform,
    /// Gaussian.
    Normal,
    /// Long tail: exponent 3, moved to the mean `latency` and scaled to the deviation `jitter`.
    Pareto,
    /// A quarter normal, three quarters Pareto, quantile by quantile.
    ParetoNormal,
    /// Measured, or made elsewhere.
    #[serde(untagged)]
    Table(DistributionTable),
}

/// Offsets from the latency in units of the jitter, all of them equally likely; their order does not matter.
/// Exactly one of `table` and `file`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DistributionTable {
    /// The offsets: `[-1, -0.5, 0, 0.5, 3]`.
    #[serde(
        default,
        deserialize_with = "not_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub table: Vec<f64>,
    /// A file of offsets, read by chaosctl, relative to the file that names it; the daemon is sent the `table`. With
    /// the ending `.dist` it is one of tc's (whole numbers, 8192 for one jitter), with any other a list of numbers;
    /// `#` begins a comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

impl Distribution {
    /// The words, as they are written.
    pub const WORDS: [&'static str; 4] = ["uniform", "normal", "pareto", "paretonormal"];

    /// Its word; `table` for one without.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Uniform => Self::WORDS[0],
            Self::Normal => Self::WORDS[1],
            Self::Pareto => Self::WORDS[2],
            Self::ParetoNormal => Self::WORDS[3],
            Self::Table(_) => "table",
        }
    }
}

impl DistributionTable {
    /// The most offsets a table may have: as many as tc's largest.
    pub const MOST: usize = 16_384;
    /// The largest offset, either way, in jitters.
    pub const LARGEST: f64 = 1_000.0;
    /// What tc's tables call one jitter.
    const SCALE: f64 = 8_192.0;

    /// Reads the text of a table file. The name decides its format and stands in the messages.
    ///
    /// # Errors
    /// The first thing that is no offset, with its line, or that there is none at all.
    pub fn read(name: &str, text: &str) -> Result<Vec<f64>, Diagnostic> {
        let scaled = name.ends_with(".dist");
        let mut table = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let mark = u32::try_from(index + 1).ok().map(|line| Mark { line, column: 1 });
            let numbers = line.split('#').next().unwrap_or_default();
            for word in numbers.split(|c: char| c.is_whitespace() || c == ',') {
                if word.is_empty() {
                    continue;
                }
                table.push(offset(word, scaled).map_err(|(message, remedy)| {
                    Diagnostic::whole(name, mark, format!("`{word}` {message}"), remedy)
                })?);
            }
            if table.len() > Self::MOST {
                let message = format!("more than the {} offsets that a table may have", Self::MOST);
                return Err(Diagnostic::whole(name, mark, message, "leave some out"));
            }
        }
        if table.is_empty() {
            let remedy = "write one number a line, such as `-0.5`";
            return Err(Diagnostic::whole(name, None, "there is no offset in it", remedy));
        }
        Ok(table)
    }

    /// Whether an offset may stand in a table.
    pub fn may_be(offset: f64) -> bool {
        offset.is_finite() && offset.abs() <= Self::LARGEST
    }
}

fn offset(word: &str, scaled: bool) -> Result<f64, (&'static str, &'static str)> {
    if scaled {
        let whole: i16 = word.parse().map_err(|_| {
            (
                "is no whole number between -32768 and 32767, of which tc's tables are made",
                "give a list of decimals another ending than `.dist`",
            )
        })?;
        return Ok(f64::from(whole) / DistributionTable::SCALE);
    }
    match word.parse() {
        Ok(offset) if DistributionTable::may_be(offset) => Ok(offset),
        _ => Err((
            "is no number between -1000 and 1000",
            "write offsets in units of the jitter, such as `-0.5`",
        )),
    }
}

impl<'de> Deserialize<'de> for Distribution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DistributionVisitor;
        impl<'de> Visitor<'de> for DistributionVisitor {
            type Value = Distribution;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "`uniform`, `normal`, `pareto`, `paretonormal` or a table such as `{table: [-1, 0, 1]}` or `{file: measured.txt}`",
                )
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Distribution, E> {
                match word {
                    "uniform" => Ok(Distribution::Uniform),
                    "normal" => Ok(Distribution::Normal),
                    "pareto" => Ok(Distribution::Pareto),
                    "paretonormal" => Ok(Distribution::ParetoNormal),
                    _ => Err(E::unknown_variant(word, &Distribution::WORDS)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Distribution, A::Error> {
                DistributionTable::deserialize(MapAccessDeserializer::new(map)).map(Distribution::Table)
            }
        }
        deserializer.deserialize_any(DistributionVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_tc_and_plain_lists_are_read() {
        let tc = "# a table\n -8192 0\n4096 8191 # the end\n";
        assert_eq!(
            DistributionTable::read("x.dist", tc).expect("sound"),
            [-1.0, 0.0, 0.5, 8191.0 / 8192.0]
        );
        let plain = "-1.5\n\n# measured on Monday\n0, 2\n";
        assert_eq!(
            DistributionTable::read("x.txt", plain).expect("sound"),
            [-1.5, 0.0, 2.0]
        );
    }

    #[test]
    fn what_is_no_offset_is_named_with_its_line() {
        for (name, text, want) in [
            ("x.dist", "1\n2.5\n", "x.dist:2:1: `2.5` is no whole number"),
            ("x.dist", "40000\n", "x.dist:1:1: `40000` is no whole number"),
            ("x.txt", "1\n\n20ms\n", "x.txt:3:1: `20ms` is no number"),
            ("x.txt", "NaN\n", "x.txt:1:1: `NaN` is no number"),
            ("x.txt", "# nothing\n", "x.txt: there is no offset in it"),
        ] {
            let error = DistributionTable::read(name, text).expect_err(text).to_string();
            assert!(error.starts_with(want), "{error}");
        }
        let long = "1\n".repeat(DistributionTable::MOST + 1);
        let error = DistributionTable::read("x.txt", &long).expect_err("too long");
        assert!(error.to_string().contains("16384"), "{error}");
    }
}

//! YAML text → [`Node`] trees with their places.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Location, Spanned};

use super::node::{Entry, Node, Number, Value, shorten};
use crate::diagnostic::{Diagnostic, Mark};

/// No spec nests deeper than eight; anything far beyond is not one.
const MAX_DEPTH: usize = 32;

/// One document as serde-saphyr gives it.
enum Raw {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawVisitor;
        impl<'de> Visitor<'de> for RawVisitor {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("fields, a list, text, a number or a boolean")
            }

            fn visit_unit<E: Error>(self) -> Result<Raw, E> {
                Ok(Raw::Null)
            }

            fn visit_none<E: Error>(self) -> Result<Raw, E> {
                Ok(Raw::Null)
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
                Raw::deserialize(deserializer)
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Raw, E> {
                Ok(Raw::Bool(value))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Raw, E> {
                Ok(Raw::Number(Number::Unsigned(value)))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Raw, E> {
                Ok(Raw::Number(
                    u64::try_from(value).map_or(Number::Signed(value), Number::Unsigned),
                ))
            }

            fn visit_u128<E: Error>(self, value: u128) -> Result<Raw, E> {
                Ok(Raw::Number(Number::Float(value as f64)))
            }

            fn visit_i128<E: Error>(self, value: i128) -> Result<Raw, E> {
                Ok(Raw::Number(Number::Float(value as f64)))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Raw, E> {
                Ok(Raw::Number(Number::Float(value)))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Raw, E> {
                Ok(Raw::Text(value.to_owned()))
            }

            fn visit_string<E: Error>(self, value: String) -> Result<Raw, E> {
                Ok(Raw::Text(value))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Raw::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Raw::Map(entries))
            }
        }
        deserializer.deserialize_any(RawVisitor)
    }
}

/// All documents of a text. Empty ones are left out.
pub(super) fn documents(file: &str, text: &str) -> Result<Vec<Node>, Diagnostic> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            // 65,536 addresses, or the 1500 faults of a node, fit in many times.
            max_nodes: 500_000,
            max_events: 2_000_000,
            max_documents: 10_000,
            max_total_scalar_bytes: 4 * crate::MAX_TEXT_BYTES,
            max_recorded_anchor_bytes: crate::MAX_TEXT_BYTES,
            max_aliases: 1_000,
            max_anchors: 1_000,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
            max_replay_stack_depth: 8,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        strict_booleans: true,
        emit_comments: false,
        with_snippet: false,
    };
    let raw: Vec<Spanned<Raw>> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| syntax_error(file, &error))?;
    let nodes = raw.into_iter().map(|document| node(document, text));
    Ok(nodes.filter(|node| node.value != Value::Null).collect())
}

fn node(raw: Spanned<Raw>, text: &str) -> Node {
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Bool(value) => Value::Bool(value),
        Raw::Number(number) => Value::Number(number, spelled(raw.defined, text)),
        Raw::Text(value) => Value::Text(value),
        Raw::List(items) => Node::list(items.into_iter().map(|item| node(item, text)).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| Entry {
                    key_mark: mark(key.referenced),
                    key: key.value,
                    node: node(value, text),
                })
                .collect(),
        ),
    };
    Node {
        value,
        mark: mark(raw.referenced),
    }
}

fn mark(location: Location) -> Option<Mark> {
    let (line, column) = (location.line(), location.column());
    if line == 0 {
        return None;
    }
    Some(Mark {
        line: u32::try_from(line).ok()?,
        column: u32::try_from(column).ok()?,
    })
}

/// How a number stands in the text.
fn spelled(location: Location, text: &str) -> Option<String> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
    let number = text.get(start..end)?.trim();
    (!number.is_empty()).then(|| number.to_owned())
}

fn syntax_error(file: &str, error: &serde_saphyr::Error) -> Diagnostic {
    use serde_saphyr::Error as Yaml;

    let mut inner = error;
    while let Yaml::WithSnippet { error, .. } | Yaml::AliasError { error, .. } = inner {
        inner = error;
    }
    let mark = error.location().and_then(mark);
    let (message, remedy) = match inner {
        Yaml::DuplicateMappingKey { key: Some(key), .. } => (
            format!("the field `{}` is written twice", shorten(key)),
            "keep one of them",
        ),
        Yaml::UnknownAnchor { .. } => (
            "this alias names no anchor above it".to_owned(),
            "define it first with `&name`, or quote the text",
        ),
        Yaml::AliasReplayCounterOverflow { .. }
        | Yaml::AliasReplayLimitExceeded { .. }
        | Yaml::AliasExpansionLimitExceeded { .. }
        | Yaml::AliasReplayStackDepthExceeded { .. } => (
            "the aliases unfold to more than a spec can hold".to_owned(),
            "write the values out",
        ),
        Yaml::Budget { .. } => (
            "this is nested too deep or holds too much for a spec".to_owned(),
            "write less into one file",
        ),
        Yaml::NonFiniteFloat { value, .. } => (
            format!("`{value}` is no number to count with"),
            "write a finite one",
        ),
        other => {
            let rendered = other.to_string();
            let reason = match mark {
                Some(mark) => rendered
                    .strip_suffix(&format!(" at line {}, column {}", mark.line, mark.column))
                    .unwrap_or(&rendered)
                    .to_owned(),
                None => rendered,
            };
            let remedy = "look at the indentation, quotes and brackets here and just above";
            (format!("this is not YAML: {reason}"), remedy)
        }
    };
    Diagnostic::whole(file, mark, message, remedy)
}

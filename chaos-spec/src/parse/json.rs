//! JSON text → [`Node`] trees. Strict: this is what the API takes, and what a `.json` file must be.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::node::{Entry, Node, Number, Value};
use crate::diagnostic::{Diagnostic, Mark};

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NodeVisitor;
        impl<'de> Visitor<'de> for NodeVisitor {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E: Error>(self) -> Result<Node, E> {
                Ok(Node::new(Value::Null))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
                Ok(Node::new(Value::Bool(value)))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
                Ok(Node::new(Value::Number(Number::Unsigned(value), None)))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
                Ok(Node::new(Value::Number(Number::Signed(value), None)))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
                Ok(Node::new(Value::Number(Number::Float(value), None)))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
                Ok(Node::new(Value::Text(value.to_owned())))
            }

            fn visit_string<E: Error>(self, value: String) -> Result<Node, E> {
                Ok(Node::new(Value::Text(value)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Node::new(Node::list(items)))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut entries = Vec::new();
                let mut seen = HashSet::new();
                while let Some((key, node)) = map.next_entry::<String, Node>()? {
                    if !seen.insert(key.clone()) {
                        let text = format!("the field `{key}` is written twice – keep one of them");
                        return Err(A::Error::custom(text));
                    }
                    entries.push(Entry {
                        key,
                        key_mark: None,
                        node,
                    });
                }
                Ok(Node::new(Value::Map(entries)))
            }
        }
        deserializer.deserialize_any(NodeVisitor)
    }
}

/// The one document of a JSON text.
pub(super) fn document(file: &str, text: &[u8]) -> Result<Node, Diagnostic> {
    serde_json::from_slice(text).map_err(|error| syntax_error(file, &error))
}

fn syntax_error(file: &str, error: &serde_json::Error) -> Diagnostic {
    let mark = match (u32::try_from(error.line()), u32::try_from(error.column())) {
        (Ok(line), Ok(column)) if line > 0 => Some(Mark {
            line,
            column: column.max(1),
        }),
        _ => None,
    };
    let rendered = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let reason = rendered.strip_suffix(&place).unwrap_or(&rendered);
    if let Some((message, remedy)) = reason.split_once(crate::units::REMEDY_MARK) {
        return Diagnostic::whole(file, mark, message, remedy);
    }
    let remedy = match error.classify() {
        serde_json::error::Category::Eof => "the text is cut short: send or save the whole of it",
        _ => "correct the JSON at this place",
    };
    Diagnostic::whole(file, mark, format!("this is not JSON: {reason}"), remedy)
}

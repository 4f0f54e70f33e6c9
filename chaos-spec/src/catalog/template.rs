//! `${name}` in the texts of a document. A text that is nothing else becomes the value itself, whatever its type; inside
//! a longer text it is spelled out. `$${` stands for `${`. Values are put into the tree, never into text that is parsed
//! afterwards: no value can say more than a value.

use std::collections::{BTreeMap, BTreeSet};

use super::parameter::spelled;
use crate::SpecPath;
use crate::parse::node::{Entry, Node, Value};

/// What the parameters are; `None` for one that is left out.
pub(super) type Values<'a> = BTreeMap<&'a str, Option<Node>>;

/// Why a template makes nothing, at which place of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfit {
    pub(super) path: SpecPath,
    pub(super) message: String,
}

/// A group of fields that was written nowhere.
pub(super) fn map<'a>(fields: impl IntoIterator<Item = (&'a str, Node)>) -> Value {
    let entry = |(key, node): (&str, Node)| Entry {
        key: key.to_owned(),
        key_mark: None,
        node,
    };
    Value::Map(fields.into_iter().map(entry).collect())
}

/// The parameters that are named anywhere below.
pub(super) fn names(node: &Node) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    gather(node, &mut found);
    found
}

fn gather(node: &Node, found: &mut BTreeSet<String>) {
    match &node.value {
        Value::Text(text) => {
            let parts = parts(text);
            found.extend(parts.into_iter().filter_map(|part| match part {
                Part::Name(name) => Some(name.to_owned()),
                Part::Text(_) => None,
            }));
        }
        Value::List(items) => items.iter().for_each(|item| gather(&item.node, found)),
        Value::Map(entries) => entries.iter().for_each(|entry| gather(&entry.node, found)),
        Value::Null | Value::Bool(_) | Value::Number(..) => {}
    }
}

/// The document with values in it; `None` when it is nothing but a parameter that is left out.
pub(super) fn filled(node: &Node, values: &Values<'_>) -> Result<Option<Node>, Unfit> {
    fill(node, values, &SpecPath::root())
}

fn fill(node: &Node, values: &Values<'_>, path: &SpecPath) -> Result<Option<Node>, Unfit> {
    let value = match &node.value {
        Value::Text(text) => match parts(text).as_slice() {
            [Part::Name(name)] => match known(name, values, path)? {
                Some(value) => value.value.clone(),
                None => return Ok(None),
            },
            parts => match spelled_out(parts, values, path)? {
                Some(text) => Value::Text(text),
                None => return Ok(None),
            },
        },
        Value::List(items) => {
            let mut filled = Vec::new();
            for item in items {
                filled.extend(fill(&item.node, values, &path.clone().index(item.index))?);
            }
            Node::list(filled)
        }
        Value::Map(entries) => {
            let mut filled = Vec::new();
            for entry in entries {
                let inside = fill(&entry.node, values, &path.clone().field(entry.key.clone()))?;
                filled.extend(inside.map(|node| Entry {
                    key: entry.key.clone(),
                    key_mark: entry.key_mark,
                    node,
                }));
            }
            Value::Map(filled)
        }
        Value::Null | Value::Bool(_) | Value::Number(..) => node.value.clone(),
    };
    Ok(Some(Node {
        value,
        mark: node.mark,
    }))
}

/// A text of several parts; `None` when one of them is left out.
fn spelled_out(parts: &[Part<'_>], values: &Values<'_>, path: &SpecPath) -> Result<Option<String>, Unfit> {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text(part) => text.push_str(part),
            Part::Name(name) => match known(name, values, path)? {
                None => return Ok(None),
                Some(node) => match spelled(node) {
                    Some(word) => text.push_str(&word),
                    None => {
                        return Err(Unfit {
                            path: path.clone(),
                            message: format!("`{name}` is {}, and stands inside a text", node.describe()),
                        });
                    }
                },
            },
        }
    }
    Ok(Some(text))
}

fn known<'a>(name: &str, values: &'a Values<'_>, path: &SpecPath) -> Result<Option<&'a Node>, Unfit> {
    match values.get(name) {
        Some(value) => Ok(value.as_ref()),
        None => Err(Unfit {
            path: path.clone(),
            message: format!("there is no parameter `{name}`"),
        }),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Name(&'a str),
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            // `$${`: one of the two, and what follows is text.
            parts.push(Part::Text(&rest[..at]));
            parts.push(Part::Text("{"));
            rest = &rest[at + 2..];
            continue;
        }
        let Some(end) = rest[at..].find('}') else { break };
        if at > 0 {
            parts.push(Part::Text(&rest[..at]));
        }
        parts.push(Part::Name(rest[at + 2..at + end].trim()));
        rest = &rest[at + end + 1..];
    }
    if !rest.is_empty() || parts.is_empty() {
        parts.push(Part::Text(rest));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_text() {
        assert_eq!(parts("${port}"), [Part::Name("port")]);
        assert_eq!(
            parts("http://${ host }:${port}/"),
            [
                Part::Text("http://"),
                Part::Name("host"),
                Part::Text(":"),
                Part::Name("port"),
                Part::Text("/")
            ]
        );
        assert_eq!(
            parts("costs $${n}"),
            [Part::Text("costs $"), Part::Text("{"), Part::Text("n}")]
        );
        assert_eq!(parts("an open ${end"), [Part::Text("an open ${end")]);
        assert_eq!(parts(""), [Part::Text("")]);
    }

    #[test]
    fn a_value_keeps_its_type_and_one_that_is_left_out_takes_its_field_along() {
        let text = |text: &str| Node::new(Value::Text(text.to_owned()));
        let template = Node::new(map([
            ("whole", text("${list}")),
            ("gone", text("${none}")),
            ("inside", text("p-${word}")),
            ("half", text("p-${none}")),
        ]));
        let list = Node::new(Node::list(vec![text("a"), text("b")]));
        let values = Values::from([
            ("list", Some(list.clone())),
            ("none", None),
            ("word", Some(text("x: y"))),
        ]);
        let want = Node::new(map([("whole", list), ("inside", text("p-x: y"))]));
        assert_eq!(filled(&template, &values), Ok(Some(want)));
        let unfit = filled(&Node::new(map([("at", text("a ${list}"))])), &values).unwrap_err();
        assert_eq!(
            (unfit.path.to_string().as_str(), unfit.message.as_str()),
            ("at", "`list` is a list, and stands inside a text")
        );
        assert!(filled(&text("${other}"), &values).is_err());
    }
}

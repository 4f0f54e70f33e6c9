//! A document as a tree that remembers where everything stands. Types are read from it ([`super::reader`]), and
//! errors that are found later are looked up in it, so that they too carry a line and a column.

use crate::diagnostic::Mark;
use crate::path::{SpecPath, Step};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    /// Where the value begins; none for what came without a file.
    pub(crate) mark: Option<Mark>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// The number and, if it is known, how it is spelled: an id of digits alone must keep its leading zeros.
    Number(Number, Option<String>),
    Text(String),
    List(Vec<Item>),
    Map(Vec<Entry>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
}

/// Keeps its index, also when a broken neighbour has been taken out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    pub(crate) index: usize,
    pub(crate) node: Node,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_mark: Option<Mark>,
    pub(crate) node: Node,
}

impl Node {
    pub(crate) const fn new(value: Value) -> Self {
        Self { value, mark: None }
    }

    pub(crate) fn list(nodes: Vec<Self>) -> Value {
        Value::List(
            nodes
                .into_iter()
                .enumerate()
                .map(|(index, node)| Item { index, node })
                .collect(),
        )
    }

    /// Gives all of it one place, for a text whose parser knows none.
    pub(crate) fn stand_at(&mut self, mark: Mark) {
        self.mark = Some(mark);
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.node.stand_at(mark)),
            Value::Map(entries) => entries.iter_mut().for_each(|entry| {
                entry.key_mark = Some(mark);
                entry.node.stand_at(mark);
            }),
            Value::Null | Value::Bool(_) | Value::Number(..) | Value::Text(_) => {}
        }
    }

    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == name),
            _ => None,
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        self.entry(name).map(|entry| &entry.node)
    }

    /// Where `path` stands: the value, or its key when the value is a list or a map (which would begin on a later
    /// line) or nothing (which stands nowhere). A path that is not written (a default) is placed at the nearest part of it that is.
    pub(crate) fn locate(&self, path: &SpecPath) -> Option<Mark> {
        self.walk(path, |node| {
            matches!(node.value, Value::List(_) | Value::Map(_) | Value::Null)
        })
    }

    /// Where the name of the field at `path` stands.
    pub(crate) fn locate_key(&self, path: &SpecPath) -> Option<Mark> {
        self.walk(path, |_| true)
    }

    fn walk(&self, path: &SpecPath, at_key: impl Fn(&Self) -> bool) -> Option<Mark> {
        let mut node = self;
        let mut mark = self.mark;
        for step in path.steps() {
            let (next, key_mark) = match (step, &node.value) {
                (Step::Field(name), Value::Map(_)) => match node.entry(name) {
                    Some(entry) => (&entry.node, entry.key_mark),
                    None => break,
                },
                // A JSON pointer does not tell an index from a field that is spelled with digits.
                (Step::Index(index), Value::Map(_)) => match node.entry(&index.to_string()) {
                    Some(entry) => (&entry.node, entry.key_mark),
                    None => break,
                },
                (Step::Index(index), Value::List(items)) => {
                    match items.iter().find(|item| item.index == *index) {
                        Some(item) => (&item.node, item.node.mark),
                        None => break,
                    }
                }
                _ => break,
            };
            node = next;
            mark = if at_key(node) { key_mark } else { node.mark };
        }
        mark
    }

    /// Takes out what stands at `path`; whether there was something.
    pub(crate) fn remove(&mut self, path: &SpecPath) -> bool {
        let Some((last, up)) = path.steps().split_last() else {
            return false;
        };
        let mut node = self;
        for step in up {
            let next = match (step, &mut node.value) {
                (Step::Field(name), Value::Map(entries)) => entries
                    .iter_mut()
                    .find(|entry| entry.key == *name)
                    .map(|entry| &mut entry.node),
                (Step::Index(index), Value::List(items)) => items
                    .iter_mut()
                    .find(|item| item.index == *index)
                    .map(|item| &mut item.node),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => return false,
            }
        }
        match (last, &mut node.value) {
            (Step::Field(name), Value::Map(entries)) => {
                let before = entries.len();
                entries.retain(|entry| entry.key != *name);
                entries.len() < before
            }
            (Step::Index(index), Value::List(items)) => {
                let before = items.len();
                items.retain(|item| item.index != *index);
                items.len() < before
            }
            _ => false,
        }
    }

    /// For messages: "a list", "text `x`".
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => format!("`{value}`"),
            Value::Number(number, spelled) => {
                format!(
                    "the number {}",
                    spelled.clone().unwrap_or_else(|| number.to_string())
                )
            }
            Value::Text(text) => format!("the text `{}`", shorten(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a group of fields".to_owned(),
        }
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unsigned(number) => number.fmt(f),
            Self::Signed(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
        }
    }
}

/// Long texts are cut in messages.
pub(crate) fn shorten(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST {
        text.to_owned()
    } else {
        text.chars().take(MOST).chain(['…']).collect()
    }
}

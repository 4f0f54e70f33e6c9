//! A YAML document of another tool, whose fields are ticked off: what nobody asked for is listed.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::parse::node::{Node, Value};

/// A group of fields.
pub(super) struct Fields<'a> {
    node: Option<&'a Node>,
    /// Where it stands, for messages: `spec.delay`.
    path: String,
    asked: RefCell<BTreeSet<String>>,
}

impl<'a> Fields<'a> {
    pub(super) fn of(node: &'a Node) -> Self {
        Self::at(Some(node), String::new())
    }

    fn at(node: Option<&'a Node>, path: String) -> Self {
        Self {
            node,
            path,
            asked: RefCell::default(),
        }
    }

    /// 0 when it stands nowhere.
    pub(super) fn line(&self) -> usize {
        self.node.map_or(0, line)
    }

    fn take(&self, name: &str) -> Option<&'a Node> {
        self.asked.borrow_mut().insert(name.to_owned());
        self.node?.get(name).filter(|node| node.value != Value::Null)
    }

    /// A group inside; one that is not written has nothing in it.
    pub(super) fn group(&self, name: &str) -> Self {
        let path = self.path_of(name);
        Self::at(self.take(name), path)
    }

    pub(super) fn is_there(&self) -> bool {
        self.node.is_some()
    }

    /// A field of one word.
    pub(super) fn word(&self, name: &str) -> Option<String> {
        word(self.take(name)?)
    }

    /// A list of words.
    pub(super) fn words(&self, name: &str) -> Vec<String> {
        self.items(name).into_iter().filter_map(word).collect()
    }

    /// A list.
    pub(super) fn items(&self, name: &str) -> Vec<&'a Node> {
        match self.take(name).map(|node| &node.value) {
            Some(Value::List(items)) => items.iter().map(|item| &item.node).collect(),
            _ => Vec::new(),
        }
    }

    /// The fields of a group of words: name, value, and line.
    pub(super) fn pairs(&self, name: &str) -> Vec<(String, String, usize)> {
        match self.take(name).map(|node| &node.value) {
            Some(Value::Map(entries)) => entries
                .iter()
                .filter_map(|entry| Some((entry.key.clone(), word(&entry.node)?, line(&entry.node))))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Line and path of a field that is written.
    pub(super) fn find(&self, name: &str) -> Option<(usize, String)> {
        self.take(name).map(|node| (line(node), self.path_of(name)))
    }

    /// Line and path of each field that nobody asked for.
    pub(super) fn rest(&self) -> Vec<(usize, String)> {
        let Some(Value::Map(entries)) = self.node.map(|node| &node.value) else {
            return Vec::new();
        };
        let asked = self.asked.borrow();
        entries
            .iter()
            .filter(|entry| !asked.contains(&entry.key))
            .map(|entry| (line(&entry.node), self.path_of(&entry.key)))
            .collect()
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }
}

pub(super) fn line(node: &Node) -> usize {
    node.mark
        .and_then(|mark| usize::try_from(mark.line).ok())
        .unwrap_or(0)
}

pub(super) fn word(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.trim().to_owned()),
        Value::Number(number, spelled) => Some(spelled.clone().unwrap_or_else(|| number.to_string())),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

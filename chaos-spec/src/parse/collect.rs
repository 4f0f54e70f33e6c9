//! One document → one fault, or everything that is wrong with it. serde stops at the first error; so the broken
//! part is taken out and the rest read again, and what only follows from the gap is not reported.

use serde::de::DeserializeOwned;

use super::node::{Item, Node, Value};
use super::read_error::{ReadError, ReadFault};
use super::reader::Reader;
use crate::diagnostic::Mark;
use crate::path::SpecPath;
use crate::validate::validate;
use crate::{API_VERSION, KIND, NetworkFault, SpecError};

/// More than anybody corrects in one go.
const MOST_ERRORS: usize = 20;

/// An error and where it stands.
pub(crate) type Placed = (SpecError, Option<Mark>);

/// Reads and validates; the paths of the errors start at `node`.
pub(crate) fn fault(node: &Node) -> Result<NetworkFault, Vec<Placed>> {
    let place = |error: SpecError| {
        let mark = node.locate(&error.path);
        (error, mark)
    };
    let fault: NetworkFault = document(node, KIND)?;
    let errors = validate(&fault);
    if errors.is_empty() {
        Ok(fault)
    } else {
        Err(errors.into_iter().map(place).collect())
    }
}

/// Reads a document of one kind, or says all that is wrong with its form.
pub(crate) fn document<T: DeserializeOwned>(node: &Node, kind: &str) -> Result<T, Vec<Placed>> {
    check_kind(node, kind).map_err(|error| {
        let mark = node.locate(&error.path);
        vec![(error, mark)]
    })?;
    read_all(node)
}

/// Reads a part of a document, or says all that is wrong with its form; paths start at `node`.
pub(crate) fn part<T: DeserializeOwned>(node: &Node) -> Result<T, Vec<Placed>> {
    read_all(node)
}

/// A document of another kind has other fields: say that, not that each of them is unknown.
fn check_kind(node: &Node, wanted: &str) -> Result<(), SpecError> {
    let at = |field: &str| SpecPath::root().field(field);
    if !matches!(node.value, Value::Map(_)) {
        let message = format!("expected a {wanted}, found {}", node.describe());
        let remedy = format!("begin with `apiVersion: {API_VERSION}` and `kind: {wanted}`");
        return Err(SpecError::new(SpecPath::root(), message, remedy));
    }
    match written(node, "kind") {
        Some(kind) if kind == wanted => {}
        Some(kind @ ("Experiment" | "Mission")) if wanted == KIND => {
            let article = if kind == "Mission" { "a" } else { "an" };
            return Err(SpecError::new(
                at("kind"),
                format!("{article} {kind} is run, not applied"),
                "use `chaosctl run FILE`",
            ));
        }
        Some("Schedule") if wanted == KIND => {
            return Err(SpecError::new(
                at("kind"),
                "a Schedule is kept by the daemon, not applied",
                "use `chaosctl schedule add FILE`",
            ));
        }
        Some(kind) => {
            let message = format!("`{}` is not a kind that is known", super::node::shorten(kind));
            return Err(SpecError::new(
                at("kind"),
                message,
                format!("write `kind: {wanted}`"),
            ));
        }
        // Absent or not text: reading the whole says so, together with what else is wrong.
        _ => {}
    }
    match written(node, "apiVersion") {
        Some(version) if version != API_VERSION => {
            let message = format!(
                "`{}` is not a version that is known",
                super::node::shorten(version)
            );
            Err(SpecError::new(
                at("apiVersion"),
                message,
                format!("write `apiVersion: {API_VERSION}`"),
            ))
        }
        _ => Ok(()),
    }
}

/// The text of a field; a number is read as text as well ([`super::reader`]), and so it has to be a known one here.
fn written<'a>(node: &'a Node, field: &str) -> Option<&'a str> {
    match node.get(field).map(|node| &node.value) {
        Some(Value::Text(text) | Value::Number(_, Some(text))) => Some(text),
        _ => None,
    }
}

/// Reads a type, or says all that is wrong with its form.
fn read_all<T: DeserializeOwned>(node: &Node) -> Result<T, Vec<Placed>> {
    let first = match T::deserialize(Reader(node)) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let whole = node;
    let mut node = whole.clone();
    let mut errors = Vec::new();
    let mut gaps = Gaps::default();
    let mut next = Some(first);
    while let Some(error) = next {
        let path = error.path();
        if !gaps.explain(&error, &path) {
            let mark = match error.fault {
                ReadFault::UnknownField { .. } => whole.locate_key(&path),
                _ => whole.locate(&path),
            };
            errors.push((
                SpecError::new(path.clone(), error.message.clone(), error.remedy.clone()),
                mark,
            ));
        }
        if errors.len() >= MOST_ERRORS || !gaps.make(&mut node, error, path) {
            break;
        }
        next = T::deserialize(Reader(&node)).err();
    }
    Err(errors)
}

/// What has been taken out so far.
#[derive(Default)]
struct Gaps {
    taken: Vec<SpecPath>,
    /// Fields that a misspelled one was meant to be.
    meant: Vec<SpecPath>,
}

impl Gaps {
    /// Whether the error only follows from something that was taken out.
    fn explain(&self, error: &ReadError, path: &SpecPath) -> bool {
        let inside = self.taken.iter().any(|taken| taken.starts_with(path));
        match error.fault {
            ReadFault::MissingField(_) => inside || self.meant.contains(path),
            ReadFault::Value => inside,
            ReadFault::UnknownField { .. } => false,
        }
    }

    /// Takes out what the error is about; a missing field takes the group it is missing from along.
    /// Whether something was left to take out.
    fn make(&mut self, node: &mut Node, error: ReadError, path: SpecPath) -> bool {
        if let (ReadFault::UnknownField { meant: Some(meant) }, Some(parent)) = (&error.fault, path.parent())
        {
            self.meant.push(parent.field(meant.clone()));
        }
        let out = match error.fault {
            ReadFault::MissingField(_) => path.parent().unwrap_or_default(),
            _ => path,
        };
        let removed = node.remove(&out);
        self.taken.push(out);
        removed
    }
}

/// The documents of `{items: […]}`, each with its path; or the document itself. Paths are made one by one: there can
/// be millions of items, most of which nobody will hear of.
pub(super) fn items(node: &Node) -> Result<impl Iterator<Item = (SpecPath, &Node)>, SpecError> {
    let listed = listed(node)?;
    let alone = listed.is_none().then(|| (SpecPath::root(), node));
    let path = SpecPath::root().field("items");
    let each = listed.unwrap_or_default().iter();
    Ok(alone
        .into_iter()
        .chain(each.map(move |item| (path.clone().index(item.index), &item.node))))
}

/// What stands under `items`; none when this is no list of documents.
fn listed(node: &Node) -> Result<Option<&[Item]>, SpecError> {
    let Some(items) = node.get("items").filter(|_| node.get("spec").is_none()) else {
        return Ok(None);
    };
    let path = SpecPath::root().field("items");
    let Value::List(items) = &items.value else {
        return Err(SpecError::new(
            path,
            format!("expected a list of {KIND}s"),
            "write `items: [{…}, {…}]`",
        ));
    };
    if items.is_empty() {
        return Err(SpecError::new(
            path,
            "the list is empty",
            format!("give at least one {KIND}"),
        ));
    }
    if let Value::Map(entries) = &node.value {
        let allowed = ["items", "apiVersion", "kind", "metadata"];
        if let Some(entry) = entries
            .iter()
            .find(|entry| !allowed.contains(&entry.key.as_str()))
        {
            let path = SpecPath::root().field(entry.key.clone());
            return Err(SpecError::new(
                path,
                "there is no such field beside `items`",
                "leave it out",
            ));
        }
    }
    Ok(Some(items))
}

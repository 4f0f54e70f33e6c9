//! Where in a document something stands: `spec.traffic.remote.ports[1]` for people, a JSON pointer for programs.

use std::borrow::Cow;
use std::fmt;

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpecPath(Vec<Step>);

/// One step down: into a field or into a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    Field(String),
    Index(usize),
}

impl SpecPath {
    /// The document itself.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    pub const fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn field(mut self, name: impl Into<String>) -> Self {
        self.0.push(Step::Field(name.into()));
        self
    }

    #[must_use]
    pub fn index(mut self, index: usize) -> Self {
        self.0.push(Step::Index(index));
        self
    }

    /// This path below another: `items[2]` and `spec.target` make `items[2].spec.target`.
    #[must_use]
    pub fn below(mut self, parent: &Self) -> Self {
        self.0.splice(0..0, parent.0.iter().cloned());
        self
    }

    /// This path as seen from one above it; the whole when that is not above it.
    #[must_use]
    pub(crate) fn after(&self, parent: &Self) -> Self {
        Self(
            self.0
                .strip_prefix(parent.0.as_slice())
                .unwrap_or(&self.0)
                .to_vec(),
        )
    }

    pub fn starts_with(&self, parent: &Self) -> bool {
        self.0.starts_with(&parent.0)
    }

    /// One step up; `None` from the root.
    pub fn parent(&self) -> Option<Self> {
        let (_, up) = self.0.split_last()?;
        Some(Self(up.to_vec()))
    }

    /// `spec.drop.chance` → fields. For paths that are known when the program is written; no indexes.
    pub(crate) fn of(dotted: &str) -> Self {
        Self(
            dotted
                .split('.')
                .map(|name| Step::Field(name.to_owned()))
                .collect(),
        )
    }

    pub(crate) fn from_reversed(mut steps: Vec<Step>) -> Self {
        steps.reverse();
        Self(steps)
    }

    /// As a JSON pointer (RFC 6901); empty for the document itself.
    pub fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in &self.0 {
            pointer.push('/');
            match step {
                Step::Field(name) => pointer.push_str(&name.replace('~', "~0").replace('/', "~1")),
                Step::Index(index) => pointer.push_str(&index.to_string()),
            }
        }
        pointer
    }

    /// Reads a JSON pointer. A step of digits alone is taken for an index.
    pub fn from_pointer(pointer: &str) -> Self {
        let step = |text: &str| match text.parse() {
            Ok(index) => Step::Index(index),
            Err(_) => Step::Field(text.replace("~1", "/").replace("~0", "~")),
        };
        Self(pointer.split('/').skip(1).map(step).collect())
    }
}

/// A key is as long as its writer likes; what people read is not. Pointers keep the whole of it.
fn in_short(name: &str) -> Cow<'_, str> {
    const MOST: usize = 260;
    match name.char_indices().nth(MOST) {
        Some((end, _)) => Cow::Owned(format!("{}…", &name[..end])),
        None => Cow::Borrowed(name),
    }
}

impl fmt::Display for SpecPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if place == 0 => f.write_str(&in_short(name))?,
                Step::Field(name) => write!(f, ".{}", in_short(name))?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

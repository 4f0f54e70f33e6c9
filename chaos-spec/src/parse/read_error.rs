//! What can be wrong with the form of a document, in the words of the people who write it.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::nearest::{either, nearest};
use super::node::shorten;
use crate::path::{SpecPath, Step};
use crate::units::{REMEDY_MARK, split_remedy};

#[derive(Clone, Debug)]
pub(super) struct ReadError {
    /// Innermost step first, as the error gathers them on its way out.
    steps: Vec<Step>,
    pub(super) fault: ReadFault,
    pub(super) message: String,
    pub(super) remedy: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReadFault {
    Value,
    /// The last step of the path is written, but there is no such field.
    UnknownField {
        meant: Option<String>,
    },
    /// The last step of the path is not written.
    MissingField(String),
}

/// Fields that people put in the wrong place, and where they belong.
const HOMES: &[(&str, &str)] = &[
    ("target", "spec"),
    ("traffic", "spec"),
    ("fault", "spec"),
    ("duration", "spec"),
    ("seed", "spec"),
    ("safety", "spec"),
    ("name", "metadata"),
    ("labels", "metadata"),
    ("interfaces", "spec.target"),
    ("cgroup", "spec.target"),
    ("pid", "spec.target"),
    ("container", "spec.target"),
    ("host", "spec.target"),
    ("direction", "spec.traffic"),
    ("protocol", "spec.traffic"),
    ("connections", "spec.traffic"),
    ("flows", "spec.traffic"),
    ("remote", "spec.traffic"),
    ("local", "spec.traffic"),
    ("ports", "spec.traffic.remote` or `spec.traffic.local"),
    ("cidrs", "spec.traffic.remote"),
    ("except", "spec.traffic.remote"),
    ("hosts", "spec.traffic.remote"),
    ("partition", "spec.fault"),
    ("reject", "spec.fault"),
    ("reset", "spec.fault"),
    ("drop", "spec.fault"),
    ("duplicate", "spec.fault"),
    ("corrupt", "spec.fault"),
    ("maxPackets", "spec.safety"),
    ("unguard", "spec.safety"),
    ("health", "spec.safety"),
];

/// How a required field looks when it is written.
const EXAMPLES: &[(&str, &str)] = &[
    ("apiVersion", "apiVersion: chaos-daemon.dev/v1alpha1"),
    ("kind", "kind: NetworkFault"),
    ("metadata", "metadata: {name: slow-orders-db}"),
    ("name", "name: slow-orders-db"),
    ("spec", "spec: {target: …, fault: …, duration: 5m}"),
    ("target", "target: {cgroup: /system.slice/orders.service}"),
    ("fault", "fault: {drop: {chance: 30%}}"),
    ("duration", "duration: 5m"),
    ("latency", "latency: 100ms"),
    ("rate", "rate: 10mbit"),
    ("chance", "chance: 30%"),
    ("p", "p: 1%"),
    ("r", "r: 10%"),
];

impl ReadError {
    pub(super) fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            steps: Vec::new(),
            fault: ReadFault::Value,
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    #[must_use]
    pub(super) fn below(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    pub(super) fn path(&self) -> SpecPath {
        SpecPath::from_reversed(self.steps.clone())
    }
}

fn found(unexpected: &Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(number) => format!("the number {number}"),
        Unexpected::Signed(number) => format!("the number {number}"),
        Unexpected::Float(number) => format!("the number {number}"),
        Unexpected::Str(text) => format!("the text `{}`", shorten(text)),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a group of fields".to_owned(),
        other => other.to_string(),
    }
}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        let (message, mut remedy) = split_remedy(&text.to_string());
        if remedy.is_empty() {
            // Words of serde's own, or of the standard library.
            "correct what is written here".clone_into(&mut remedy);
        }
        Self::new(message, remedy)
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        // What it should have been is all that there is to write.
        let remedy = match unexpected {
            Unexpected::Seq => "write it without the brackets",
            Unexpected::Map => "write it without braces and names",
            Unexpected::Bool(_) => "write that instead",
            _ => "correct it",
        };
        Self::new(
            format!("expected {expected}, found {}", found(&unexpected)),
            remedy,
        )
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let message = format!("`{}` is not known here", shorten(variant));
        match nearest(variant, expected) {
            Some(meant) => Self::new(message, format!("did you mean `{meant}`?")),
            None => Self::new(message, format!("write {}", either(expected))),
        }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let meant = nearest(field, expected);
        let home = HOMES.iter().find(|(name, _)| *name == field);
        let remedy = match (meant, home) {
            (Some(meant), _) => format!("did you mean `{meant}`?"),
            (None, Some((_, home))) => format!("it belongs under `{home}`"),
            (None, None) if expected.is_empty() => "leave it out".to_owned(),
            (None, None) => format!(
                "the fields here are {}",
                either(expected).replace(" or ", " and ")
            ),
        };
        let mut error = Self::new("there is no such field", remedy).below(Step::Field(field.to_owned()));
        error.fault = ReadFault::UnknownField {
            meant: meant.map(str::to_owned),
        };
        error
    }

    fn missing_field(field: &'static str) -> Self {
        let example = EXAMPLES.iter().find(|(name, _)| *name == field);
        let remedy = match example {
            Some((_, example)) => format!("write for example `{example}`"),
            None => format!("write `{field}: …`"),
        };
        let mut error = Self::new("it is required, and missing", remedy).below(Step::Field(field.to_owned()));
        error.fault = ReadFault::MissingField(field.to_owned());
        error
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{REMEDY_MARK}{}", self.path(), self.message, self.remedy)
    }
}

impl std::error::Error for ReadError {}

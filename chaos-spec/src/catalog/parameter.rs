use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::parse::collect;
use crate::parse::node::{Node, Number, Value};
use crate::units::{REMEDY_MARK, split_remedy};
use crate::{Chance, Cidr, Duration, Endpoint, HttpUrl, PortRange, Rate, Target};

/// Something that an entry leaves open. Exactly one of `default`, `example` and `optional: true`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Parameter {
    #[serde(rename = "type")]
    pub kind: ParameterType,
    /// What it is, for people.
    pub description: String,
    /// What it is when nobody says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Json>,
    /// For one that has to be given: what it may look like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<Json>,
    /// Left out, the fields that are nothing but this are left out as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// What a parameter may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ParameterType {
    /// Any text.
    Text,
    /// A whole number.
    Number,
    /// `300ms`
    Duration,
    /// `30%`
    Chance,
    /// `10mbit`
    Rate,
    /// `5432`
    Port,
    /// `5432,8000-8010`
    Ports,
    /// `10.0.0.0/8,2001:db8::1`
    Cidrs,
    /// `10.0.0.1:5432`
    Endpoint,
    /// `http://10.0.0.1:8080/health`
    Url,
    /// `cgroup=/system.slice/orders.service`, or the fields of a target
    Target,
}

/// What somebody said a parameter is.
#[derive(Clone, Debug)]
pub struct Setting {
    pub(super) name: String,
    pub(super) value: Node,
    /// For messages: a file, or `--set`.
    pub(super) source: String,
}

/// Why a value is none of a parameter's type, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}{REMEDY_MARK}{remedy}")]
pub(super) struct ValueError {
    pub(super) message: String,
    pub(super) remedy: String,
}

impl ValueError {
    /// From a text that has the remedy in it.
    fn of(text: &str) -> Self {
        let (message, remedy) = split_remedy(text);
        Self { message, remedy }
    }
}

impl Setting {
    /// From a command line: `name=value`.
    ///
    /// # Errors
    /// There is no `=` in it, or nothing before it.
    pub fn from_flag(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => Ok(Self::new(name.trim(), value, "--set")),
            _ => Err(format!("`{text}` sets nothing{REMEDY_MARK}write `name=value`")),
        }
    }

    pub fn new(name: &str, value: &str, source: &str) -> Self {
        Self {
            name: name.to_owned(),
            value: Node::new(Value::Text(value.to_owned())),
            source: source.to_owned(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Parameter {
    /// What it is when nobody says so; for one that has to be given, its example.
    pub(super) fn sample(&self) -> Option<Node> {
        self.default.as_ref().or(self.example.as_ref()).map(node_of)
    }

    /// How it shows in a list: the default, or that there is none.
    pub fn default_text(&self) -> String {
        match (&self.default, self.optional) {
            (Some(Json::String(text)), _) => text.clone(),
            (Some(value), _) => value.to_string(),
            (None, true) => "(left out)".to_owned(),
            (None, false) => "(has to be given)".to_owned(),
        }
    }
}

impl ParameterType {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Duration => "duration",
            Self::Chance => "chance",
            Self::Rate => "rate",
            Self::Port => "port",
            Self::Ports => "ports",
            Self::Cidrs => "cidrs",
            Self::Endpoint => "endpoint",
            Self::Url => "url",
            Self::Target => "target",
        }
    }

    /// Checks a value, and gives it the form that stands in a spec.
    pub(super) fn read(self, given: &Node) -> Result<Node, ValueError> {
        let value = match self {
            Self::Target => target(given)?,
            Self::Ports => list::<PortRange>(given, "5432,8000-8010")?,
            Self::Cidrs => list::<Cidr>(given, "10.0.0.0/8,192.0.2.7")?,
            Self::Text => Value::Text(scalar(given, "orders")?),
            Self::Number => Value::Number(Number::Unsigned(whole(given, "3")?), None),
            Self::Port => {
                let port: u16 = whole(given, "5432")?;
                Value::Number(Number::Unsigned(port.into()), Some(port.to_string()))
            }
            Self::Duration => checked::<Duration>(given, "300ms")?,
            Self::Chance => checked::<Chance>(given, "30%")?,
            Self::Rate => checked::<Rate>(given, "10mbit")?,
            Self::Endpoint => checked::<Endpoint>(given, "10.0.0.1:5432")?,
            Self::Url => checked::<HttpUrl>(given, "http://10.0.0.1:8080/")?,
        };
        Ok(Node {
            value,
            mark: given.mark,
        })
    }
}

impl std::fmt::Display for ParameterType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.word())
    }
}

/// How a value of one word is written.
pub(super) fn spelled(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Number(number, spelled) => Some(spelled.clone().unwrap_or_else(|| number.to_string())),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

fn scalar(given: &Node, example: &str) -> Result<String, ValueError> {
    let text = spelled(given).ok_or_else(|| ValueError {
        message: format!("expected one value, found {}", given.describe()),
        remedy: format!("write for example `{example}`"),
    })?;
    if text.trim().is_empty() {
        return Err(ValueError {
            message: "nothing is written here".to_owned(),
            remedy: format!("write for example `{example}`"),
        });
    }
    Ok(text)
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    given: &Node,
    example: &str,
) -> Result<T, ValueError> {
    let text = scalar(given, example)?;
    text.trim().parse().map_err(|error: T::Err| {
        let mut told = ValueError::of(&error.to_string());
        if told.remedy.is_empty() {
            told.message = format!("`{text}`: {}", told.message);
            told.remedy = format!("write for example `{example}`");
        }
        told
    })
}

fn whole<T: std::str::FromStr>(given: &Node, example: &str) -> Result<T, ValueError> {
    let text = scalar(given, example)?;
    text.trim().parse().map_err(|_| ValueError {
        message: format!("`{text}` is no whole number, or too large a one"),
        remedy: format!("write for example `{example}`"),
    })
}

fn checked<T: std::str::FromStr<Err: std::fmt::Display>>(
    given: &Node,
    example: &str,
) -> Result<Value, ValueError> {
    parsed::<T>(given, example)?;
    Ok(Value::Text(scalar(given, example)?))
}

/// A list, or one text with commas in it.
fn list<T: std::str::FromStr<Err: std::fmt::Display>>(
    given: &Node,
    example: &str,
) -> Result<Value, ValueError> {
    let nodes = match &given.value {
        Value::List(items) => items.iter().map(|item| item.node.clone()).collect(),
        _ => {
            let text = scalar(given, example)?;
            let parts = text.split(',').map(|part| part.trim().to_owned());
            parts.map(|part| Node::new(Value::Text(part))).collect::<Vec<_>>()
        }
    };
    if nodes.is_empty() {
        return Err(ValueError {
            message: "the list is empty".to_owned(),
            remedy: format!("write for example `{example}`"),
        });
    }
    let nodes = nodes.iter().map(|node| {
        let value = checked::<T>(node, example)?;
        Ok(Node {
            value,
            mark: node.mark,
        })
    });
    Ok(Node::list(nodes.collect::<Result<_, ValueError>>()?))
}

/// The fields of a target, or one in a line.
fn target(given: &Node) -> Result<Value, ValueError> {
    if let Value::Map(_) = given.value {
        return match collect::part::<Target>(given) {
            Ok(_) => Ok(given.value.clone()),
            Err(errors) => Err(errors.into_iter().next().map_or_else(
                || ValueError::of("this names no target"),
                |(error, _)| ValueError {
                    message: error.message,
                    remedy: error.remedy,
                },
            )),
        };
    }
    let target: Target = parsed(given, "cgroup=/system.slice/orders.service")?;
    let fields = serde_json::to_value(target).map_err(|error| ValueError::of(&error.to_string()))?;
    Ok(node_of(&fields).value)
}

/// A value that was read from a file already, without its places.
fn node_of(value: &Json) -> Node {
    let value = match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => {
            let spelled = Some(number.to_string());
            match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), ..) => Value::Number(Number::Unsigned(number), spelled),
                (_, Some(number), _) => Value::Number(Number::Signed(number), spelled),
                (.., number) => Value::Number(Number::Float(number.unwrap_or_default()), spelled),
            }
        }
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(values) => Node::list(values.iter().map(node_of).collect()),
        Json::Object(fields) => {
            super::template::map(fields.iter().map(|(key, value)| (key.as_str(), node_of(value))))
        }
    };
    Node::new(value)
}

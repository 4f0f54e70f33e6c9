//! The JSON Schemas of what people write and of reports, for editors and for other languages. The folder `schema` of
//! this crate has committed copies.

use schemars::JsonSchema;
use serde_json::{Value, json};

use crate::api::ExperimentView;
use crate::catalog::{CatalogEntry, ENTRY_KIND, MISSION_KIND, Mission};
use crate::experiment::{EXPERIMENT_KIND, Experiment};
use crate::schedule::{SCHEDULE_KIND, Schedule};
use crate::{API_VERSION, KIND, NetworkFault};

/// The JSON Schema (2020-12) of a `NetworkFault`. It knows the form; [`crate::validate()`] knows the meaning.
pub fn schema() -> Value {
    document::<NetworkFault>(KIND)
}

/// The same of an `Experiment`.
pub fn experiment_schema() -> Value {
    document::<Experiment>(EXPERIMENT_KIND)
}

/// The same of a `CatalogEntry`.
pub fn catalog_entry_schema() -> Value {
    document::<CatalogEntry>(ENTRY_KIND)
}

/// The same of a `Mission`.
pub fn mission_schema() -> Value {
    document::<Mission>(MISSION_KIND)
}

/// The same of a `Schedule`.
pub fn schedule_schema() -> Value {
    document::<Schedule>(SCHEDULE_KIND)
}

/// The JSON Schema of a report: a run of an experiment, as the daemon tells it.
pub fn report_schema() -> Value {
    schemars::schema_for!(ExperimentView).to_value()
}

fn document<T: JsonSchema>(kind: &str) -> Value {
    let mut schema = schemars::schema_for!(T).to_value();
    tighten(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), json!(kind));
    }
    if let Some(properties) = schema.pointer_mut("/properties").and_then(Value::as_object_mut) {
        for (field, only) in [("apiVersion", API_VERSION), ("kind", kind)] {
            if let Some(property) = properties.get_mut(field).and_then(Value::as_object_mut) {
                property.insert("const".to_owned(), json!(only));
            }
        }
    }
    for (pointer, rule) in [
        // Exactly one kind of target.
        ("/$defs/Target", json!({"oneOf": required_one_of(&TARGETS)})),
        ("/$defs/Fault", json!({"minProperties": 1})),
        (
            "/$defs/Drop",
            json!({"oneOf": required_one_of(&["chance", "every", "gilbertElliott"])}),
        ),
        (
            "/$defs/Http",
            json!({"oneOf": required_one_of(&["status", "abort", "delay"])}),
        ),
        (
            "/$defs/Dns",
            json!({"oneOf": required_one_of(&["answer", "delay"])}),
        ),
        (
            "/$defs/DnsRecords",
            json!({"anyOf": required_one_of(&["a", "aaaa"])}),
        ),
        ("/$defs/Remote", json!({"minProperties": 1})),
        ("/$defs/Local", json!({"minProperties": 1})),
    ] {
        let definition = schema.pointer_mut(pointer).and_then(Value::as_object_mut);
        if let (Some(definition), Value::Object(rule)) = (definition, rule) {
            definition.extend(rule);
        }
    }
    if let Some(name) = schema
        .pointer_mut("/$defs/Metadata/properties/name")
        .and_then(Value::as_object_mut)
    {
        name.insert("pattern".to_owned(), json!("^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"));
        name.insert("maxLength".to_owned(), json!(63));
    }
    schema
}

/// A field may be left out, but not be null; a list may be left out, but not be empty.
fn tighten(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(mut choices)) = map.remove("anyOf") {
                choices.retain(|choice| choice.get("type") != Some(&json!("null")));
                if let [Value::Object(only)] = choices.as_mut_slice() {
                    only.append(map);
                }
                match choices.pop() {
                    Some(Value::Object(only)) if choices.is_empty() => *map = only,
                    Some(last) => {
                        choices.push(last);
                        map.insert("anyOf".to_owned(), Value::Array(choices));
                    }
                    None => {}
                }
            }
            if map.get("type") == Some(&json!("array")) {
                map.insert("minItems".to_owned(), json!(1));
            }
            map.values_mut().for_each(tighten);
        }
        Value::Array(items) => items.iter_mut().for_each(tighten),
        _ => {}
    }
}

const TARGETS: [&str; 7] = ["cgroup", "pid", "netns", "container", "interface", "host", "pods"];

fn required_one_of(fields: &[&str]) -> Value {
    fields.iter().map(|field| json!({"required": [field]})).collect()
}

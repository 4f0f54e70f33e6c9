//! The OpenAPI 3.1 document, made from the route table and the schemas of the types on the wire.

use std::sync::LazyLock;

use axum::Json;
use chaos_spec::api::{PROBLEM_CONTENT_TYPE, Problem};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::routes::{Gives, Route, routes};

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| build(&routes()));

pub(super) async fn document() -> Json<&'static Value> {
    Json(&DOCUMENT)
}

fn build(routes: &[Route]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let problem = Value::from(generator.subschema_for::<Problem>());
    let mut paths = Map::new();
    for route in routes {
        let operation = operation(route, &problem, &mut generator);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "chaos-daemon",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Network faults on this host. Served on a unix socket.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": generator.take_definitions(true)},
    })
}

fn operation(route: &Route, problem: &Value, generator: &mut SchemaGenerator) -> Value {
    let success = match &route.gives {
        Gives::Json(schema) => json!({"application/json": {"schema": schema(generator)}}),
        Gives::Events(schema) => json!({"text/event-stream": {"schema": schema(generator)}}),
        Gives::Text => json!({"text/plain": {"schema": {"type": "string"}}}),
        Gives::AnyJson => json!({"application/json": {"schema": {"type": "object"}}}),
    };
    let mut operation = json!({
        "operationId": route.name,
        "summary": route.summary,
        "responses": {
            "200": {"description": "Done.", "content": success},
            "default": {
                "description": "Refused: nothing has been changed.",
                "content": {PROBLEM_CONTENT_TYPE: {"schema": problem}},
            },
        },
    });
    let mut parameters: Vec<Value> = Vec::new();
    for step in route.path.split('/') {
        if let Some(name) = step.strip_prefix('{').and_then(|step| step.strip_suffix('}')) {
            parameters
                .push(json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
        }
    }
    parameters.extend(
        route
            .query
            .iter()
            .map(|(name, kind)| json!({"name": name, "in": "query", "schema": {"type": kind}})),
    );
    if matches!(route.gives, Gives::Events(_)) {
        parameters.push(json!({"name": "Last-Event-ID", "in": "header", "schema": {"type": "integer"}}));
    }
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    let mut bodies: Vec<Value> = route
        .takes
        .iter()
        .map(|schema| schema(generator).into())
        .collect();
    if !bodies.is_empty() {
        let schema = if bodies.len() == 1 {
            bodies.remove(0)
        } else {
            json!({"oneOf": bodies})
        };
        let content = json!({"application/json": {"schema": schema}, "application/yaml": {"schema": schema}});
        operation["requestBody"] = json!({"required": route.name != "halt", "content": content});
    }
    operation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_in_the_document() {
        let routes = routes();
        let document = build(&routes);
        let mut count = 0;
        for route in &routes {
            let operation = &document["paths"][route.path][route.method.as_str().to_ascii_lowercase()];
            assert_eq!(
                operation["operationId"], route.name,
                "{} {}",
                route.method, route.path
            );
            assert!(!operation["summary"].as_str().unwrap().is_empty());
            count += 1;
        }
        let written: usize = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .map(|path| path.as_object().unwrap().len())
            .sum();
        assert_eq!(written, count);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn check(value: &Value, document: &Value) {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(reference)) = fields.get("$ref") {
                        let pointer = reference.strip_prefix('#').unwrap();
                        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
                    }
                    fields.values().for_each(|value| check(value, document));
                }
                Value::Array(items) => items.iter().for_each(|value| check(value, document)),
                _ => {}
            }
        }
        let document = build(&routes());
        check(&document, &document);
        assert_eq!(document["openapi"], "3.1.0");
        for name in ["NetworkFault", "FaultView", "Problem", "Event", "NodeInfo"] {
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
    }
}

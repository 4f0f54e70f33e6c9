//! The committed JSON Schema is the one the types give. `UPDATE_SCHEMA=1 cargo test -p chaos-spec` renews it.

use std::path::Path;

#[test]
fn the_committed_schemas_are_up_to_date() {
    for (name, schema) in [
        ("networkfault", chaos_spec::schema()),
        ("experiment", chaos_spec::schema::experiment_schema()),
        ("report", chaos_spec::schema::report_schema()),
        ("catalogentry", chaos_spec::schema::catalog_entry_schema()),
        ("mission", chaos_spec::schema::mission_schema()),
        ("schedule", chaos_spec::schema::schedule_schema()),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schema/{name}.json"));
        let fresh = format!(
            "{}\n",
            serde_json::to_string_pretty(&schema).expect("a schema is JSON")
        );
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(&path, &fresh).expect("the schema folder is writable");
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == fresh,
            "run `UPDATE_SCHEMA=1 cargo test -p chaos-spec` and commit {}",
            path.display()
        );
    }
}

#[test]
fn the_schema_names_every_fault_and_every_target() {
    let schema = chaos_spec::schema();
    for kind in chaos_spec::FaultKind::ALL {
        assert!(
            schema
                .pointer(&format!("/$defs/Fault/properties/{kind}"))
                .is_some(),
            "{kind}"
        );
    }
    let kinds = schema
        .pointer("/$defs/Target/oneOf")
        .and_then(serde_json::Value::as_array)
        .expect("oneOf");
    assert_eq!(kinds.len(), 7);
    assert_eq!(
        schema.pointer("/$defs/Target/additionalProperties"),
        Some(&serde_json::json!(false))
    );
}

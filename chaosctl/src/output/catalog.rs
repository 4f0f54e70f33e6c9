use std::collections::BTreeMap;

use chaos_spec::catalog::{CatalogEntry, Parameter};

use super::{Column, Table};

/// A row for each entry.
pub(crate) fn catalog_table(entries: &[CatalogEntry], terminal: bool) -> String {
    let mut table = Table::new(&[
        Column::Word("NAME"),
        Column::Word("CATEGORY"),
        Column::Word("SEVERITY"),
        Column::Prose("TITLE"),
    ]);
    for entry in entries {
        table.row(vec![
            entry.name().into(),
            entry.spec.category.word().into(),
            entry.spec.severity.word().into(),
            entry.spec.title.as_str().into(),
        ]);
    }
    table.render(terminal)
}

/// A row for each parameter.
pub(crate) fn parameter_table(parameters: &BTreeMap<String, Parameter>, terminal: bool) -> String {
    let mut table = Table::new(&[
        Column::Word("NAME"),
        Column::Word("TYPE"),
        Column::Word("DEFAULT"),
        Column::Prose("WHAT"),
    ]);
    for (name, parameter) in parameters {
        table.row(vec![
            name.as_str().into(),
            parameter.kind.word().into(),
            parameter.default_text().into(),
            parameter.description.as_str().into(),
        ]);
    }
    table.render(terminal)
}

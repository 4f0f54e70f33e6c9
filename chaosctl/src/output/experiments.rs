use chaos_spec::api::ExperimentView;
use comfy_table::Color;

use super::{Column, Field, Table};

const COLUMNS: [Column; 6] = [
    Column::Word("ID"),
    Column::Word("NAME"),
    Column::Word("PHASE"),
    Column::Word("OUTCOME"),
    Column::Word("STARTED"),
    Column::Prose("MESSAGE"),
];

/// A row for each run.
pub(crate) fn experiment_table(items: &[ExperimentView], terminal: bool) -> String {
    let mut table = Table::new(&COLUMNS);
    for view in items {
        let status = &view.status;
        let outcome = status
            .outcome
            .map_or_else(String::new, |outcome| outcome.to_string());
        let outcome = match status.outcome.map(|outcome| outcome.exit_code()) {
            Some(0) => Field::colored(outcome, Color::Green),
            Some(_) => Field::colored(outcome, Color::Red),
            None => Field::from(outcome),
        };
        let started = status
            .started_at
            .map_or_else(String::new, |at| at.strftime("%F %T").to_string());
        table.row(vec![
            Field::from(view.id.clone()),
            Field::from(view.name().to_owned()),
            Field::from(status.phase.to_string()),
            outcome,
            Field::from(started),
            Field::from(status.message.clone().unwrap_or_default()),
        ]);
    }
    table.render(terminal)
}

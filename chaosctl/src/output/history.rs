use chaos_spec::api::{Run, RunPhase};
use comfy_table::Color;
use jiff::Timestamp;

use super::{Column, Field, Table, ago};
use crate::verb::history::{end, what};

const NARROW: &[Column] = &[
    Column::Word("NAME"),
    Column::Number("STARTED"),
    Column::Number("TOOK"),
    Column::Word("END"),
    Column::Prose("WHAT"),
    Column::Number("MATCHED"),
];
const WIDE: &[Column] = &[
    Column::Word("NAME"),
    Column::Number("STARTED"),
    Column::Number("TOOK"),
    Column::Word("END"),
    Column::Prose("WHAT"),
    Column::Number("MATCHED"),
    Column::Prose("BY"),
    Column::Word("SEED"),
    Column::Prose("MESSAGE"),
];

/// One row a run, in the order of the daemon.
pub(crate) fn history_table(runs: &[Run], wide: bool, now: Timestamp, terminal: bool) -> String {
    let mut table = Table::new(if wide { WIDE } else { NARROW });
    for run in runs {
        let color = match run.phase {
            RunPhase::Active => Color::DarkGreen,
            RunPhase::Ended => Color::DarkGrey,
            RunPhase::Interrupted => Color::DarkRed,
        };
        let took = run
            .ended_at
            .map(|ended| ago(run.started_at, ended))
            .unwrap_or_default();
        let mut row: Vec<Field> = vec![
            run.name.as_str().into(),
            format!("{} ago", ago(run.started_at, now)).into(),
            took.into(),
            Field::colored(end(run), color),
            what(run).into(),
            run.packets.matched.to_string().into(),
        ];
        if wide {
            row.extend([
                run.by.as_str().into(),
                run.seed.map(|seed| seed.to_string()).unwrap_or_default().into(),
                run.message.clone().unwrap_or_default().into(),
            ]);
        }
        table.row(row);
    }
    table.render(terminal)
}

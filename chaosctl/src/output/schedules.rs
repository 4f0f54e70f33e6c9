use chaos_spec::api::ScheduleView;
use jiff::Timestamp;

use super::{Column, Table, ago, span};

/// A row for each schedule.
pub(crate) fn schedule_table(items: &[ScheduleView], terminal: bool) -> String {
    let mut table = Table::new(&[
        Column::Word("NAME"),
        Column::Word("EXPERIMENT"),
        Column::Word("NEXT"),
        Column::Word("LAST"),
        Column::Number("BEGUN"),
        Column::Number("SKIPPED"),
        Column::Number("MISSED"),
        Column::Prose("CRON"),
        Column::Prose("LAST MESSAGE"),
    ]);
    let now = Timestamp::now();
    for view in items {
        let status = &view.status;
        let zone = view
            .spec
            .time_zone
            .as_ref()
            .map_or_else(String::new, |zone| format!(" {zone}"));
        let next = match status.next_at {
            _ if view.spec.suspended => "suspended".to_owned(),
            Some(next) => format!("in {}", span(next.duration_since(now).as_millis())),
            None => "never".to_owned(),
        };
        table.row(vec![
            view.name().into(),
            view.experiment.as_str().into(),
            next.into(),
            status
                .last_at
                .map_or_else(String::new, |last| ago(last, now))
                .into(),
            status.begun.to_string().into(),
            status.skipped.to_string().into(),
            status.missed.to_string().into(),
            format!("{}{zone}", view.spec.cron).into(),
            status.last_message.clone().unwrap_or_default().into(),
        ]);
    }
    table.render(terminal)
}

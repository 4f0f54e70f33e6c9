//! `get experiments`.

use chaos_spec::api::ExperimentList;

use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, experiment_table, rendered};

pub(super) async fn show(session: &mut Session, names: &[String], format: Format) -> Result<Exit, Failure> {
    let items = if names.is_empty() {
        session.daemon.experiments().await?.items
    } else {
        let mut items = Vec::new();
        for name in names {
            let id = name.strip_prefix("experiment/").unwrap_or(name);
            match session.daemon.experiment(id).await? {
                Some(view) => items.push(view),
                None => return Err(super::report::unknown(session, id).await),
            }
        }
        items
    };
    let text = match (items.as_slice(), names) {
        ([only], [_]) => rendered(format, only)?,
        _ => rendered(format, &ExperimentList { items: items.clone() })?,
    };
    let text = match text {
        Some(text) => text,
        None if format == Format::Name => items
            .iter()
            .map(|view| format!("experiment/{}\n", view.id))
            .collect(),
        None if items.is_empty() => {
            session
                .out
                .progress("no experiment has run – start one with `chaosctl run FILE`");
            return Ok(Exit::DONE);
        }
        None => experiment_table(&items, session.out.is_terminal()),
    };
    if !text.is_empty() {
        session.out.data(&text)?;
    }
    Ok(Exit::DONE)
}

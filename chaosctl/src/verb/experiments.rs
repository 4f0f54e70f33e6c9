//! `get experiments`.

use chaos_spec::api::ExperimentList;

use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, Listing, experiment_table};

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
    Listing {
        kind: "experiment",
        items,
        asked: names.len(),
        name: |view| &view.id,
        table: experiment_table,
        nothing: "no experiment has run – start one with `chaosctl run FILE`",
    }
    .print(&mut session.out, format, |items| ExperimentList { items })
}

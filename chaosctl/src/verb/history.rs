//! `get history`: what ran on the node.

use chaos_spec::api::{History, Run, RunPhase};
use chaos_spec::{Duration, FaultSpec};
use jiff::Timestamp;

use super::delete::bare;
use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, history_table, rendered};

/// The most that the daemon gives at once.
const PAGE: usize = 1000;

/// Prints the newest `limit` runs, of one name or of all.
pub(super) async fn show(
    session: &mut Session,
    names: &[String],
    since: Option<Duration>,
    limit: usize,
    format: Format,
) -> Result<Exit, Failure> {
    let name = match names {
        [] => None,
        [name] => Some(bare(name)),
        _ => {
            return Err(Failure::Usage(
                "one name at a time – `chaosctl get history NAME`, or none for all".to_owned(),
            ));
        }
    };
    let since = since.and_then(|since| {
        let since = jiff::SignedDuration::try_from(since.as_std()).ok()?;
        Timestamp::now().checked_sub(since).ok()
    });
    let mut items: Vec<Run> = Vec::new();
    let mut before = None;
    while items.len() < limit {
        let most = PAGE.min(limit - items.len());
        let page = session
            .daemon
            .history(name.as_deref(), since, before, most)
            .await?;
        items.extend(page.items);
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    let history = History { items, next: before };
    let text = match rendered(format, &history)? {
        Some(text) => text,
        None if format == Format::Name => history
            .items
            .iter()
            .map(|run| format!("{}/{}\n", run.kind, run.name))
            .collect(),
        None if history.items.is_empty() => {
            session
                .out
                .progress("nothing has run here, as far as the history goes");
            return Ok(Exit::DONE);
        }
        None => history_table(
            &history.items,
            format == Format::Wide,
            Timestamp::now(),
            session.out.is_terminal(),
        ),
    };
    session.out.data(&text)?;
    if history.next.is_some() {
        session
            .out
            .progress("and more before – raise --limit to see them");
    }
    Ok(Exit::DONE)
}

/// What it did, as far as this version can read it.
pub(crate) fn what(run: &Run) -> String {
    serde_json::from_value::<FaultSpec>(run.spec.clone())
        .map_or_else(|_| run.kind.clone(), |spec| chaos_spec::explain::summary(&spec))
}

/// How it ended, in a word.
pub(crate) fn end(run: &Run) -> String {
    match (run.phase, run.reason) {
        (RunPhase::Ended, Some(reason)) => reason.word().to_owned(),
        (phase, _) => phase.word().to_owned(),
    }
}

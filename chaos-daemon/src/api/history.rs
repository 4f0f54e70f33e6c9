use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use chaos_spec::api::History;
use jiff::Timestamp;
use serde::Deserialize;

use super::Api;
use super::problem::Refusal;
use crate::observe::history;

/// Runs on a page unless more are asked for.
const USUAL: u32 = 100;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    name: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    before: Option<i64>,
    limit: Option<u32>,
}

pub(super) async fn history(
    State(api): State<Api>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<History>, Refusal> {
    let Query(which) = which.map_err(|error| {
        let detail = format!(
            "{} – there are name, since and until (2026-01-31T12:00:00Z), before (an id) and limit (1 to {})",
            error.body_text(),
            history::MOST
        );
        Refusal::new(StatusCode::BAD_REQUEST, detail)
    })?;
    let page = api.engine.history().page(history::Query {
        name: which.name,
        since: which.since,
        until: which.until,
        before: which.before,
        limit: which.limit.unwrap_or(USUAL),
    });
    page.await
        .map(Json)
        .map_err(|error| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
}

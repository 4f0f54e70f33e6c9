use axum::Json;
use axum::extract::{Extension, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chaos_spec::api::{ExperimentList, ExperimentView, ProblemError};
use serde::Deserialize;

use super::problem::Refusal;
use super::{Api, body};
use crate::experiments::ExperimentError;
use crate::safety::Caller;

pub(super) async fn list(State(api): State<Api>) -> Json<ExperimentList> {
    Json(ExperimentList {
        items: api.experiments.list(),
    })
}

pub(super) async fn start(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Refusal> {
    let (headers, text) = body::take(request).await?;
    let run = body::run(&api.bodies, headers, text).await?;
    let view = api.experiments.start(run, caller).await?;
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HowMuch {
    #[serde(default = "yes")]
    series: bool,
}

const fn yes() -> bool {
    true
}

pub(super) async fn get(
    State(api): State<Api>,
    Path(id): Path<String>,
    how_much: Result<Query<HowMuch>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<ExperimentView>, Refusal> {
    let Query(how_much) = how_much.map_err(|error| {
        let detail = format!("{} – write series=true or series=false", error.body_text());
        Refusal::new(StatusCode::BAD_REQUEST, detail)
    })?;
    if !how_much.series {
        return Ok(Json(api.experiments.glance(&id)?));
    }
    Ok(Json(api.experiments.get(&id).await?))
}

pub(super) async fn stop(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<ExperimentView>, Refusal> {
    Ok(Json(api.experiments.stop(&id, &caller).await?))
}

impl From<ExperimentError> for Refusal {
    fn from(error: ExperimentError) -> Self {
        let text = error.to_string();
        let status = match error {
            ExperimentError::Invalid(errors) => {
                let errors = errors.into_iter().map(|error| ProblemError {
                    pointer: error.path.pointer(),
                    path: error.path.to_string(),
                    message: error.message,
                    remedy: error.remedy,
                    ..ProblemError::default()
                });
                return Self::invalid(errors.collect());
            }
            ExperimentError::UnderWay { .. } | ExperimentError::TooMany => StatusCode::CONFLICT,
            ExperimentError::Unknown(_) => StatusCode::NOT_FOUND,
            ExperimentError::NotKept(_) => StatusCode::INSUFFICIENT_STORAGE,
            ExperimentError::Ending => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, text)
    }
}

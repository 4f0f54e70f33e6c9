use axum::Json;
use axum::extract::{Extension, Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chaos_spec::api::{ScheduleList, ScheduleView};

use super::problem::Refusal;
use super::{Api, body};
use crate::safety::Caller;
use crate::schedules::ScheduleError;

pub(super) async fn list(State(api): State<Api>) -> Json<ScheduleList> {
    Json(ScheduleList {
        items: api.schedules.list(),
    })
}

pub(super) async fn add(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Refusal> {
    let (headers, text) = body::take(request).await?;
    let submission = body::schedule(&api.bodies, headers, text).await?;
    let view = api.schedules.add(submission, caller).await?;
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

pub(super) async fn get(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<ScheduleView>, Refusal> {
    Ok(Json(api.schedules.get(&name)?))
}

pub(super) async fn remove(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<ScheduleView>, Refusal> {
    Ok(Json(api.schedules.remove(&name).await?))
}

impl From<ScheduleError> for Refusal {
    fn from(error: ScheduleError) -> Self {
        let text = error.to_string();
        let status = match error {
            ScheduleError::Experiment(error) => return error.into(),
            ScheduleError::Unknown(_) => StatusCode::NOT_FOUND,
            ScheduleError::TooMany => StatusCode::CONFLICT,
            ScheduleError::NotKept(_) => StatusCode::INSUFFICIENT_STORAGE,
        };
        Self::new(status, text)
    }
}

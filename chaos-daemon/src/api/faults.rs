use axum::Json;
use axum::extract::{Extension, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chaos_spec::SpecPath;
use chaos_spec::api::{FaultList, FaultView, Plan, ProblemError};
use serde::Deserialize;

use super::problem::Refusal;
use super::{Api, body};
use crate::safety::Caller;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApplyOptions {
    #[serde(default)]
    dry_run: bool,
}

pub(super) async fn list(State(api): State<Api>) -> Result<Json<FaultList>, Refusal> {
    Ok(Json(FaultList {
        items: api.engine.list().await?,
    }))
}

pub(super) async fn apply(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    options: Result<Query<ApplyOptions>, axum::extract::rejection::QueryRejection>,
    request: Request,
) -> Result<Response, Refusal> {
    let Query(options) = options.map_err(|error| {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            format!("{} – write dryRun=true or dryRun=false", error.body_text()),
        )
    })?;
    let (headers, text) = body::take(request).await?;
    let submitted = body::faults(&api.bodies, headers, text).await?;
    let single = submitted.single;
    let refuse = |error| Refusal::from_engine(error, single);
    if options.dry_run {
        return Ok(Json(api.engine.plan(submitted.faults).await.map_err(refuse)?).into_response());
    }
    let items = api.engine.apply(submitted.faults, caller).await.map_err(refuse)?;
    Ok(Json(FaultList { items }).into_response())
}

pub(super) async fn plan(State(api): State<Api>, request: Request) -> Result<Json<Plan>, Refusal> {
    let (headers, text) = body::take(request).await?;
    let submitted = body::faults(&api.bodies, headers, text).await?;
    let plan = api.engine.plan(submitted.faults).await;
    plan.map(Json)
        .map_err(|error| Refusal::from_engine(error, submitted.single))
}

pub(super) async fn get(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<FaultView>, Refusal> {
    Ok(Json(api.engine.get(&name).await?))
}

pub(super) async fn put(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<FaultView>, Refusal> {
    let (headers, text) = body::take(request).await?;
    let submitted = body::faults(&api.bodies, headers, text).await?;
    let path = SpecPath::root().field("metadata").field("name");
    let wrong = |path: SpecPath, message: String, remedy: &str| {
        Refusal::invalid(vec![ProblemError {
            pointer: path.pointer(),
            path: path.to_string(),
            message,
            remedy: remedy.to_owned(),
            ..ProblemError::default()
        }])
    };
    match submitted.faults.as_slice() {
        [fault] if fault.name() == name => {}
        [fault] => {
            let message = format!(
                "the name is `{}`, but the request is about `{name}`",
                fault.name()
            );
            return Err(wrong(path, message, "write the same name in both places"));
        }
        _ => {
            let remedy = "send one NetworkFault, or use POST /v1/faults for several";
            return Err(wrong(
                SpecPath::root(),
                "several faults were sent for one name".to_owned(),
                remedy,
            ));
        }
    }
    let views = api.engine.apply(submitted.faults, caller).await;
    let views = views.map_err(|error| Refusal::from_engine(error, submitted.single))?;
    let view = views.into_iter().next();
    view.map(Json).ok_or_else(|| {
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "it was accepted, and is gone already",
        )
    })
}

pub(super) async fn delete(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Json<FaultView>, Refusal> {
    Ok(Json(api.engine.delete(&name, caller).await?))
}

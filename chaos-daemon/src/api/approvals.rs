use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::http::StatusCode;
use chaos_spec::api::{Approval, ApprovalList, ApprovalRequest};

use super::problem::Refusal;
use super::{Api, body};
use crate::safety::Caller;

pub(super) async fn list(State(api): State<Api>) -> Json<ApprovalList> {
    Json(api.engine.approvals())
}

pub(super) async fn approve(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Approval>, Refusal> {
    let (_, text) = body::take(request).await?;
    let wanted: ApprovalRequest = serde_json::from_slice(&text).map_err(|error| {
        let detail =
            format!("{error}; nothing is approved – send {{\"plan\": HASH}} with the hash that a plan tells");
        Refusal::new(StatusCode::BAD_REQUEST, detail)
    })?;
    Ok(Json(
        api.engine.approve(wanted.plan, caller, wanted.reason).await?,
    ))
}

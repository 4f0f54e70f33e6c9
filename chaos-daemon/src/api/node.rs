use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::http::StatusCode;
use chaos_spec::api::{HaltRequest, HaltState, NodeInfo, ProblemError};

use super::problem::Refusal;
use super::{Api, body};
use crate::engine::EngineError;
use crate::safety::Caller;

pub(super) async fn node(State(api): State<Api>) -> Result<Json<NodeInfo>, Refusal> {
    Ok(Json(api.engine.node().await?))
}

pub(super) async fn halt_state(State(api): State<Api>) -> Json<HaltState> {
    Json(api.engine.halt_state())
}

/// The body is only about the reason, and the halt must not wait for it or fail over it: a client that is too slow or
/// writes nonsense gets its halt, and the refusal of its reason is not worth telling.
pub(super) async fn halt(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<HaltState>, Refusal> {
    // Rules are void from here on.
    api.engine.lease().halt();
    let halt = async move {
        let reason = match body::take(request).await {
            Ok((_, text)) if text.iter().all(u8::is_ascii_whitespace) => None,
            Ok((_, text)) => match serde_json::from_slice::<HaltRequest>(&text) {
                Ok(request) => request.reason,
                Err(error) => Some(format!("(the reason could not be read: {error})")),
            },
            Err(refusal) => Some(format!("(the reason could not be read: {})", refusal.0.detail)),
        };
        api.engine.halt(caller, reason).await
    };
    whatever_the_client_does(halt).await
}

/// Runs to its end even when the client hangs up.
async fn whatever_the_client_does(
    change: impl Future<Output = Result<HaltState, EngineError>> + Send + 'static,
) -> Result<Json<HaltState>, Refusal> {
    let done = tokio::spawn(change).await;
    Ok(Json(done.map_err(|_| EngineError::Stopped)??))
}

pub(super) async fn release(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<HaltState>, Refusal> {
    whatever_the_client_does(async move { api.engine.release(caller).await }).await
}

pub(super) async fn live() -> &'static str {
    "alive\n"
}

/// Ready: the engine ticks, and the lease is fresh unless a halt keeps it void.
pub(super) async fn ready(State(api): State<Api>) -> Result<&'static str, Refusal> {
    let wrong = |pointer: &str, message: String| ProblemError {
        pointer: pointer.to_owned(),
        message,
        ..ProblemError::default()
    };
    let mut errors = Vec::new();
    let lease = api.engine.lease();
    if !api.engine.is_ticking() {
        let message = format!("no sign of life from the engine for {:?}", lease.engine_age());
        errors.push(wrong("/engine", message));
    }
    if !api.engine.halt_state().halted && lease.left().is_zero() {
        errors.push(wrong("/lease", "the lease is over: faults do not act".to_owned()));
    }
    if errors.is_empty() {
        return Ok("ready\n");
    }
    Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is not ready").with_errors(errors))
}

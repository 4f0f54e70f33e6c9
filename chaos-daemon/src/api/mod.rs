//! HTTP/1.1 and JSON on a unix socket.
#![forbid(unsafe_code)]

mod body;
mod events;
mod faults;
mod node;
mod openapi;
mod problem;
mod record;
mod routes;
mod serve;
mod socket;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use chaos_spec::api::PROBLEM_CONTENT_TYPE;
use tokio::sync::Semaphore;

pub use serve::serve;
pub use socket::{Access, ApiSocket, SocketError};

use crate::engine::Engine;
use crate::observe::metrics::{self, Metrics};
use crate::safety::Caller;
use problem::Refusal;

/// Readers of events at the same time: fewer than connections, so that there is always one left for a halt.
const READERS: usize = 64;

/// What every handler has.
#[derive(Clone)]
pub struct Api {
    engine: Engine,
    metrics: Metrics,
    readers: Arc<Semaphore>,
}

impl Api {
    /// # Errors
    /// See [`Metrics::new`].
    pub fn new(engine: Engine) -> prometheus::Result<Self> {
        Ok(Self {
            engine,
            metrics: Metrics::new()?,
            readers: Arc::new(Semaphore::new(READERS)),
        })
    }

    /// All routes. Requests need a [`crate::safety::Caller`] among their extensions.
    pub fn router(self) -> Router {
        let mut router = Router::new();
        for route in routes::routes() {
            router = router.route(route.path, route.handler);
        }
        router
            .fallback(no_such_path)
            .method_not_allowed_fallback(no_such_method)
            .layer(from_fn_with_state(self.clone(), finish))
            .with_state(self)
    }
}

async fn metrics(State(api): State<Api>) -> Result<Response, Refusal> {
    let text = api.metrics.text(&api.engine).await?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

async fn no_such_path(uri: Uri) -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        format!(
            "there is nothing at {} – /openapi.json lists what there is",
            uri.path()
        ),
    )
}

async fn no_such_method(request: Request) -> Refusal {
    let detail = format!(
        "{} does not take {} – see /openapi.json",
        request.uri().path(),
        request.method()
    );
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

/// Counts the request, and gives every refusal its form, also those that the framework made.
async fn finish(State(api): State<Api>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let asked = record::Asked {
        caller: request.extensions().get::<Caller>().cloned(),
        method: method.clone(),
        path: request
            .uri()
            .path_and_query()
            .map_or_else(|| path.clone(), |whole| whole.as_str().to_owned()),
        is_harmless: method.is_safe() || path == routes::PLAN,
        is_urgent: path == routes::HALT,
    };
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(|route| route.as_str().to_owned());
    let mut response = next.run(request).await;
    let status = response.status();
    api.metrics.request(
        method.as_str(),
        route.as_deref().unwrap_or("other"),
        status.as_u16(),
    );
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        tracing::debug!(%method, path, %status, detail = refusal.0.detail, "refused");
        asked.refused(api.engine.audit(), status, &refusal).await;
        return with_headers_of(&response, problem::render(refusal, status, &path));
    }
    let is_problem = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == PROBLEM_CONTENT_TYPE);
    if (status.is_client_error() || status.is_server_error()) && !is_problem {
        let detail = format!("{method} {path} cannot be handled like this");
        let refusal = Refusal::new(status, detail);
        asked.refused(api.engine.audit(), status, &refusal).await;
        return with_headers_of(&response, problem::render(refusal, status, &path));
    }
    asked.done(api.engine.audit()).await;
    response
}

/// Keeps what the framework has to say, such as `allow`.
fn with_headers_of(before: &Response, mut response: Response) -> Response {
    if let Some(allow) = before.headers().get(header::ALLOW) {
        response.headers_mut().insert(header::ALLOW, allow.clone());
    }
    response
}

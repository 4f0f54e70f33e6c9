//! HTTP/1.1 and JSON on a unix socket.
#![forbid(unsafe_code)]

mod approvals;
mod authorize;
mod body;
mod door;
mod events;
mod experiments;
mod faults;
mod history;
mod node;
mod openapi;
mod problem;
mod record;
mod routes;
mod schedules;
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
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

pub use door::{TlsDoor, TlsError, TlsFiles, TokenDoor, TokenError, Tokens};
pub use socket::{Access, ApiSocket, SocketError};

use crate::engine::Engine;
use crate::experiments::Experiments;
use crate::observe::metrics::{self, Metrics};
use crate::safety::roles::{self, Standing};
use crate::safety::{Caller, PolicyKeeper};
use crate::schedules::Schedules;
use problem::Refusal;

/// Readers of events at the same time: fewer than connections, so that there is always one left for a halt.
const READERS: usize = 64;

/// What every handler has.
#[derive(Clone)]
pub struct Api {
    engine: Engine,
    experiments: Experiments,
    schedules: Schedules,
    metrics: Metrics,
    policy: Arc<PolicyKeeper>,
    readers: Arc<Semaphore>,
    /// Turns at reading a body.
    bodies: Arc<Semaphore>,
}

/// The ways in that are open.
#[derive(Debug)]
pub struct Doors {
    pub socket: ApiSocket,
    pub mtls: Vec<TlsDoor>,
    pub tokens: Vec<TokenDoor>,
}

impl Api {
    /// # Errors
    /// See [`Metrics::new`].
    pub fn new(
        engine: Engine,
        experiments: Experiments,
        schedules: Schedules,
        policy: Arc<PolicyKeeper>,
    ) -> prometheus::Result<Self> {
        Ok(Self {
            engine,
            experiments,
            schedules,
            metrics: Metrics::new()?,
            policy,
            readers: Arc::new(Semaphore::new(READERS)),
            bodies: Arc::new(Semaphore::new(body::TURNS)),
        })
    }

    /// All routes. Requests need a [`crate::safety::Caller`] among their extensions.
    pub fn router(self) -> Router {
        let mut router = Router::new();
        for route in routes::routes() {
            let gate = from_fn_with_state(route.needs, authorize::authorize);
            router = router.route(route.path, route.handler.route_layer(gate));
        }
        router
            .fallback(no_such_path)
            .method_not_allowed_fallback(no_such_method)
            .layer(from_fn_with_state(self.clone(), finish))
            .with_state(self)
    }

    /// Serves all ways in until `stop` turns true.
    pub async fn serve(self, doors: Doors, stop: watch::Receiver<bool>) {
        let Doors { socket, mtls, tokens } = doors;
        let mut serving = JoinSet::new();
        let socket = Arc::new(socket);
        serving.spawn(serve::serve(socket, self.clone(), stop.clone()));
        for door in mtls {
            serving.spawn(serve::serve(Arc::new(door), self.clone(), stop.clone()));
        }
        for door in tokens {
            serving.spawn(serve::serve(Arc::new(door), self.clone(), stop.clone()));
        }
        serving.join_all().await;
    }

    /// What a caller may do now.
    fn standing(&self, caller: &Caller) -> Standing {
        roles::standing(caller, self.policy.current().as_deref())
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
async fn finish(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let caller = request.extensions().get::<Caller>().cloned();
    let standing = caller.as_ref().map(|caller| api.standing(caller));
    let asked = record::Asked {
        role: standing.as_ref().and_then(|standing| standing.role),
        caller,
        method: method.clone(),
        path: request
            .uri()
            .path_and_query()
            .map_or_else(|| path.clone(), |whole| whole.as_str().to_owned()),
        is_harmless: method.is_safe() || path == routes::PLAN,
        is_urgent: path == routes::HALT,
    };
    if let Some(standing) = standing {
        request.extensions_mut().insert(standing);
    }
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

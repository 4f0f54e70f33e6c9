//! The gate before every route: whether the caller's role is enough.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chaos_spec::policy::Role;

use super::problem::Refusal;
use crate::safety::Caller;
use crate::safety::roles::Standing;

/// What a route asks of its callers. None: nothing.
pub(super) type Needs = Option<Role>;

/// Lets through whom the route is for.
pub(super) async fn authorize(State(needs): State<Needs>, request: Request, next: Next) -> Response {
    let Some(needed) = needs else {
        return next.run(request).await;
    };
    match check(needed, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn check(needed: Role, request: &Request) -> Result<(), Refusal> {
    let extensions = request.extensions();
    if let Some(refusal) = extensions.get::<Refusal>() {
        return Err(refusal.clone());
    }
    let (Some(caller), Some(standing)) = (extensions.get::<Caller>(), extensions.get::<Standing>()) else {
        return Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            "who asks is not known, so nothing is told or done",
        ));
    };
    let request = format!("{} {}", request.method(), request.uri().path());
    if matches!(caller, Caller::Token { .. }) && !is_reading(&request) {
        let detail =
            format!("{request} changes something, and a token only reads – use the socket or a certificate");
        return Err(forbidden(detail));
    }
    if standing.role.is_some_and(|role| role >= needed) {
        return Ok(());
    }
    let is = standing
        .role
        .map_or_else(|| "has no role here".to_owned(), |role| format!("is {role}"));
    let rule = &standing.rule;
    Err(forbidden(format!(
        "{request} is for the role {needed}, and {caller} {is} ({rule}) – ask somebody who may, or an admin for the role"
    )))
}

fn is_reading(request: &str) -> bool {
    request.starts_with("GET ") || request.starts_with("HEAD ")
}

fn forbidden(detail: String) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, detail).of_kind("role", "this is not for you")
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Method;

    use super::super::routes::routes;
    use super::*;
    use crate::safety::UnixPeer;

    fn request(caller: Caller, role: Option<Role>, method: &Method, path: &str) -> Request {
        let standing = Standing {
            role,
            rule: "policy.yaml:7:13: roles".to_owned(),
        };
        let request = Request::builder().method(method).uri(path);
        let request = request.extension(caller).extension(standing);
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn viewers_look_and_halt_and_nothing_else() {
        let someone = || Caller::Unix(UnixPeer::default());
        let mut allowed = Vec::new();
        for route in routes() {
            let Some(needed) = route.needs else { continue };
            let of = |role| check(needed, &request(someone(), role, &route.method, route.path));
            assert!(of(Some(Role::Admin)).is_ok(), "{} {}", route.method, route.path);
            let refusal = of(None).unwrap_err();
            assert_eq!(refusal.0.status, 403);
            assert!(
                refusal.0.detail.contains("policy.yaml:7:13"),
                "{}",
                refusal.0.detail
            );
            if of(Some(Role::Viewer)).is_ok() && route.method != Method::GET {
                allowed.push(route.name);
            }
        }
        assert_eq!(allowed, ["plan", "halt"]);
    }

    #[test]
    fn a_token_only_reads() {
        let address = "127.0.0.1:9".parse().unwrap();
        for route in routes() {
            let Some(needed) = route.needs else { continue };
            let caller = Caller::Token { address };
            let checked = check(
                needed,
                &request(caller, Some(Role::Viewer), &route.method, route.path),
            );
            assert_eq!(
                checked.is_ok(),
                route.method == Method::GET,
                "{} {}",
                route.method,
                route.path
            );
        }
    }

    #[test]
    fn nobody_is_let_in_without_a_name() {
        let request = Request::builder().uri("/v1/node").body(Body::empty()).unwrap();
        assert_eq!(check(Role::Viewer, &request).unwrap_err().0.status, 401);
    }
}

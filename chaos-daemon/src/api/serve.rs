//! Accepts connections and bounds what they may cost.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;

use super::Api;
use super::door::{Door, Guest};

/// Connections at the same time through one door.
const CONNECTIONS: usize = 256;
/// Of those, connections of callers without a role, or who have not shown one yet.
const STRANGERS: usize = 32;
/// How long a client may take to send a request's head, or keep a connection without one.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// How long a refused connection may take to read why.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves one way in until `stop` turns true: then accepts no more and lets requests under way finish.
pub(super) async fn serve<D: Door>(door: Arc<D>, api: Api, stop: watch::Receiver<bool>) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    let strangers = Arc::new(Semaphore::new(STRANGERS));
    let router = api.clone().router();
    let mut stopping = stop.clone();
    loop {
        let accepted = tokio::select! {
            accepted = door.accept() => accepted,
            () = told(&mut stopping) => break,
        };
        let raw = match accepted {
            Ok(raw) => raw,
            Err(error) => {
                // Out of descriptors, most likely: one will be closed.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        match Arc::clone(&seats).try_acquire_owned() {
            Ok(seat) => {
                let (door, api) = (Arc::clone(&door), api.clone());
                let (router, stop, strangers) = (router.clone(), stop.clone(), Arc::clone(&strangers));
                tokio::spawn(async move {
                    let Some((guest, stream)) = door.admit(raw).await else {
                        return;
                    };
                    let stranger = match &guest {
                        Guest::Known(caller) if api.standing(caller).role.is_some() => None,
                        // Those who may do nothing must not keep the others from a halt.
                        _ => match strangers.try_acquire_owned() {
                            Ok(seat) => Some(seat),
                            Err(_) => {
                                drop(seat);
                                return turn_away(stream).await;
                            }
                        },
                    };
                    connection(guest, stream, router, stop).await;
                    drop((stranger, seat));
                });
            }
            Err(_) => {
                if let Some(stream) = D::plain(raw) {
                    tokio::spawn(turn_away(stream));
                }
            }
        }
    }
    // All seats free: nobody is being answered any more.
    let _ = tokio::time::timeout(FAREWELL, seats.acquire_many(CONNECTIONS as u32)).await;
}

async fn connection(
    guest: Guest,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        // A request without a caller is refused by the router, and taken down there.
        match guest.caller(request.headers()) {
            Ok(caller) => drop(request.extensions_mut().insert(caller)),
            Err(refusal) => drop(request.extensions_mut().insert(refusal)),
        }
        router.clone().oneshot(request)
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            // A client that has said all it wants to say may still read the answer.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service)
    );
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = told(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended badly");
    }
}

/// Waits until it is time to stop.
async fn told(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone: stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// One sentence instead of a connection that hangs.
async fn turn_away(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    const BODY: &str = r#"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"too many connections; close one and try again"}"#;
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{BODY}",
        BODY.len()
    );
    let tell = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // Closing with a request unread would show the client an error before it shows it this.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    // Whoever does not read it in time was told by the closing.
    let _ = tokio::time::timeout(FAREWELL, tell).await;
}

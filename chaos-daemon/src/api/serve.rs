//! Accepts connections and bounds what they may cost.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;

use super::ApiSocket;
use crate::safety::{Caller, UnixPeer};

/// Connections at the same time.
const CONNECTIONS: usize = 256;
/// How long a client may take to send a request's head, or keep a connection without one.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// How long a refused connection may take to read why.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves until `stop` turns true: then accepts no more and lets requests under way finish.
pub async fn serve(socket: &ApiSocket, router: Router, stop: watch::Receiver<bool>) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    let mut stopping = stop.clone();
    loop {
        let accepted = tokio::select! {
            accepted = socket.listener().accept() => accepted,
            () = told(&mut stopping) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: one will be closed.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        match Arc::clone(&seats).try_acquire_owned() {
            Ok(seat) => {
                let connection = connection(stream, router.clone(), stop.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(seat);
                });
            }
            Err(_) => {
                tokio::spawn(turn_away(stream));
            }
        }
    }
    // All seats free: nobody is being answered any more.
    let _ = tokio::time::timeout(FAREWELL, seats.acquire_many(CONNECTIONS as u32)).await;
}

async fn connection(stream: UnixStream, router: Router, mut stop: watch::Receiver<bool>) {
    let caller = match caller(&stream) {
        Ok(caller) => caller,
        Err(error) => {
            tracing::warn!(%error, "a connection without credentials is closed");
            return;
        }
    };
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(caller.clone());
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
async fn turn_away(mut stream: UnixStream) {
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

fn caller(stream: &UnixStream) -> std::io::Result<Caller> {
    let peer = stream.peer_cred()?;
    let user = nix::unistd::User::from_uid(peer.uid().into())
        .ok()
        .flatten()
        .map(|user| user.name);
    let exe = peer
        .pid()
        .and_then(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).ok())
        .map(|path| path.to_string_lossy().into_owned());
    Ok(Caller::Unix(UnixPeer {
        uid: peer.uid(),
        gid: peer.gid(),
        groups: crate::sys::socket::peer_groups(stream)?,
        pid: peer.pid(),
        user,
        exe,
    }))
}

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// No answer of a daemon comes near this; anything larger is not one.
const LARGEST_ANSWER: usize = 256 << 20;

/// One request, one connection: a daemon that restarts in between is not noticed.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    socket: PathBuf,
    /// For connecting, sending and the whole answer together.
    timeout: Duration,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// Why there is no answer, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error(
        "no daemon at {}: there is no such socket – start it (`systemctl start chaos-daemon`), or name its \
         socket with --socket or CHAOS_SOCKET", .socket.display()
    )]
    NoSocket { socket: PathBuf },
    #[error(
        "no daemon at {}: nobody listens there – the daemon is not running; start it \
         (`systemctl start chaos-daemon`)", .socket.display()
    )]
    NobodyListens { socket: PathBuf },
    #[error(
        "permission denied at {} – join the group chaos (`sudo usermod -aG chaos $USER`, then log in again), \
         or use sudo", .socket.display()
    )]
    Denied { socket: PathBuf },
    #[error("cannot connect to {}: {source} – see `chaosctl doctor`", .socket.display())]
    Connect { socket: PathBuf, source: io::Error },
    #[error(
        "the daemon at {} did not answer within {}{} – it may hang or be stopped (its faults end by \
         themselves); look at its log, or wait longer with --timeout", .socket.display(),
        humantime::format_duration(*.timeout), unknown_outcome(*.change)
    )]
    TimedOut {
        socket: PathBuf,
        timeout: Duration,
        change: bool,
    },
    #[error(
        "the connection to the daemon at {} broke before its answer was complete ({source}){} – look at its log",
        .socket.display(), unknown_outcome(*.change)
    )]
    Broken {
        socket: PathBuf,
        source: hyper::Error,
        change: bool,
    },
    #[error("the answer of the daemon at {} is larger than {LARGEST_ANSWER} bytes", .socket.display())]
    TooLarge { socket: PathBuf },
    #[error("the request cannot be sent: {0}")]
    Request(#[from] hyper::http::Error),
    #[error(
        "the daemon's answer to {request} is not understood ({source}) – does something else listen there, or \
         is the daemon of another version? See `chaosctl doctor`"
    )]
    NotUnderstood {
        request: String,
        source: serde_json::Error,
    },
}

const fn unknown_outcome(change: bool) -> &'static str {
    if change {
        "; whether the change was made is not known, `chaosctl get faults` shows it"
    } else {
        ""
    }
}

impl ClientError {
    /// Whether nobody could be talked to, in contrast to: was talked to and made no sense.
    pub(crate) const fn is_unreachable(&self) -> bool {
        !matches!(
            self,
            Self::Request(_) | Self::NotUnderstood { .. } | Self::TooLarge { .. }
        )
    }
}

impl Client {
    pub(crate) const fn new(socket: PathBuf, timeout: Duration) -> Self {
        Self { socket, timeout }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sends one request and reads the whole answer. `path` begins with a slash and is percent-encoded.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, ClientError> {
        let change = method != Method::GET;
        let exchange = self.exchange(method, path, body, change);
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(result) => result,
            Err(_) => {
                let (socket, timeout) = (self.socket.clone(), self.timeout);
                Err(ClientError::TimedOut {
                    socket,
                    timeout,
                    change,
                })
            }
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        change: bool,
    ) -> Result<Answer, ClientError> {
        let broken = |source| ClientError::Broken {
            socket: self.socket.clone(),
            source,
            change,
        };
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.connect_error(error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        // Ends with the sender; its error reaches us through the request as well.
        let driver = tokio::spawn(connection);
        let request = request(method, path, body)?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let collected = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
        driver.abort();
        match collected {
            Ok(collected) => Ok(Answer {
                status,
                body: collected.to_bytes(),
            }),
            Err(error) if error.is::<LengthLimitError>() => Err(ClientError::TooLarge {
                socket: self.socket.clone(),
            }),
            Err(error) => match error.downcast::<hyper::Error>() {
                Ok(error) => Err(broken(*error)),
                Err(error) => Err(ClientError::Connect {
                    socket: self.socket.clone(),
                    source: io::Error::other(error),
                }),
            },
        }
    }

    fn connect_error(&self, source: io::Error) -> ClientError {
        let socket = self.socket.clone();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ClientError::NoSocket { socket },
            io::ErrorKind::ConnectionRefused => ClientError::NobodyListens { socket },
            io::ErrorKind::PermissionDenied => ClientError::Denied { socket },
            _ => ClientError::Connect { socket, source },
        }
    }
}

fn request(
    method: Method,
    path: &str,
    body: Option<Vec<u8>>,
) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        // HTTP/1.1 wants a host; a socket has none.
        .header(HOST, "localhost")
        .header(USER_AGENT, concat!("chaosctl/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json");
    match body {
        Some(body) => request
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_LENGTH, body.len())
            .body(Full::new(Bytes::from(body))),
        None => request.body(Full::new(Bytes::new())),
    }
}

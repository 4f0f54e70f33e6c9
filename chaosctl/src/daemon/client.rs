use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;

use super::Place;
use super::place::is_refusal;

/// No answer of a daemon comes near this; anything larger is not one.
const LARGEST_ANSWER: usize = 256 << 20;
/// How long to wait for an answer when nobody says.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a daemon may take to say that it is at work.
const SIGN: Duration = Duration::from_secs(2);
/// How long it may be at work over one answer: hundreds of devices take the kernel tens of milliseconds each.
const LONGEST: Duration = Duration::from_mins(10);

/// One request, one connection: a daemon that restarts in between is not noticed.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    place: Place,
    /// For connecting, sending and the whole answer together.
    timeout: Duration,
    /// A daemon that says that it is at work may take longer.
    patient: bool,
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
    #[error("cannot connect to {place}: {source} – see `chaosctl doctor`")]
    Connect { place: String, source: io::Error },
    #[error(
        "the daemon at {place} does not accept this certificate ({source}) – it may be expired, or of another CA: issue \
         a new one with `chaosctl pki issue`"
    )]
    TurnedAway { place: String, source: io::Error },
    #[error(
        "the daemon at {place} did not answer within {}{} – it may hang or be stopped (its faults end by \
         themselves); look at its log, or wait longer with --timeout",
        humantime::format_duration(*.timeout), unknown_outcome(*.change)
    )]
    TimedOut {
        place: String,
        timeout: Duration,
        change: bool,
    },
    #[error(
        "the connection to the daemon at {place} broke before its answer was complete ({source}){} – look at its log",
        unknown_outcome(*.change)
    )]
    Broken {
        place: String,
        source: hyper::Error,
        change: bool,
    },
    #[error("the answer of the daemon at {place} is larger than {LARGEST_ANSWER} bytes")]
    TooLarge { place: String },
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
            Self::Request(_) | Self::NotUnderstood { .. } | Self::TooLarge { .. } | Self::TurnedAway { .. }
        )
    }

    /// Whether the daemon was reached and wanted nothing of us.
    pub(crate) const fn is_refusal(&self) -> bool {
        matches!(self, Self::TurnedAway { .. })
    }

    pub(super) fn at_socket(socket: PathBuf, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::NoSocket { socket },
            io::ErrorKind::ConnectionRefused => Self::NobodyListens { socket },
            io::ErrorKind::PermissionDenied => Self::Denied { socket },
            _ => Self::Connect {
                place: socket.display().to_string(),
                source,
            },
        }
    }
}

impl Client {
    /// `timeout` if somebody has said one: then that is all the time there is.
    pub(crate) fn new(place: Place, timeout: Option<Duration>) -> Self {
        Self {
            place,
            timeout: timeout.unwrap_or(TIMEOUT),
            patient: timeout.is_none(),
        }
    }

    pub(crate) const fn place(&self) -> &Place {
        &self.place
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
        let begun = Instant::now();
        let mut exchange = std::pin::pin!(self.exchange(method, path, body, change));
        loop {
            if let Ok(result) = tokio::time::timeout(self.timeout, exchange.as_mut()).await {
                return result;
            }
            if !self.patient || begun.elapsed() > LONGEST || !self.is_at_work().await {
                return Err(ClientError::TimedOut {
                    place: self.place.to_string(),
                    timeout: self.timeout.max(Duration::from_secs(begun.elapsed().as_secs())),
                    change,
                });
            }
        }
    }

    /// Whether the daemon says that its engine is well: then an answer that is late will come.
    async fn is_at_work(&self) -> bool {
        let asked = self.exchange(Method::GET, "/readyz", None, false);
        let said = tokio::time::timeout(SIGN, asked).await;
        matches!(said, Ok(Ok(answer)) if answer.status == StatusCode::OK)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        change: bool,
    ) -> Result<Answer, ClientError> {
        let place = || self.place.to_string();
        // With TLS 1.3 a client learns that its certificate is not wanted only when it reads the answer.
        let broken = |source: hyper::Error| {
            if is_refusal(&source) {
                let source = io::Error::other(source);
                return ClientError::TurnedAway {
                    place: place(),
                    source,
                };
            }
            ClientError::Broken {
                place: place(),
                source,
                change,
            }
        };
        let stream = self.place.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        // Ends with the sender; its error reaches us through the request as well.
        let driver = tokio::spawn(connection);
        let request = self.request(method, path, body)?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let collected = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
        driver.abort();
        match collected {
            Ok(collected) => Ok(Answer {
                status,
                body: collected.to_bytes(),
            }),
            Err(error) if error.is::<LengthLimitError>() => Err(ClientError::TooLarge { place: place() }),
            Err(error) => match error.downcast::<hyper::Error>() {
                Ok(error) => Err(broken(*error)),
                Err(error) => Err(ClientError::Connect {
                    place: place(),
                    source: io::Error::other(error),
                }),
            },
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.place.host())
            .header(USER_AGENT, concat!("chaosctl/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json");
        if let Some(token) = self.place.token() {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        match body {
            Some(body) => request
                .header(CONTENT_TYPE, "application/json")
                .header(CONTENT_LENGTH, body.len())
                .body(Full::new(Bytes::from(body))),
            None => request.body(Full::new(Bytes::new())),
        }
    }
}

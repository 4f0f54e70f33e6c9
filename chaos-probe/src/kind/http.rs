use std::collections::BTreeMap;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use bytes::Bytes;
use chaos_spec::{Expect, HttpProbe, HttpUrl, Statuses, Tls};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::connect::connect;
use super::drive::drive;
use super::text::Text;
use super::tls;
use crate::prober::ProbeError;
use crate::{Fail, Net, Reading};

/// Largest answer that is read.
pub(super) const MOST_BODY: usize = 1 << 20;
/// Largest head of an answer.
const MOST_HEAD: usize = 64 << 10;

pub(crate) struct Http {
    request: Prepared,
    statuses: Statuses,
    text: Text,
}

impl Http {
    pub(super) fn new(probe: &HttpProbe, expect: &Expect) -> Result<Self, ProbeError> {
        let method = probe.method.as_deref().unwrap_or("GET");
        let method =
            Method::from_bytes(method.as_bytes()).map_err(|_| ProbeError::Request(method.to_owned()))?;
        let body = probe.send.clone().unwrap_or_default();
        Ok(Self {
            request: Prepared::new(&probe.url, method, &probe.headers, body, &probe.tls)?,
            statuses: expect.status.clone(),
            text: Text::new(&expect.body)?,
        })
    }

    pub(super) async fn take(&self, net: &dyn Net) -> Result<Reading, Fail> {
        let (status, body) = self.request.ask(net).await?;
        if !self.statuses.contain(status.as_u16()) {
            return Err(Fail::Status(status.as_u16()));
        }
        self.text.check(&body)?;
        Ok(Reading {
            status: Some(status.as_u16()),
            value: None,
        })
    }
}

/// A request that can be sent again and again, each time over a connection of its own.
pub(super) struct Prepared {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    method: Method,
    /// Path and query.
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Prepared {
    pub(super) fn new(
        url: &HttpUrl,
        method: Method,
        headers: &BTreeMap<String, String>,
        body: String,
        tls: &Tls,
    ) -> Result<Self, ProbeError> {
        let wrong = || ProbeError::Request(url.to_string());
        let uri: Uri = url.as_str().parse().map_err(|_| wrong())?;
        let host = uri.host().ok_or_else(wrong)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_tls = uri.scheme_str() == Some("https");
        let usual = if is_tls { 443 } else { 80 };
        let mut all = HeaderMap::new();
        let authority = uri.authority().map_or(host, |authority| authority.as_str());
        let named = [
            (header::HOST, authority),
            (
                header::USER_AGENT,
                concat!("chaos-daemon/", env!("CARGO_PKG_VERSION")),
            ),
            (header::ACCEPT, "*/*"),
            (header::CONNECTION, "close"),
        ];
        for (name, value) in named {
            all.insert(name, HeaderValue::from_str(value).map_err(|_| wrong())?);
        }
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            all.insert(name, HeaderValue::from_str(value).map_err(|_| wrong())?);
        }
        let tls = match is_tls {
            true => Some((tls::connector(tls)?, tls::server_name(&bare)?)),
            false => None,
        };
        Ok(Self {
            port: uri.port_u16().unwrap_or(usual),
            path: uri
                .path_and_query()
                .map_or_else(|| "/".to_owned(), ToString::to_string),
            host: bare,
            tls,
            method,
            headers: all,
            body: body.into(),
        })
    }

    /// Status and whole body of the answer.
    pub(super) async fn ask(&self, net: &dyn Net) -> Result<(StatusCode, Bytes), Fail> {
        let connection = connect(net, &self.host, self.port).await?;
        // Dropped after the stream.
        let _pass = connection.pass;
        let stream = connection.stream;
        match &self.tls {
            None => self.over(stream).await,
            Some((connector, name)) => {
                let stream = connector
                    .connect(name.clone(), stream)
                    .await
                    .map_err(|error| Fail::Tls(error.to_string()))?;
                self.over(stream).await
            }
        }
    }

    async fn over(&self, stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(StatusCode, Bytes), Fail> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self
            .path
            .parse()
            .map_err(|error| Fail::Malformed(format!("{} ({error})", self.path)))?;
        *request.headers_mut() = self.headers.clone();
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MOST_HEAD)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        drive(
            async {
                let answer = sender.send_request(request).await.map_err(broken)?;
                let (head, mut body) = answer.into_parts();
                let mut whole = Vec::new();
                while let Some(frame) = body.frame().await {
                    if let Ok(data) = frame.map_err(broken)?.into_data() {
                        if whole.len() + data.len() > MOST_BODY {
                            return Err(Fail::TooLarge(MOST_BODY));
                        }
                        whole.extend_from_slice(&data);
                    }
                }
                Ok((head.status, whole.into()))
            },
            connection,
        )
        .await
    }
}

fn broken(error: hyper::Error) -> Fail {
    if error.is_parse_too_large() {
        return Fail::TooLarge(MOST_HEAD);
    }
    if error.is_parse() || error.is_parse_status() {
        return Fail::Malformed(error.to_string());
    }
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Fail::Broken(cause.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chaos_fuzz::{Bytes, cases, damaged};
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::runtime::Builder;
    use tokio::time::timeout;

    use super::{BTreeMap, Fail, MOST_BODY, Method, Prepared, StatusCode, Tls};

    fn answers() -> Vec<Vec<u8>> {
        let answers = [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\nConnection: close\r\n\r\nuntil the end",
            "HTTP/1.0 204 No Content\r\n\r\n",
        ];
        answers.iter().map(|answer| answer.as_bytes().to_vec()).collect()
    }

    /// What comes of a server that says this and hangs up.
    fn ask(answer: &[u8]) -> Result<(StatusCode, bytes::Bytes), Fail> {
        let url = "http://127.0.0.1/healthz".parse().expect("a URL");
        let headers = BTreeMap::new();
        let request = Prepared::new(&url, Method::GET, &headers, String::new(), &Tls::default());
        let request = request.unwrap_or_else(|error| panic!("{error}"));
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let (ours, mut theirs) = duplex(1 << 17);
            let serve = async move {
                // It answers when it is asked, and hangs up.
                let mut asked = [0; 4096];
                let _ = theirs.read(&mut asked).await;
                let _ = theirs.write_all(answer).await;
            };
            let (said, ()) = tokio::join!(timeout(Duration::from_secs(10), request.over(ours)), serve);
            said.expect("an answer or a failure when the server has hung up")
        })
    }

    #[test]
    fn answers_are_read() {
        let said: Vec<_> = answers()
            .iter()
            .map(|answer| ask(answer).map(|(status, body)| (status.as_u16(), body.len())))
            .collect();
        assert_eq!(said, [Ok((200, 2)), Ok((200, 2)), Ok((503, 13)), Ok((204, 0))]);
    }

    proptest! {
        #![proptest_config(cases(200))]
        #[test]
        fn damaged_answers_are_an_answer_or_a_failure(answer in damaged(answers())) {
            let Bytes(answer) = answer;
            match ask(&answer) {
                Ok((_, body)) => prop_assert!(body.len() <= MOST_BODY.min(answer.len())),
                Err(fail) => prop_assert!((1..1000).contains(&fail.to_string().len())),
            }
        }
    }
}

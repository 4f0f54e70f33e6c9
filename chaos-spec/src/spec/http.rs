//! `http`: requests in plain text are answered, cut off or delayed, one by one.

use std::fmt;

use ::http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::Traffic;
use super::lists::{one_or_more, one_or_more_schema};
use crate::{Chance, Duration, HostPattern, Method, PathPattern, WarningKind};

/// The longest answer, in bytes with its headers: it is sent as one TCP segment, which has to fit into the smallest
/// packet that every IPv6 link takes.
pub const RESPONSE_MAX: usize = 1200;

/// Requests of plain-text HTTP/1.1 are answered here, cut off or delayed: exactly one of `status`, `abort` and `delay`.
///
/// The chance is of requests. What cannot be read as a request (TLS, HTTP/2, a request line that is split over segments)
/// passes and is counted as `unseen`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Http {
    /// Answered with this status; the server never sees the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 200, max = 599))]
    pub status: Option<u16>,
    /// Of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Of the answer, in this order; `Content-Length` and `Connection: close` are added.
    #[serde(default, skip_serializing_if = "HttpHeaders::is_empty")]
    pub headers: HttpHeaders,
    /// `true`: the connection is reset instead of an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort: Option<bool>,
    /// The request goes on so much later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// Share of the requests that `method`, `path` and `host` choose.
    #[serde(default = "always", skip_serializing_if = "Chance::is_always_ref")]
    pub chance: Chance,
    /// One method, or a list; left out: all.
    #[serde(
        default,
        deserialize_with = "one_or_more",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(schema_with = "one_or_more_schema::<Method>")]
    pub method: Vec<Method>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathPattern>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostPattern>,
}

/// Names and values, in the order in which they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpHeaders(pub Vec<(String, String)>);

/// What a valid [`Http`] does to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpAction {
    /// With [`Http::response`].
    Answer,
    Abort,
    Delay(Duration),
}

/// A whole answer, as it goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    pub bytes: Vec<u8>,
    /// How many of them are status line and headers, with the empty line: what a HEAD request gets.
    pub head: usize,
}

fn always() -> Chance {
    Chance::ALWAYS
}

impl Default for Http {
    fn default() -> Self {
        Self {
            status: None,
            body: None,
            headers: HttpHeaders::default(),
            abort: None,
            delay: None,
            chance: Chance::ALWAYS,
            method: Vec::new(),
            path: None,
            host: None,
        }
    }
}

impl Http {
    /// The most methods.
    pub const MOST_METHODS: usize = 8;

    /// Every request is answered with this status.
    pub fn answer(status: u16) -> Self {
        Self {
            status: Some(status),
            ..Self::default()
        }
    }

    /// The action, when exactly one is given (validation sees to that).
    pub fn action(&self) -> Option<HttpAction> {
        match (self.status, self.abort, self.delay) {
            (Some(_), None | Some(false), None) => Some(HttpAction::Answer),
            (None, Some(true), None) => Some(HttpAction::Abort),
            (None, None | Some(false), Some(delay)) => Some(HttpAction::Delay(delay)),
            _ => None,
        }
    }

    /// The answer, when there is a `status`. Of a valid fault at most [`RESPONSE_MAX`] bytes.
    pub fn response(&self) -> Option<HttpResponse> {
        let status = self.status?;
        let body = self.body.as_deref().unwrap_or_default();
        let reason = StatusCode::from_u16(status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or_default();
        let mut text = format!("HTTP/1.1 {status} {reason}\r\n");
        let mut header = |name: &str, value: &str| {
            for part in [name, ": ", value, "\r\n"] {
                text.push_str(part);
            }
        };
        for (name, value) in &self.headers.0 {
            header(name, value);
        }
        if !body.is_empty() && self.headers.get("Content-Type").is_none() {
            header("Content-Type", "text/plain; charset=utf-8");
        }
        // An answer with one of these ends with its headers, whatever its length says (RFC 9110, 8.6).
        if !matches!(status, 204 | 304) {
            header("Content-Length", &body.len().to_string());
        }
        header("Connection", "close");
        text.push_str("\r\n");
        let head = text.len();
        text.push_str(body);
        Some(HttpResponse {
            bytes: text.into_bytes(),
            head,
        })
    }

    /// Whether an answer with this status may have a body (RFC 9110, 15.3.5, 15.3.6 and 15.4.5).
    pub(crate) const fn may_have_body(status: u16) -> bool {
        !matches!(status, 204 | 205 | 304)
    }

    /// A warning, when this traffic may well be such that requests in it cannot be read.
    pub fn warns(&self, traffic: &Traffic) -> Option<WarningKind> {
        let remote = traffic.remote.iter().flat_map(|remote| &remote.ports);
        let local = traffic.local.iter().flat_map(|local| &local.ports);
        let named: Vec<_> = remote.chain(local).collect();
        if named.is_empty() {
            let ports = "no port is named".to_owned();
            return Some(WarningKind::PlainHttpOnly { ports });
        }
        let veiled: Vec<String> = VEILED_PORTS
            .iter()
            .filter(|port| named.iter().any(|range| range.contains(**port)))
            .map(ToString::to_string)
            .collect();
        let ports = match veiled.as_slice() {
            [] => return None,
            [one] => format!("port {one} usually speaks TLS or HTTP/2"),
            several => format!("ports {} usually speak TLS or HTTP/2", several.join(", ")),
        };
        Some(WarningKind::PlainHttpOnly { ports })
    }
}

/// Where TLS or HTTP/2 is usual: web servers, Kubernetes and its kubelet, etcd, gRPC.
const VEILED_PORTS: [u16; 8] = [443, 2379, 4443, 6443, 8443, 9443, 10250, 50051];

impl HttpHeaders {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value behind a name, in whatever case.
    pub fn get(&self, name: &str) -> Option<&str> {
        let header = self.0.iter().find(|(have, _)| have.eq_ignore_ascii_case(name));
        header.map(|(_, value)| value.as_str())
    }
}

impl Serialize for HttpHeaders {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for HttpHeaders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeadersVisitor;
        impl<'de> Visitor<'de> for HeadersVisitor {
            type Value = HttpHeaders;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("names and values of headers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HttpHeaders, A::Error> {
                let mut headers = Vec::new();
                while let Some((name, HeaderValue(value))) = map.next_entry()? {
                    headers.push((name, value));
                }
                Ok(HttpHeaders(headers))
            }
        }
        deserializer.deserialize_map(HeadersVisitor)
    }
}

/// Text; a number stands for the text that it is spelled with.
struct HeaderValue(String);

impl<'de> Deserialize<'de> for HeaderValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;
        impl Visitor<'_> for ValueVisitor {
            type Value = HeaderValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the value of a header, such as `\"5\"`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<HeaderValue, E> {
                Ok(HeaderValue(text.to_owned()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<HeaderValue, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<HeaderValue, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<HeaderValue, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_bool<E: Error>(self, word: bool) -> Result<HeaderValue, E> {
                self.visit_str(if word { "true" } else { "false" })
            }
        }
        deserializer.deserialize_any(ValueVisitor)
    }
}

impl JsonSchema for HttpHeaders {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HttpHeaders".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Names and values of headers.",
            "type": "object",
            "propertyNames": {"pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"},
            "additionalProperties": {"oneOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]},
            "examples": [{"Retry-After": "5"}]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(text: &str) -> Http {
        serde_json::from_str(text).expect(text)
    }

    fn sent(text: &str) -> (String, String) {
        let HttpResponse { bytes, head } = http(text).response().expect("a status");
        let (head, body) = bytes.split_at(head);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        (text(head), text(body))
    }

    #[test]
    fn an_answer_is_a_whole_response() {
        assert_eq!(
            sent(r#"{"status": 503, "body": "später\n", "headers": {"Retry-After": 5, "A": "b"}}"#),
            (
                "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nA: b\r\nContent-Type: text/plain; \
                 charset=utf-8\r\nContent-Length: 8\r\nConnection: close\r\n\r\n"
                    .to_owned(),
                "später\n".to_owned()
            )
        );
        assert_eq!(
            sent(r#"{"status": 401, "body": "{}", "headers": {"content-type": "application/json"}}"#).0,
            "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(
            sent(r#"{"status": 500, "body": ""}"#).0,
            "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        // No phrase is known: its space stays.
        assert!(
            sent(r#"{"status": 599}"#)
                .0
                .starts_with("HTTP/1.1 599 \r\nContent-Length: 0\r\n")
        );
        for status in [204, 304] {
            let head = sent(&format!("{{\"status\": {status}}}")).0;
            assert!(!head.contains("Content-Length"), "{head}");
        }
        assert_eq!(http(r#"{"abort": true}"#).response(), None);
    }

    #[test]
    fn one_action_it_is() {
        assert_eq!(http(r#"{"status": 503}"#).action(), Some(HttpAction::Answer));
        assert_eq!(http(r#"{"abort": true}"#).action(), Some(HttpAction::Abort));
        let delay = Duration::from_millis(300);
        assert_eq!(
            http(r#"{"delay": "300ms"}"#).action(),
            Some(HttpAction::Delay(delay))
        );
        for text in ["{}", r#"{"abort": false}"#, r#"{"status": 503, "delay": "1s"}"#] {
            assert_eq!(http(text).action(), None, "{text}");
        }
    }

    #[test]
    fn ports_that_are_usually_encrypted_give_a_warning() {
        let warned = |traffic: &str| {
            let traffic: Traffic = serde_json::from_str(traffic).expect(traffic);
            Http::answer(503).warns(&traffic).map(|kind| match kind {
                WarningKind::PlainHttpOnly { ports } => ports,
                other => panic!("{other:?}"),
            })
        };
        assert_eq!(warned("{}").as_deref(), Some("no port is named"));
        assert_eq!(warned(r#"{"remote": {"ports": [80, "8080-8090"]}}"#), None);
        assert_eq!(
            warned(r#"{"remote": {"ports": [80, 443]}}"#).as_deref(),
            Some("port 443 usually speaks TLS or HTTP/2")
        );
        assert_eq!(
            warned(r#"{"direction": "ingress", "local": {"ports": ["8000-9999"]}}"#).as_deref(),
            Some("ports 8443, 9443 usually speak TLS or HTTP/2")
        );
    }
}

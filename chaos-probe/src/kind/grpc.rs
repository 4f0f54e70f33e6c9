//! `grpc.health.v1.Health/Check` over HTTP/2 without TLS.

use ::http::{HeaderMap, Request, Uri, header};
use bytes::{BufMut as _, Bytes, BytesMut};
use chaos_spec::diagnostic::cut;
use chaos_spec::{Endpoint, GrpcProbe};
use prost::Message as _;

use super::connect::connect;
use super::drive::drive;
use crate::{Fail, Net, Reading};

/// Largest answer: a status is two bytes, and servers may add fields.
const MOST: usize = 64 << 10;
/// Characters of a reason that are kept.
const MOST_REASON: usize = 400;
const PATH: &str = "/grpc.health.v1.Health/Check";
/// A flag (compressed or not) and the length stand before each message.
const PREFIX: usize = 5;

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

const SERVING: i32 = 1;

pub(crate) struct Grpc {
    address: Endpoint,
    service: String,
}

impl Grpc {
    pub(super) fn new(probe: &GrpcProbe) -> Self {
        Self {
            address: probe.address.clone(),
            service: probe.service.clone().unwrap_or_default(),
        }
    }

    pub(super) async fn take(&self, net: &dyn Net) -> Result<Reading, Fail> {
        let connection = connect(net, self.address.host(), self.address.port()).await?;
        // Dropped after the stream.
        let _pass = connection.pass;
        let (client, going) = h2::client::Builder::new()
            .max_header_list_size(16 << 10)
            .max_concurrent_streams(1)
            .enable_push(false)
            .handshake::<_, Bytes>(connection.stream)
            .await
            .map_err(broken)?;
        drive(self.ask(client), going).await
    }

    async fn ask(&self, client: h2::client::SendRequest<Bytes>) -> Result<Reading, Fail> {
        let mut client = client.ready().await.map_err(broken)?;
        let uri: Uri = format!("http://{}{PATH}", self.address)
            .parse()
            .map_err(|error| Fail::Malformed(format!("{} ({error})", self.address)))?;
        let request = Request::post(uri)
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .header(
                header::USER_AGENT,
                concat!("chaos-daemon/", env!("CARGO_PKG_VERSION")),
            )
            .body(())
            .map_err(|error| Fail::Malformed(error.to_string()))?;
        let (answer, mut stream) = client.send_request(request, false).map_err(broken)?;
        stream.send_data(self.message(), true).map_err(broken)?;
        let (head, mut body) = answer.await.map_err(broken)?.into_parts();
        if head.status != 200 {
            return Err(Fail::Status(head.status.as_u16()));
        }
        let is_grpc = head
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        if !is_grpc {
            return Err(Fail::Malformed("it is not gRPC".to_owned()));
        }
        let mut whole = BytesMut::new();
        while let Some(part) = body.data().await {
            let part = part.map_err(broken)?;
            if whole.len() + part.len() > MOST {
                return Err(Fail::TooLarge(MOST));
            }
            // An error means that the stream is over, which the next read tells.
            let _ = body.flow_control().release_capacity(part.len());
            whole.extend_from_slice(&part);
        }
        // Without a message, the status stands in the head.
        match body.trailers().await.map_err(broken)? {
            Some(trailers) => check_status(&trailers)?,
            None => check_status(&head.headers)?,
        }
        serving(&whole)
    }

    fn message(&self) -> Bytes {
        let request = HealthCheckRequest {
            service: self.service.clone(),
        };
        let length = request.encoded_len();
        let mut framed = BytesMut::with_capacity(PREFIX + length);
        framed.put_u8(0);
        framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        framed.extend_from_slice(&request.encode_to_vec());
        framed.freeze()
    }
}

fn check_status(headers: &HeaderMap) -> Result<(), Fail> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        Some("0") => Ok(()),
        Some("5") => Err(Fail::NotServing("not known to the server".to_owned())),
        Some(status) => {
            let message = text("grpc-message").unwrap_or_default();
            let message = cut(message, MOST_REASON);
            let all = format!("not told (gRPC status {status} {message})");
            Err(Fail::NotServing(all.replace(" )", ")")))
        }
        None => Err(Fail::Malformed("there is no gRPC status".to_owned())),
    }
}

fn serving(framed: &[u8]) -> Result<Reading, Fail> {
    let malformed = |why: &str| Err(Fail::Malformed(why.to_owned()));
    let Some((prefix, message)) = framed.split_first_chunk::<PREFIX>() else {
        return malformed("there is no message");
    };
    let [compressed, length @ ..] = *prefix;
    if compressed != 0 {
        return malformed("the message is compressed, which was not asked for");
    }
    if u32::from_be_bytes(length) as usize != message.len() {
        return malformed("the message does not have the length that it says");
    }
    match HealthCheckResponse::decode(message) {
        Ok(HealthCheckResponse { status: SERVING }) => Ok(Reading::default()),
        Ok(HealthCheckResponse { status }) => Err(Fail::NotServing(match status {
            0 => "UNKNOWN".to_owned(),
            2 => "NOT_SERVING".to_owned(),
            3 => "SERVICE_UNKNOWN".to_owned(),
            other => format!("in state {other}, which is not known"),
        })),
        Err(error) => Err(Fail::Malformed(error.to_string())),
    }
}

fn broken(error: h2::Error) -> Fail {
    Fail::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_serving_is_well() {
        assert!(serving(&[0, 0, 0, 0, 2, 8, 1]).is_ok());
        for bad in [
            &[0, 0, 0, 0, 2, 8, 2][..],
            &[0, 0, 0, 0, 2, 8, 3],
            &[0, 0, 0, 0, 0],
            &[1, 0, 0, 0, 2, 8, 1],
            &[0, 0, 0, 0, 9, 8, 1],
            &[0, 0, 0, 0, 2, 8],
            &[],
        ] {
            assert!(serving(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_a_failure(bytes: Vec<u8>) {
            let _ = serving(&bytes);
        }
    }
}

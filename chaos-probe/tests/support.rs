//! Servers of the tests' own on loopback, which misbehave in every way.

use std::sync::Arc;
use std::time::Duration;

use chaos_probe::{Direct, Prober, Sample};
use chaos_spec::HealthCheck;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// One sample of a check, as it is written in a spec.
pub async fn sample(check: Value) -> Sample {
    let check: HealthCheck = serde_json::from_value(check).expect("a check");
    prober(&check).sample().await
}

pub fn prober(check: &HealthCheck) -> Prober {
    Prober::new(
        &check.probe,
        &check.expect,
        check.timeout.as_std(),
        Arc::new(Direct),
    )
    .expect("a probe that can be taken")
}

/// Why the sample failed.
#[track_caller]
pub fn why(sample: &Sample) -> String {
    match &sample.outcome {
        Ok(reading) => panic!("it passed: {reading:?}"),
        Err(fail) => fail.to_string(),
    }
}

/// Serves each connection by `serve`, for as long as the test runs; returns the port.
pub async fn server<F>(serve: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> u16
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    port
}

/// A server that answers anything with these bytes, then ends the connection.
pub async fn answering(bytes: impl Into<Vec<u8>>) -> u16 {
    let bytes: Arc<[u8]> = bytes.into().into();
    server(move |mut stream| {
        let bytes = Arc::clone(&bytes);
        async move {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(&bytes).await;
        }
    })
    .await
}

/// An HTTP answer.
pub fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A server that takes connections and says nothing.
pub async fn silent() -> u16 {
    server(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await
}

/// A port on which nobody listens.
pub async fn closed() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("bound").port()
}

/// A timeout is kept, give or take a busy machine.
#[track_caller]
pub fn assert_took(sample: &Sample, timeout: Duration) {
    assert!(
        sample.took >= timeout && sample.took < timeout + Duration::from_millis(400),
        "{:?} for a timeout of {timeout:?}",
        sample.took
    );
}

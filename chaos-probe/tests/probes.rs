//! Every kind of probe against servers that are well, and against those that lie, stall and break.

#[path = "support.rs"]
mod support;

use std::time::{Duration, Instant};

use chaos_spec::HealthCheck;
use proptest::prelude::*;
use serde_json::json;
use support::{answering, assert_took, closed, http, prober, sample, server, silent, why};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const TIMEOUT: Duration = Duration::from_millis(300);

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/healthz")
}

#[tokio::test]
async fn http_that_is_well() {
    let port = answering(http("200 OK", "all is well")).await;
    let taken = sample(json!({"http": {"url": url(port)}, "expect": {"body": "is well"}})).await;
    assert_eq!(taken.outcome.clone().expect("it passes").status, Some(200));
    assert!(taken.took < TIMEOUT);
    let taken = sample(
        json!({"http": {"url": url(port)}, "expect": {"body": {"matches": "^all.*well$"}, "status": "2xx"}}),
    )
    .await;
    assert!(taken.is_well(), "{taken:?}");
    let redirect = answering(http("302 Found", "")).await;
    assert!(sample(json!({"http": {"url": url(redirect)}})).await.is_well());
}

#[tokio::test]
async fn http_sends_what_it_is_told_to() {
    let port = server(|mut stream| async move {
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap_or(0);
        let text = String::from_utf8_lossy(&request[..length]).into_owned();
        let _ = stream.write_all(http("200 OK", &text).as_bytes()).await;
    })
    .await;
    let check = json!({"http": {"url": format!("http://127.0.0.1:{port}/a?b=c"), "method": "POST", "headers": {"X-Shop": "orders", "Host": "shop"}, "send": "ping"},
        "expect": {"body": {"matches": "(?is)^POST /a\\?b=c HTTP/1.1\r\n.*host: shop\r\n.*x-shop: orders\r\n.*\r\n\r\nping$"}}});
    let taken = sample(check).await;
    assert!(taken.is_well(), "{taken:?}");
}

#[tokio::test]
async fn http_that_is_not_well() {
    let port = answering(http("500 Internal Server Error", "")).await;
    assert_eq!(
        why(&sample(json!({"http": {"url": url(port)}})).await),
        "answered HTTP status 500"
    );
    let port = answering(http("200 OK", "all is lost")).await;
    let taken = sample(json!({"http": {"url": url(port)}, "expect": {"body": "well"}})).await;
    assert_eq!(why(&taken), "the answer does not have `well` in it");
    let taken = sample(json!({"http": {"url": url(port)}, "expect": {"status": [201, "3xx"]}})).await;
    assert_eq!(why(&taken), "answered HTTP status 200");
    let refused = why(&sample(json!({"http": {"url": url(closed().await)}})).await);
    assert!(refused.contains("refused"), "{refused}");
    for (bytes, expected) in [
        ("".to_owned(), "broke"),
        ("nonsense\r\n\r\n".to_owned(), "makes no sense"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_owned(),
            "broke",
        ),
        (
            format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(3 << 20)),
            "has more than",
        ),
        (
            format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)),
            "has more than",
        ),
    ] {
        let port = answering(bytes.clone()).await;
        let said = why(&sample(json!({"http": {"url": url(port)}, "timeout": "5s"})).await);
        assert!(
            said.contains(expected),
            "{}: {said}",
            &bytes[..bytes.len().min(40)]
        );
    }
}

#[tokio::test]
async fn http_that_stalls_is_given_up_in_time() {
    let drip = server(|mut stream| async move {
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        while stream.write_all(b"1\r\nx\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    for port in [silent().await, drip] {
        let taken = sample(json!({"http": {"url": url(port)}, "timeout": "300ms"})).await;
        assert_eq!(why(&taken), "no answer within 300ms");
        assert_took(&taken, TIMEOUT);
    }
}

#[tokio::test]
async fn slow_is_a_failure_when_speed_is_expected() {
    let port = server(|mut stream| async move {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let _ = stream.write_all(http("200 OK", "").as_bytes()).await;
    })
    .await;
    let check =
        |latency: &str| json!({"http": {"url": url(port)}, "timeout": "2s", "expect": {"latency": latency}});
    assert!(sample(check("<= 2s")).await.is_well());
    let said = why(&sample(check("<= 50ms")).await);
    assert!(said.ends_with("expected <= 50ms"), "{said}");
}

#[tokio::test]
async fn tcp() {
    let port = silent().await;
    let check = |port: u16| json!({"tcp": {"address": format!("127.0.0.1:{port}")}});
    assert!(sample(check(port)).await.is_well());
    let said = why(&sample(check(closed().await)).await);
    assert!(said.contains("refused"), "{said}");
    assert!(
        sample(json!({"tcp": {"address": format!("localhost:{port}")}, "timeout": "5s"}))
            .await
            .is_well()
    );
}

#[tokio::test]
async fn grpc_that_is_no_grpc() {
    let check = |port: u16| json!({"grpc": {"address": format!("127.0.0.1:{port}")}, "timeout": "300ms"});
    let said = why(&sample(check(answering(http("200 OK", "")).await)).await);
    assert!(said.contains("broke"), "{said}");
    let taken = sample(check(silent().await)).await;
    assert_took(&taken, TIMEOUT);
    assert!(why(&sample(check(closed().await)).await).contains("refused"));
}

#[tokio::test]
async fn prometheus_that_lies() {
    let check = |port: u16| json!({"prometheus": {"url": format!("http://127.0.0.1:{port}"), "query": "a + b"}, "expect": "<= 0.5"});
    let vector = |value: &str| {
        http(
            "200 OK",
            &format!(
                r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{}},"value":[1,"{value}"]}}]}}}}"#
            ),
        )
    };
    let taken = sample(check(answering(vector("0.25")).await)).await;
    assert_eq!(taken.outcome.expect("it passes").value, Some(0.25));
    for (answer, expected) in [
        (vector("0.75"), "the value is 0.75, expected <= 0.5"),
        (vector("NaN"), "the query gives no single number: NaN"),
        (
            http(
                "200 OK",
                r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#,
            ),
            "the query gives no single number: no series",
        ),
        (
            http(
                "400 Bad Request",
                r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#,
            ),
            "the query failed: parse error",
        ),
        (
            http(
                "500 Oops",
                r#"{"status":"success","data":{"resultType":"scalar","result":[1,"0"]}}"#,
            ),
            "the query failed: HTTP status 500",
        ),
        (http("502 Bad Gateway", "<html>"), "answered HTTP status 502"),
        (http("200 OK", "<html>"), "the answer makes no sense"),
        (http("200 OK", "{}"), "the answer makes no sense"),
    ] {
        let said = why(&sample(check(answering(answer).await)).await);
        assert!(said.starts_with(expected), "{said}, not {expected}");
    }
}

#[tokio::test]
async fn dns_without_a_server() {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let server = socket.local_addr().expect("bound");
    let check = json!({"dns": {"name": "a.test", "server": server.to_string()}, "timeout": "300ms"});
    // Others' answers are passed over.
    tokio::spawn(async move {
        let mut question = [0; 512];
        let (length, from) = socket.recv_from(&mut question).await.expect("a question");
        question[0] ^= 0xff;
        let _ = socket.send_to(&question[..length], from).await;
        let _ = socket.send_to(b"", from).await;
        std::future::pending::<()>().await;
    });
    let taken = sample(check.clone()).await;
    assert_took(&taken, TIMEOUT);
    let gone = closed().await;
    let taken = sample(json!({"dns": {"name": "a.test", "server": format!("127.0.0.1:{gone}")}})).await;
    assert!(why(&taken).contains("refused"), "{taken:?}");
}

fn exec(command: &[&str], more: serde_json::Value) -> serde_json::Value {
    let mut check = json!({"exec": {"command": command}, "timeout": "5s"});
    for (field, value) in more.as_object().expect("fields") {
        check[field] = value.clone();
    }
    check
}

#[tokio::test]
async fn programs() {
    let sh = |script: &'static str| exec(&["/bin/sh", "-c", script], json!({}));
    assert!(sample(exec(&["/bin/true"], json!({}))).await.is_well());
    assert_eq!(
        why(&sample(exec(&["/bin/false"], json!({}))).await),
        "the program exits with 1"
    );
    assert_eq!(
        why(&sample(sh("echo gone >&2; exit 3")).await),
        "the program exits with 3: gone"
    );
    assert!(why(&sample(sh("kill -9 $$")).await).contains("was ended"));
    assert!(why(&sample(exec(&["/nowhere/program"], json!({}))).await).contains("cannot be started"));
    let taken = sample(exec(
        &["/bin/echo", "a b; exit 1"],
        json!({"expect": {"body": "a b; exit 1\n"}}),
    ))
    .await;
    assert!(taken.is_well(), "no shell takes it apart: {taken:?}");
    let flood = sample(sh(
        "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done",
    ))
    .await;
    assert!(why(&flood).contains("has more than"), "{flood:?}");
    let quiet = sample(sh(
        "env -0 | tr '\\0' '\\n' | grep -v -e ^PATH= -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD=; true",
    ))
    .await;
    assert!(quiet.is_well());
}

/// Nobody of the group is left, whether the time was over, the sample was given up, or the program had ended.
#[tokio::test]
async fn a_program_takes_its_group_along() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let script = |name: &str, end: &str| {
        let script = format!("sleep 600 & echo $! > {0}.new; mv {0}.new {0}; {end}", at(name));
        let check = json!({"exec": {"command": ["/bin/sh", "-c", script]}, "timeout": "1s"});
        serde_json::from_value::<HealthCheck>(check).expect("a check")
    };
    let gone = async |name: &str| {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let pid = std::fs::read_to_string(at(name)).unwrap_or_default();
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
            if !pid.is_empty() && (stat.is_empty() || stat.contains(") Z ")) {
                return;
            }
            assert!(Instant::now() < deadline, "{name}: {stat}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let late = prober(&script("late", "sleep 600")).sample().await;
    assert_eq!(why(&late), "no answer within 1s");
    gone("late").await;
    assert!(prober(&script("ended", "exit 0")).sample().await.is_well());
    gone("ended").await;
    let given_up = prober(&script("given-up", "sleep 600"));
    let begun = tokio::spawn(async move { given_up.sample().await });
    while std::fs::read_to_string(at("given-up")).is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    begun.abort();
    gone("given-up").await;
}

/// A hundred that hang do not make one wait that is well.
#[tokio::test]
async fn one_that_hangs_delays_no_other() {
    let (silent, well) = (silent().await, answering(http("200 OK", "")).await);
    for _ in 0..100 {
        tokio::spawn(sample(json!({"http": {"url": url(silent)}, "timeout": "20s"})));
    }
    for _ in 0..20 {
        let taken = sample(json!({"http": {"url": url(well)}})).await;
        assert!(
            taken.is_well() && taken.took < Duration::from_millis(200),
            "{taken:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever a server sends: a decision, in time.
    #[test]
    fn any_bytes_are_an_answer_or_a_failure(bytes in proptest::collection::vec(any::<u8>(), 0..600), as_http: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let bytes = if as_http { [b"HTTP/1.1 200 OK\r\n".to_vec(), bytes].concat() } else { bytes };
            let port = answering(bytes).await;
            let start = Instant::now();
            for check in [
                json!({"http": {"url": url(port)}, "timeout": "300ms", "expect": {"body": "\u{1}\u{2}\u{3} never"}}),
                json!({"grpc": {"address": format!("127.0.0.1:{port}")}, "timeout": "300ms"}),
                json!({"prometheus": {"url": url(port), "query": "up"}, "timeout": "300ms", "expect": "== 1"}),
            ] {
                assert!(!sample(check).await.is_well());
            }
            assert!(start.elapsed() < Duration::from_secs(3));
        });
    }
}

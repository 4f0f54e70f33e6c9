//! Whatever a client sends: an answer in its form, in a moment, and a daemon that goes on.

use std::path::Path;
use std::time::{Duration, Instant};

use chaos_fuzz::{Bytes, cases, corpus, damaged};
use proptest::prelude::*;
use proptest::sample::select;
use tokio::runtime::Runtime;

use super::*;

/// Far more than any of these takes; what hangs takes longer.
const MOMENT: Duration = Duration::from_secs(60);
/// An answer quotes what was wrong, in short.
const LARGEST: usize = 2 << 20;

/// The documents of the spec's corpus that neither look up names nor take probes.
fn documents() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../chaos-spec/tests/corpus/faults");
    let mut documents: Vec<_> = corpus(folder).into_iter().map(|(_, text)| text).collect();
    documents.retain(|text| {
        let text = String::from_utf8_lossy(text);
        !text.contains("hosts:") && !text.contains("health:")
    });
    assert!(documents.len() >= 4);
    documents
}

struct Lab {
    runtime: Runtime,
    bench: Bench,
    router: Router,
}

impl Lab {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let _inside = runtime.enter();
        let bench = Bench::new();
        let router = router(&bench);
        drop(_inside);
        Self {
            runtime,
            bench,
            router,
        }
    }

    /// Sends it and looks at the answer. What is no request at all is answered by the HTTP library.
    fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) {
        if axum::http::Uri::try_from(path).is_err() || header::HeaderValue::from_str(kind).is_err() {
            return;
        }
        let began = Instant::now();
        let answer = self
            .runtime
            .block_on(send(&self.router, method, path, kind, body.to_vec()));
        assert!(
            began.elapsed() < MOMENT,
            "{method} {path} took {:?}",
            began.elapsed()
        );
        assert!(
            answer.body.len() < LARGEST,
            "{} bytes of answer",
            answer.body.len()
        );
        if answer.status >= 400 {
            // This bench keeps no history, and says so.
            let is_known = answer.status == 503 && path.starts_with("/v1/history");
            assert!(
                answer.status < 500 || is_known,
                "{method} {path}: {}",
                answer.text()
            );
            let problem = answer.problem(answer.status);
            let detail = problem.detail.as_str();
            assert!(!detail.is_empty(), "{method} {path}: {}", answer.text());
            for error in &problem.errors {
                assert!(!error.message.is_empty() && !error.remedy.is_empty(), "{error:?}");
            }
        }
    }
}

impl Drop for Lab {
    /// After everything it still serves, and ends when it is told to.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let alive = self.runtime.block_on(async {
            let ready = get(&self.router, "/readyz").await.status;
            self.bench.engine.shutdown().await;
            (ready, self.bench.fake.armed())
        });
        assert_eq!(alive, (200, 0));
    }
}

fn kinds() -> impl Strategy<Value = &'static str> {
    select(vec![
        "application/json",
        "application/yaml",
        "text/yaml; charset=utf-16",
        "application/problem+json",
        "application/x-www-form-urlencoded",
        "",
        ";;;",
        "image/png",
    ])
}

fn lookups() -> Vec<Vec<u8>> {
    let paths = [
        "/v1/faults/slow-orders-db",
        "/v1/faults?dryRun=true",
        "/v1/faults/%ff%00?dryRun=maybe",
        "/v1/history?name=a&since=2026-01-31T12:00:00Z&until=2026-02-01T00:00:00Z&before=9&limit=100",
        "/v1/node",
        "/v1/approvals",
        "/metrics",
        "/openapi.json",
        "/v1/plan",
        "/livez",
    ];
    paths.iter().map(|path| path.as_bytes().to_vec()).collect()
}

#[test]
fn damaged_bodies_get_an_answer() {
    let lab = Lab::new();
    proptest!(cases(120), |(
        body in damaged(documents()), kind in kinds(), method in select(vec!["POST", "PUT"]),
        path in select(vec!["/v1/faults", "/v1/plan", "/v1/faults?dryRun=true", "/v1/faults/a"]),
    )| {
        lab.ask(method, path, kind, &body.0);
    });
}

#[test]
fn damaged_requests_get_an_answer() {
    let lab = Lab::new();
    proptest!(cases(200), |(
        Bytes(path) in damaged(lookups()), method in select(vec!["GET", "HEAD", "DELETE", "OPTIONS", "PATCH"]),
    )| {
        let path = String::from_utf8_lossy(&path).into_owned();
        // A stream of events has no end to wait for.
        prop_assume!(path.starts_with('/') && !path.starts_with("/v1/events") && !path.starts_with("/v1/halt"));
        if method != "HEAD" {
            lab.ask(method, &path, "", b"");
        }
    });
}

#[test]
fn damaged_approvals_and_halts_get_an_answer() {
    let lab = Lab::new();
    let bodies = [
        r#"{"plan": "0123456789abcdef", "reason": "known"}"#,
        r#"{"reason": "fire"}"#,
    ];
    let bodies: Vec<_> = bodies.iter().map(|body| body.as_bytes().to_vec()).collect();
    proptest!(cases(40), |(body in damaged(bodies.clone()))| {
        lab.ask("POST", "/v1/approvals", "application/json", &body.0);
        // Whatever it says, it is a halt.
        lab.ask("POST", "/v1/halt", "application/json", &body.0);
        assert!(lab.bench.engine.halt_state().halted);
    });
    lab.ask("DELETE", "/v1/halt", "", b"");
    assert!(!lab.bench.engine.halt_state().halted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reason_of_megabytes_is_kept_in_short() {
    let bench = Bench::new();
    let router = router(&bench);
    for name in ["a", "b"] {
        assert_eq!(post(&router, "/v1/faults", &json(name)).await.status, 200);
    }
    let reason = "x".repeat(3 << 20);
    let halted: HaltState = post(&router, "/v1/halt", &format!(r#"{{"reason": "{reason}"}}"#))
        .await
        .read();
    assert!(halted.reason.unwrap().len() < 2000);
    let faults = get(&router, "/v1/faults").await;
    assert!(faults.body.len() < 20_000, "{} bytes", faults.body.len());
    let (events, _) = bench.engine.subscribe(Some(0));
    assert!(events.iter().all(|event| event.message.len() < 5000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halt_does_not_wait_for_bodies_that_are_being_read() {
    let bench = Bench::new();
    let router = router(&bench);
    // As much work as a body can be.
    let list = format!("[{}]", vec!["a"; 50_000].join(", "));
    let reading: Vec<_> = (0..8)
        .map(|_| {
            let (router, list) = (router.clone(), list.clone());
            tokio::spawn(async move {
                send(&router, "POST", "/v1/plan", "application/yaml", list)
                    .await
                    .status
            })
        })
        .collect();
    tokio::task::yield_now().await;
    let halted: HaltState = post(&router, "/v1/halt", "{}").await.read();
    let waiting = reading.iter().filter(|reading| !reading.is_finished()).count();
    assert!(
        halted.halted && waiting > 0,
        "{waiting} bodies were still being read"
    );
    for reading in reading {
        assert_eq!(reading.await.unwrap(), 400);
    }
}

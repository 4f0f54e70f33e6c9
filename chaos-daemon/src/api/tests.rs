mod hostile;

use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use chaos_spec::api::{FaultList, FaultView, HaltState, NodeInfo, Phase, Plan, Problem};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tower::ServiceExt;

use super::{Access, Api, ApiSocket, Doors};
use crate::engine::fake::{Bench, eventually, fault};
use crate::experiments::Experiments;
use crate::safety::{Caller, UnixPeer};
use crate::schedules::Schedules;

fn api(bench: &Bench) -> Api {
    let experiments = Experiments::open(bench.engine.clone(), bench.dir.path());
    let policy = std::sync::Arc::<crate::safety::PolicyKeeper>::default();
    let schedules = Schedules::open(
        bench.engine.clone(),
        experiments.clone(),
        std::sync::Arc::clone(&policy),
        bench.dir.path(),
    );
    Api::new(bench.engine.clone(), experiments, schedules, policy).unwrap()
}

fn router(bench: &Bench) -> Router {
    api(bench).router()
}

struct Answer {
    status: u16,
    kind: String,
    body: Vec<u8>,
}

impl Answer {
    fn read<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A refusal of this status, in its form.
    fn problem(&self, status: u16) -> Problem {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.kind, "application/problem+json");
        let problem: Problem = self.read();
        assert_eq!(problem.status, status);
        assert!(!problem.instance.is_empty() && !problem.title.is_empty());
        problem
    }
}

async fn send(router: &Router, method: &str, path: &str, kind: &str, body: impl Into<Body>) -> Answer {
    let caller = Caller::Unix(UnixPeer {
        uid: 0,
        gid: 8,
        pid: Some(9),
        user: Some("tester".to_owned()),
        ..UnixPeer::default()
    });
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, kind)
        .extension(caller)
        .body(body.into())
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let kind = response
        .headers()
        .get(header::CONTENT_TYPE)
        .map(|kind| kind.to_str().unwrap().to_owned());
    Answer {
        status: response.status().as_u16(),
        kind: kind.unwrap_or_default(),
        body: response.into_body().collect().await.unwrap().to_bytes().to_vec(),
    }
}

async fn get(router: &Router, path: &str) -> Answer {
    send(router, "GET", path, "", Body::empty()).await
}

async fn post(router: &Router, path: &str, body: &str) -> Answer {
    send(router, "POST", path, "application/json", body.to_owned()).await
}

fn json(name: &str) -> String {
    serde_json::to_string(&fault(name, 60)).unwrap()
}

const YAML: &str = "apiVersion: chaos-daemon.dev/v1alpha1
kind: NetworkFault
metadata: {name: from-yaml}
spec:
  target: {netns: blue}
  fault: {drop: {chance: 30%}}
  duration: 1m
";

#[tokio::test(flavor = "multi_thread")]
async fn faults_come_and_go() {
    let bench = Bench::new();
    let router = router(&bench);
    let list: FaultList = post(&router, "/v1/faults", &json("a")).await.read();
    assert_eq!(list.items.len(), 1);
    let both = format!(r#"{{"items": [{}, {}]}}"#, json("b"), json("c"));
    assert_eq!(
        post(&router, "/v1/faults", &both)
            .await
            .read::<FaultList>()
            .items
            .len(),
        2
    );
    for kind in [
        "application/yaml",
        "text/yaml; charset=utf-8",
        "application/x-www-form-urlencoded",
        "",
    ] {
        let answer = send(&router, "POST", "/v1/faults", kind, YAML).await;
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text());
    }
    assert_eq!(
        get(&router, "/v1/faults").await.read::<FaultList>().items.len(),
        4
    );
    let put = send(&router, "PUT", "/v1/faults/a", "application/json", json("a")).await;
    assert_eq!(put.read::<FaultView>().metadata.name, "a");
    let gone: FaultView = send(&router, "DELETE", "/v1/faults/a", "", Body::empty())
        .await
        .read();
    assert_eq!(gone.status.phase, Phase::Ended);
    assert_eq!(get(&router, "/v1/faults/a").await.read::<FaultView>(), gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_changes_nothing() {
    let bench = Bench::new();
    let router = router(&bench);
    assert_eq!(
        post(&router, "/v1/plan", &json("a")).await.read::<Plan>().faults[0].name,
        "a"
    );
    assert_eq!(
        post(&router, "/v1/faults?dryRun=true", &json("a"))
            .await
            .read::<Plan>()
            .faults
            .len(),
        1
    );
    post(&router, "/v1/faults?dryRun=maybe", &json("a"))
        .await
        .problem(400);
    assert_eq!(bench.fake.armed(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_says_what_is_wrong() {
    let bench = Bench::new();
    let router = router(&bench);
    let broken = post(&router, "/v1/faults", "{\n  \"kind\": oops}")
        .await
        .problem(400);
    assert_eq!(
        (broken.errors[0].line, broken.errors[0].column.is_some()),
        (Some(2), true)
    );
    post(&router, "/v1/faults", "").await.problem(400);
    send(&router, "POST", "/v1/faults", "application/yaml", "a: [b")
        .await
        .problem(400);
    send(&router, "POST", "/v1/faults", "image/png", "x")
        .await
        .problem(415);
    let much = json("a").replace("10%", "130%");
    let much = post(&router, "/v1/faults", &much).await.problem(422);
    assert_eq!(much.errors[0].pointer, "/spec/fault/drop/chance");
    assert!(!much.errors[0].remedy.is_empty());
    assert!(much.kind.ends_with(":invalid"));
    let lost = json("a").replace("blue", "nowhere");
    assert_eq!(
        post(&router, "/v1/faults", &lost).await.problem(422).errors[0].pointer,
        "/spec/target"
    );
    let lost = format!(r#"{{"items": [{}, {lost}]}}"#, json("b"));
    let lost = post(&router, "/v1/faults", &lost).await.problem(422);
    assert_eq!(lost.errors[0].pointer, "/items/1/spec/target");
    assert_eq!(lost.errors[0].fault.as_deref(), Some("a"));
    get(&router, "/v1/faults/a").await.problem(404);
    get(&router, "/v2").await.problem(404);
    get(&router, "/v1/faults/%ff").await.problem(400);
    send(&router, "PATCH", "/v1/faults", "", Body::empty())
        .await
        .problem(405);
    let other = send(&router, "PUT", "/v1/faults/b", "application/json", json("a"))
        .await
        .problem(422);
    assert_eq!(other.errors[0].pointer, "/metadata/name");
    bench.fake.state().refuse_arm = true;
    assert!(
        post(&router, "/v1/faults", &json("a"))
            .await
            .problem(422)
            .kind
            .ends_with(":unsupported")
    );
    assert_eq!(bench.fake.armed(), 0);
    assert!(bench.engine.list().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halt_is_called_told_and_released() {
    let bench = Bench::new();
    let router = router(&bench);
    let halted: HaltState = post(&router, "/v1/halt", r#"{"reason": "fire"}"#).await.read();
    assert_eq!(halted.reason.as_deref(), Some("fire"));
    assert!(
        post(&router, "/v1/faults", &json("a"))
            .await
            .problem(409)
            .kind
            .ends_with(":halted")
    );
    assert!(get(&router, "/v1/node").await.read::<NodeInfo>().halt.halted);
    assert_eq!(get(&router, "/readyz").await.status, 200);
    let free: HaltState = send(&router, "DELETE", "/v1/halt", "", Body::empty())
        .await
        .read();
    assert!(!free.halted);
    // Neither nonsense nor nothing keeps a halt from being one.
    assert!(post(&router, "/v1/halt", "").await.read::<HaltState>().halted);
    assert!(
        post(&router, "/v1/halt", "{nonsense")
            .await
            .read::<HaltState>()
            .halted
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics() {
    let bench = Bench::new();
    let router = router(&bench);
    post(&router, "/v1/faults", &json("a")).await;
    assert_eq!(get(&router, "/livez").await.status, 200);
    assert_eq!(get(&router, "/readyz").await.status, 200);
    get(&router, "/nothing").await;
    let text = get(&router, "/metrics").await.text();
    for line in [
        r#"chaos_fault_packets_total{fault="a",outcome="dropped"} 0"#,
        r#"chaos_faults{phase="Active"} 1"#,
        r#"chaos_api_requests_total{method="POST",route="/v1/faults",status="200"} 1"#,
        r#"chaos_api_requests_total{method="GET",route="other",status="404"} 1"#,
        r#"chaos_datapath_packets_total{event="guarded"} 3"#,
        "chaos_halted 0",
        "chaos_lease_seconds 2",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
    bench.engine.shutdown().await;
    assert_eq!(get(&router, "/livez").await.status, 200);
    assert_eq!(
        get(&router, "/readyz").await.problem(503).errors[0].pointer,
        "/engine"
    );
    get(&router, "/v1/faults").await.problem(503);
}

/// A served socket.
struct Served {
    path: PathBuf,
    _dir: tempfile::TempDir,
    _stop: watch::Sender<bool>,
}

fn served(bench: &Bench) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.sock");
    let socket = ApiSocket::bind(&path, &Access::OwnUser).unwrap();
    let (stop, stopped) = watch::channel(false);
    let doors = Doors {
        socket,
        mtls: Vec::new(),
        tokens: Vec::new(),
    };
    tokio::spawn(api(bench).serve(doors, stopped));
    Served {
        path,
        _dir: dir,
        _stop: stop,
    }
}

/// Sends bytes, says that that was all, and reads everything that comes back.
async fn talk(served: &Served, parts: &[&[u8]]) -> String {
    let mut stream = UnixStream::connect(&served.path).await.unwrap();
    for part in parts {
        stream.write_all(part).await.unwrap();
    }
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_is_refused_whether_it_is_announced_or_not() {
    let bench = Bench::new();
    let served = served(&bench);
    let blob = vec![b' '; 64 << 20];
    let head = format!(
        "POST /v1/faults HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        blob.len()
    );
    let answer = talk(&served, &[head.as_bytes(), &blob]).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let head = "POST /v1/faults HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = format!("{:x}\r\n", blob.len());
    let answer = talk(
        &served,
        &[head.as_bytes(), chunk.as_bytes(), &blob, b"\r\n0\r\n\r\n"],
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("application/problem+json"));
    let asked =
        "POST /v1/faults HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 99999999\r\n\r\n";
    assert!(
        talk(&served, &[asked.as_bytes()])
            .await
            .starts_with("HTTP/1.1 413 ")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_cut_short_changes_nothing() {
    let bench = Bench::new();
    let served = served(&bench);
    let body = json("a");
    let head = format!(
        "POST /v1/faults HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        body.len() + 1
    );
    let answer = talk(&served, &[head.as_bytes(), body.as_bytes()]).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(bench.fake.armed(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_are_known_by_their_credentials() {
    let bench = Bench::new();
    let served = served(&bench);
    let body = json("a");
    let request = format!(
        "POST /v1/faults HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = talk(&served, &[request.as_bytes()]).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let (events, _) = bench.engine.subscribe(Some(0));
    let uid = nix::unistd::getuid();
    assert!(
        events
            .iter()
            .any(|event| event.message.contains(&format!("(uid {uid}, "))),
        "{events:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_streamed_and_caught_up_with() {
    let bench = Bench::new();
    let served = served(&bench);
    bench
        .engine
        .apply(vec![fault("a", 60)], Caller::Signal)
        .await
        .unwrap();
    let mut stream = UnixStream::connect(&served.path).await.unwrap();
    stream
        .write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\nlast-event-id: 1\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    let mut read_until = async |word: &str| {
        while !text.contains(word) {
            let mut piece = [0; 4096];
            let length = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut piece))
                .await
                .unwrap()
                .unwrap();
            assert!(length > 0, "the stream ended before {word}: {text}");
            text.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
    };
    read_until("event: FaultActive").await;
    read_until("id: 2").await;
    bench.engine.delete("a", Caller::Signal).await.unwrap();
    read_until("event: FaultEnded").await;
    bench.engine.shutdown().await;
    read_until("event: DaemonStopping").await;
    read_until("\r\n0\r\n\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halt_is_one_even_when_the_caller_hangs_up() {
    let bench = Bench::new();
    let served = served(&bench);
    bench
        .engine
        .apply(vec![fault("a", 60)], Caller::Signal)
        .await
        .unwrap();
    let mut stream = UnixStream::connect(&served.path).await.unwrap();
    stream
        .write_all(b"POST /v1/halt HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{")
        .await
        .unwrap();
    drop(stream);
    eventually("the halt", async || {
        bench.engine.halt_state().halted && bench.fake.armed() == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_seats_are_told_so() {
    let bench = Bench::new();
    let served = served(&bench);
    let mut seats = Vec::new();
    for _ in 0..256 {
        seats.push(UnixStream::connect(&served.path).await.unwrap());
    }
    let request = b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut late = UnixStream::connect(&served.path).await.unwrap();
    let mut answer = String::new();
    late.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    drop(seats);
    eventually("a free seat", async || {
        talk(&served, &[request]).await.starts_with("HTTP/1.1 200 ")
    })
    .await;
}

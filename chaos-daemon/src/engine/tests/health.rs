//! Faults with health checks, on a kernel made of memory.

use std::time::{Duration, Instant};

use chaos_spec::api::{HealthState, Phase, Reason};
use chaos_spec::{ExecProbe, HealthCheck, NetworkFault, Probe, TcpProbe};
use tokio::net::TcpListener;

use super::super::fake::{Bench, eventually, fault};
use super::super::{EngineError, Why};
use super::{ended, me};

/// A check of a port, every 10 ms, which fails at the second refusal.
pub(super) fn port(port: u16) -> HealthCheck {
    let mut check = HealthCheck::new(Probe::Tcp(TcpProbe {
        address: format!("127.0.0.1:{port}").parse().unwrap(),
    }));
    check.interval = chaos_spec::Duration::from_millis(10);
    check.failure_threshold = 2;
    check
}

pub(super) fn checked(name: &str, checks: Vec<HealthCheck>) -> NetworkFault {
    let mut fault = fault(name, 60);
    fault.spec.safety.health = checks;
    fault
}

async fn server() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_refusal_ends_it_and_says_how_soon() {
    let bench = Bench::new();
    let (listener, open) = server().await;
    bench
        .engine
        .apply(vec![checked("a", vec![port(open)])], me())
        .await
        .unwrap();
    eventually("some samples", async || {
        bench.engine.get("a").await.unwrap().status.health[0].samples > 3
    })
    .await;
    let active = bench.engine.get("a").await.unwrap();
    assert_eq!(
        (active.status.phase, active.status.health[0].state),
        (Phase::Active, HealthState::Well)
    );
    drop(listener);
    let view = ended(&bench, "a").await;
    assert_eq!(view.status.reason, Some(Reason::Health));
    let health = &view.status.health[0];
    assert_eq!((health.state, health.failures), (HealthState::Failed, 2));
    assert!(health.last.iter().rev().take(2).all(|sample| !sample.well));
    assert!(health.detached_after.unwrap().as_std() < Duration::from_millis(50));
    let message = view.status.message.unwrap();
    assert!(
        message.contains("failed 2 times: cannot connect to 127.0.0.1"),
        "{message}"
    );
    assert_eq!(bench.fake.armed(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_steady_state_nothing_starts() {
    let bench = Bench::new();
    let (listener, closed) = server().await;
    drop(listener);
    let faults = vec![fault("plain", 60), checked("b", vec![port(closed)])];
    let refused = bench.engine.apply(faults, me()).await.unwrap_err();
    let EngineError::Unsteady(refused) = refused else {
        panic!("{refused}");
    };
    let Why::Spec(error) = &refused[0].why else {
        panic!("{refused:?}");
    };
    assert_eq!(
        (refused[0].index, error.path.to_string()),
        (1, "spec.safety.health[0]".to_owned())
    );
    assert_eq!(bench.fake.state().arm_calls, 0);
    assert!(bench.engine.list().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_for_root_only() {
    let bench = Bench::new();
    let check = HealthCheck::new(Probe::Exec(ExecProbe {
        command: vec!["/bin/true".to_owned()],
    }));
    let refused = bench
        .engine
        .apply(vec![checked("c", vec![check])], me())
        .await
        .unwrap_err();
    assert!(matches!(refused, EngineError::Invalid(_)), "{refused}");
    assert!(refused.to_string().contains("is not root"), "{refused}");
}

/// A check that hangs is given up when its fault is deleted, and neither delays the other.
#[tokio::test(flavor = "multi_thread")]
async fn deletion_ends_checks_that_hang() {
    let bench = Bench::new();
    let (_listener, open) = server().await;
    let hung = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut hangs = port(open);
    hangs.probe = serde_json::from_value::<HealthCheck>(serde_json::json!({
        "dns": {"name": "a.test", "server": hung.local_addr().unwrap().to_string()}
    }))
    .unwrap()
    .probe;
    hangs.timeout = chaos_spec::Duration::from_secs(30);
    // The first question is answered, so that the fault starts; the others are not.
    let answer = async {
        let mut question = [0; 512];
        let (length, from) = hung.recv_from(&mut question).await.unwrap();
        let mut answer = question[..length].to_vec();
        // A response with one answer: the name again, type A, class IN, 60 s, 127.0.0.1.
        answer[2] |= 0x80;
        answer[7] = 1;
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
        hung.send_to(&answer, from).await.unwrap();
    };
    let both = checked("d", vec![hangs, port(open)]);
    let (applied, ()) = tokio::join!(bench.engine.apply(vec![both], me()), answer);
    applied.unwrap();
    eventually("the other is taken", async || {
        bench.engine.get("d").await.unwrap().status.health[1].samples > 10
    })
    .await;
    let start = Instant::now();
    let view = bench.engine.delete("d", me()).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(view.status.reason, Some(Reason::Deleted));
    assert_eq!(view.status.health[0].samples, 1);
}

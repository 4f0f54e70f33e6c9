//! Ends that are asked for while the engine's thread is inside the kernel.

use std::time::{Duration, Instant};

use chaos_spec::api::{Phase, Reason};
use tokio::net::TcpListener;

use super::super::fake::{Bench, eventually, fault};
use super::health::{checked, port};
use super::{apply_one, ended, me};

/// So long the thread is away.
const SLOW: Duration = Duration::from_millis(1500);

/// Has the thread attach something slowly, and waits until it does.
async fn busy(bench: &Bench) -> tokio::task::JoinHandle<Instant> {
    bench.fake.state().slow = SLOW;
    let engine = bench.engine.clone();
    let other = tokio::spawn(async move {
        engine.apply(vec![fault("other", 60)], me()).await.unwrap();
        Instant::now()
    });
    eventually("the thread is away", async || bench.fake.state().away).await;
    other
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_fault_acts_no_more_while_the_thread_is_away() {
    let bench = Bench::new();
    let a = apply_one(&bench, fault("a", 60)).await;
    apply_one(&bench, fault("b", 60)).await;
    let other = busy(&bench).await;
    let asked = Instant::now();
    let view = bench.engine.delete("a", me()).await.unwrap();
    assert_eq!(
        (view.status.phase, view.status.reason),
        (Phase::Ended, Some(Reason::Deleted))
    );
    let applied = other.await.unwrap();
    let pulled = bench.fake.state().pulled.clone();
    assert_eq!(pulled.len(), 1, "{pulled:?}: {a:?} alone");
    let pulled = *pulled.values().next().unwrap();
    assert!(
        asked <= pulled && pulled + SLOW / 3 < applied,
        "{asked:?} {pulled:?} {applied:?}"
    );
    assert_eq!(bench.engine.get("b").await.unwrap().status.phase, Phase::Active);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_check_stops_its_own_fault_while_the_thread_is_away() {
    let bench = Bench::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (name, listener) in [("a", &listener), ("b", &other_listener)] {
        let open = listener.local_addr().unwrap().port();
        apply_one(&bench, checked(name, vec![port(open)])).await;
    }
    let other = busy(&bench).await;
    drop(listener);
    let view = ended(&bench, "a").await;
    assert_eq!(view.status.reason, Some(Reason::Health));
    let applied = other.await.unwrap();
    let pulled = bench.fake.state().pulled.clone();
    assert_eq!(pulled.len(), 1);
    assert!(*pulled.values().next().unwrap() + SLOW / 3 < applied);
    // It is told how soon the traffic was as it was, not how soon the thread was back.
    let took = view.status.health[0].detached_after.unwrap().as_std();
    assert!(took < SLOW / 3, "{took:?}");
    assert_eq!(bench.engine.get("b").await.unwrap().status.phase, Phase::Active);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_is_there_ends_faults_itself() {
    let bench = Bench::new();
    for n in 0..20 {
        let name = format!("f{n}");
        apply_one(&bench, fault(&name, 60)).await;
        bench.engine.delete(&name, me()).await.unwrap();
    }
    // One may have come late on a busy machine.
    let late = bench.fake.state().pulled.len();
    assert!(late < 5, "{late} of 20");
}

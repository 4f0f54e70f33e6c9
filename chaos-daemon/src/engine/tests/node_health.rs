//! The checks that a policy asks for on the node.

use std::net::SocketAddr;

use chaos_spec::api::{Phase, Reason};
use tokio::net::TcpListener;

use super::super::EngineError;
use super::super::fake::{Bench, eventually, fault};
use super::{ended, me};
use crate::safety::PolicyKeeper;

/// A node that has to answer at an address.
fn needs(address: SocketAddr) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.yaml");
    let text = format!(
        "apiVersion: chaos-daemon.dev/v1alpha1\nkind: Policy\nhealth:\n- {{name: front, tcp: {{address: '{address}'}}, interval: 10ms, failureThreshold: 2}}\n"
    );
    std::fs::write(&file, text).unwrap();
    Bench::with_policy(dir, PolicyKeeper::load(Some(file)).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_node_needs_is_looked_at_for_every_fault_and_ends_them_all() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let bench = needs(address);
    let faults = vec![fault("a", 60), fault("b", 60)];
    let views = bench.engine.apply(faults, me()).await.unwrap();
    assert!(views.iter().all(|view| view.status.health[0].name == "front"));
    eventually("samples", async || {
        bench.engine.get("b").await.unwrap().status.health[0].samples > 3
    })
    .await;
    assert_eq!(bench.engine.get("a").await.unwrap().status.phase, Phase::Active);
    drop(listener);
    for name in ["a", "b"] {
        let view = ended(&bench, name).await;
        assert_eq!(view.status.reason, Some(Reason::Health));
        let message = view.status.message.unwrap();
        assert!(
            message.starts_with("on this node, the health check `front` failed 2 times"),
            "{message}"
        );
    }
    let refused = bench.engine.apply(vec![fault("c", 60)], me()).await.unwrap_err();
    assert!(matches!(refused, EngineError::NodeUnsteady { .. }), "{refused}");
    assert!(refused.to_string().contains("policy.yaml:4:3"), "{refused}");
    assert_eq!(bench.fake.armed(), 0);
}

/// A fault whose end the kernel has refused so far keeps its checks alive; they have said what they had to say.
#[tokio::test(flavor = "multi_thread")]
async fn checks_that_have_failed_watch_over_no_later_fault() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let bench = needs(address);
    bench.engine.apply(vec![fault("old", 60)], me()).await.unwrap();
    bench.fake.state().refuse_disarm = true;
    drop(listener);
    eventually("the old fault was to end", async || {
        bench.fake.state().disarm_calls > 0
    })
    .await;
    let listener = TcpListener::bind(address).await.unwrap();
    bench.engine.apply(vec![fault("new", 60)], me()).await.unwrap();
    let health = async |name: &str| bench.engine.get(name).await.unwrap().status.health[0].clone();
    eventually("the new fault is looked after", async || {
        health("new").await.samples > 3
    })
    .await;
    assert_eq!(health("new").await.failed, 0);
    assert!(health("old").await.failed >= 2);
    assert_eq!(bench.engine.get("new").await.unwrap().status.phase, Phase::Active);
    bench.fake.state().refuse_disarm = false;
    drop(listener);
    for name in ["old", "new"] {
        let view = ended(&bench, name).await;
        assert_eq!(view.status.reason, Some(Reason::Health), "{name}");
    }
    assert_eq!(bench.fake.armed(), 0);
}

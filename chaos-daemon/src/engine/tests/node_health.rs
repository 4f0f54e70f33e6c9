//! The checks that a policy asks for on the node.

use chaos_spec::api::{Phase, Reason};
use tokio::net::TcpListener;

use super::super::EngineError;
use super::super::fake::{Bench, eventually, fault};
use super::{ended, me};
use crate::safety::PolicyKeeper;

#[tokio::test(flavor = "multi_thread")]
async fn what_the_node_needs_is_looked_at_for_every_fault_and_ends_them_all() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.yaml");
    let text = format!(
        "apiVersion: chaos-daemon.dev/v1alpha1\nkind: Policy\nhealth:\n- {{name: front, tcp: {{address: '{address}'}}, interval: 10ms, failureThreshold: 2}}\n"
    );
    std::fs::write(&file, text).unwrap();
    let bench = Bench::with_policy(dir, PolicyKeeper::load(Some(file.clone())).unwrap());
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

mod braking;
mod health;
mod node_health;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chaos_spec::api::{EventKind, FaultView, Packets, Phase, Reason};
use chaos_spec::{NetworkFault, Safety};

use super::fake::{Bench, eventually, fault, somewhere};
use super::{ENDED_KEPT, EngineError, Why};
use crate::datapath::FaultId;
use crate::safety::{Caller, PolicyKeeper, UnixPeer};
use crate::target::Liveness;

fn me() -> Caller {
    Caller::Unix(UnixPeer {
        uid: 7,
        gid: 8,
        pid: Some(9),
        user: Some("tester".to_owned()),
        ..UnixPeer::default()
    })
}

async fn ended(bench: &Bench, name: &str) -> FaultView {
    eventually("the end", async || {
        bench.engine.get(name).await.unwrap().status.phase == Phase::Ended
    })
    .await;
    bench.engine.get(name).await.unwrap()
}

fn apply_one(bench: &Bench, fault: NetworkFault) -> impl Future<Output = FaultView> + use<> {
    let engine = bench.engine.clone();
    async move { engine.apply(vec![fault], me()).await.unwrap().remove(0) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_starts_is_counted_and_is_deleted() {
    let bench = Bench::new();
    let view = apply_one(&bench, fault("a", 60)).await;
    assert_eq!(view.status.phase, Phase::Active);
    assert!(view.status.seed.is_some());
    assert_eq!(view.status.attachments.len(), 1);
    let length = view
        .status
        .ends_at
        .unwrap()
        .duration_since(view.status.started_at.unwrap());
    assert_eq!(length.as_secs(), 60);
    let counted = Packets {
        matched: 5,
        dropped: 2,
        passed: 3,
        ..Packets::default()
    };
    bench.fake.state().packets.insert(FaultId(1), counted);
    assert_eq!(bench.engine.get("a").await.unwrap().status.packets, counted);
    let last = bench.engine.delete("a", me()).await.unwrap();
    assert_eq!(
        (last.status.phase, last.status.reason),
        (Phase::Ended, Some(Reason::Deleted))
    );
    assert_eq!(last.status.packets, counted);
    assert!(
        last.status
            .message
            .unwrap()
            .contains("tester (uid 7, gid 8, pid 9)")
    );
    assert_eq!(bench.fake.armed(), 0);
    // Deleting what has ended changes nothing, and what never was is not there.
    assert_eq!(
        bench.engine.delete("a", me()).await.unwrap().status.reason,
        Some(Reason::Deleted)
    );
    assert!(matches!(
        bench.engine.delete("b", me()).await,
        Err(EngineError::NoSuchFault(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_spec_again_is_left_alone_and_another_is_changed_in_place() {
    let bench = Bench::new();
    let first = apply_one(&bench, fault("a", 60)).await;
    let again = apply_one(&bench, fault("a", 60)).await;
    assert_eq!(again, first);
    assert_eq!(bench.fake.state().arm_calls, 1);
    let changed = apply_one(&bench, fault("a", 90)).await;
    assert_eq!(changed.status.seed, first.status.seed);
    assert_eq!(changed.status.started_at, first.status.started_at);
    assert!(changed.status.ends_at > first.status.ends_at);
    assert_eq!(bench.fake.armed(), 1);
    let seeded = {
        let mut seeded = fault("a", 90);
        seeded.spec.seed = Some(42);
        apply_one(&bench, seeded).await
    };
    assert_eq!(seeded.status.seed, Some(42));
    let kinds: Vec<_> = bench
        .engine
        .subscribe(Some(0))
        .0
        .iter()
        .map(|event| event.kind)
        .collect();
    assert_eq!(
        kinds,
        [
            EventKind::DaemonStarted,
            EventKind::FaultActive,
            EventKind::FaultChanged,
            EventKind::FaultChanged
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_ends_a_fault_in_time() {
    let bench = Bench::new();
    let mut short = fault("short", 1);
    short.spec.duration = chaos_spec::Duration::from_millis(300);
    let view = apply_one(&bench, short).await;
    let last = ended(&bench, "short").await;
    assert_eq!(last.status.reason, Some(Reason::Deadline));
    let late = last
        .status
        .ended_at
        .unwrap()
        .duration_since(view.status.ends_at.unwrap());
    assert!(late.as_millis() >= 0 && late.as_millis() <= 50, "{late}");
    assert_eq!(bench.fake.armed(), 0);
}

/// Verifying and attaching takes seconds on a slow host: none of it is part of the fault's time.
#[tokio::test(flavor = "multi_thread")]
async fn a_duration_counts_from_when_the_fault_acts() {
    let bench = Bench::new();
    bench.fake.state().slow = Duration::from_millis(600);
    let mut short = fault("short", 1);
    short.spec.duration = chaos_spec::Duration::from_millis(300);
    let asked = jiff::Timestamp::now();
    let view = apply_one(&bench, short).await;
    let (started, ends) = (view.status.started_at.unwrap(), view.status.ends_at.unwrap());
    assert!(
        started.duration_since(asked).as_millis() >= 600,
        "{asked} {started}"
    );
    assert_eq!(ends.duration_since(started).as_millis(), 300);
    let last = ended(&bench, "short").await;
    assert_eq!(last.status.reason, Some(Reason::Deadline));
    assert!(last.status.ended_at.unwrap() >= ends);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_ends_a_fault() {
    let bench = Bench::new();
    let mut limited = fault("limited", 60);
    limited.spec.safety = Safety {
        max_packets: Some(10),
        ..Safety::default()
    };
    apply_one(&bench, limited).await;
    let packets = Packets {
        matched: 90,
        dropped: 4,
        rejected: 6,
        ..Packets::default()
    };
    bench.fake.state().packets.insert(FaultId(1), packets);
    assert_eq!(ended(&bench, "limited").await.status.reason, Some(Reason::Budget));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_or_device_that_goes_ends_its_faults_only() {
    let bench = Bench::new();
    let mut other = fault("other", 60);
    other.spec.target = chaos_spec::Target::netns("green");
    bench
        .engine
        .apply(vec![fault("a", 60), fault("b", 60), other, fault("c", 60)], me())
        .await
        .unwrap();
    bench
        .fake
        .state()
        .gone
        .push((FaultId(4), "fake0 is gone".to_owned()));
    let last = ended(&bench, "c").await;
    assert_eq!(last.status.message.as_deref(), Some("fake0 is gone"));
    bench.fake.state().verdicts.insert(
        "netns blue".to_owned(),
        Liveness::Gone("blue was deleted".to_owned()),
    );
    for name in ["a", "b"] {
        let last = ended(&bench, name).await;
        assert_eq!(last.status.reason, Some(Reason::TargetGone));
        assert_eq!(last.status.message.as_deref(), Some("blue was deleted"));
    }
    assert_eq!(
        bench.engine.get("other").await.unwrap().status.phase,
        Phase::Active
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_moves_is_followed_also_at_the_second_try() {
    let bench = Bench::new();
    apply_one(&bench, fault("a", 60)).await;
    bench.fake.state().refuse_arm = true;
    bench
        .fake
        .state()
        .verdicts
        .insert("netns blue".to_owned(), Liveness::Changed(somewhere()));
    eventually("the refusal", async || bench.fake.state().arm_calls == 2).await;
    assert_eq!(bench.engine.get("a").await.unwrap().status.phase, Phase::Active);
    bench.fake.state().refuse_arm = false;
    bench
        .fake
        .state()
        .verdicts
        .insert("netns blue".to_owned(), Liveness::Changed(somewhere()));
    eventually("the second try", async || bench.fake.state().arm_calls == 3).await;
}

/// Armed again as it is, with its end where it was, and once more where that was refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_whose_way_does_not_suit_its_packets_takes_another() {
    let bench = Bench::new();
    let before = apply_one(&bench, fault("a", 60)).await;
    let (_, mut events) = bench.engine.subscribe(None);
    let mut next = async |kind| loop {
        let event = events.recv().await.unwrap();
        if event.kind == kind {
            break event.message;
        }
    };
    let id = *bench.fake.state().armed.keys().next().unwrap();
    for (refuse, kind, said) in [
        (true, EventKind::Warning, "could not follow"),
        (false, EventKind::FaultChanged, "only the user line can carry"),
    ] {
        {
            let mut state = bench.fake.state();
            state.refuse_arm = refuse;
            state.unfit.push(id);
        }
        let message = next(kind).await;
        assert!(message.contains(said), "{message}");
    }
    assert_eq!(bench.fake.state().arm_calls, 3);
    let now = bench.engine.get("a").await.unwrap();
    assert_eq!(now.status.ends_at, before.status.ends_at);
    assert_eq!(now.status.phase, Phase::Active);
}

/// What the policy denies is not reached by way of a target that goes there.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_not_followed_to_where_the_policy_lets_nobody_go() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.yaml");
    let head = "apiVersion: chaos-daemon.dev/v1alpha1\nkind: Policy\n";
    std::fs::write(&file, head).unwrap();
    let bench = Bench::with_policy(dir, PolicyKeeper::load(Some(file.clone())).unwrap());
    apply_one(&bench, fault("a", 60)).await;
    std::fs::write(&file, format!("{head}deny: {{netns: [/proc/self/ns/net]}}\n")).unwrap();
    bench.policy.reload().unwrap();
    let (_, mut events) = bench.engine.subscribe(None);
    let moves = || {
        let mut state = bench.fake.state();
        state
            .verdicts
            .insert("netns blue".to_owned(), Liveness::Changed(somewhere()));
    };
    moves();
    let warning = loop {
        let event = events.recv().await.unwrap();
        if event.kind == EventKind::Warning {
            break event.message;
        }
    };
    assert!(
        warning.contains("could not follow") && warning.contains("policy.yaml:3:16"),
        "{warning}"
    );
    assert_eq!(bench.fake.state().arm_calls, 1);
    assert_eq!(bench.engine.get("a").await.unwrap().status.phase, Phase::Active);
    // And where it may, it is.
    std::fs::write(&file, head).unwrap();
    bench.policy.reload().unwrap();
    moves();
    eventually("the target is followed", async || {
        bench.fake.state().arm_calls == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_or_none() {
    let bench = Bench::new();
    let mut lost = fault("lost", 60);
    lost.spec.target = chaos_spec::Target::netns("nowhere");
    let refusal = bench
        .engine
        .apply(vec![fault("a", 60), lost], me())
        .await
        .unwrap_err();
    let EngineError::Invalid(refused) = refusal else {
        panic!("{refusal}")
    };
    assert_eq!(
        (refused.len(), refused[0].index, refused[0].name.as_str()),
        (1, 1, "lost")
    );
    assert!(matches!(refused[0].why, Why::Target(_)));
    let twice = bench
        .engine
        .apply(vec![fault("a", 60), fault("a", 60)], me())
        .await
        .unwrap_err();
    assert!(matches!(twice, EngineError::Invalid(_)));
    bench.fake.state().refuse_arm = true;
    let refusal = bench
        .engine
        .apply(vec![fault("a", 60), fault("b", 60)], me())
        .await
        .unwrap_err();
    assert!(matches!(refusal, EngineError::Datapath(_)));
    assert!(bench.engine.list().await.unwrap().is_empty());
    bench.fake.state().refuse_arm = false;
    let many = (0..1501).map(|n| fault(&format!("f{n}"), 60)).collect();
    let refusal = bench.engine.apply(many, me()).await.unwrap_err();
    assert!(matches!(
        refusal,
        EngineError::TooMany {
            running: 0,
            asked: 1501,
            limit: 1500
        }
    ));
    assert_eq!(bench.fake.armed(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_faults_start_and_end_within_a_second() {
    let bench = Bench::new();
    let many = (0..1000).map(|n| fault(&format!("f{n}"), 60)).collect();
    let start = Instant::now();
    assert_eq!(bench.engine.apply(many, me()).await.unwrap().len(), 1000);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(bench.fake.state().arm_calls, 1);
    let start = Instant::now();
    bench.engine.halt(me(), None).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(bench.fake.state().disarm_calls, 1);
    let list = bench.engine.list().await.unwrap();
    assert_eq!(list.len(), ENDED_KEPT);
    assert!(list.iter().all(|view| view.status.reason == Some(Reason::Halt)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halt_voids_the_lease_and_outlives_the_daemon() {
    let bench = Bench::new();
    apply_one(&bench, fault("a", 60)).await;
    assert!(bench.fake.lease.load(Ordering::SeqCst) > 0);
    let state = bench.engine.halt(me(), Some("enough".to_owned())).await.unwrap();
    assert_eq!(state.reason.as_deref(), Some("enough"));
    assert_eq!(bench.fake.lease.load(Ordering::SeqCst), 0);
    assert_eq!(ended(&bench, "a").await.status.reason, Some(Reason::Halt));
    let refusal = bench.engine.apply(vec![fault("b", 60)], me()).await.unwrap_err();
    assert!(refusal.to_string().contains("tester"), "{refusal}");
    // Planning is looking.
    bench.engine.plan(vec![fault("b", 60)]).await.unwrap();
    bench.engine.shutdown().await;

    let bench = Bench::at(bench.dir);
    assert!(bench.engine.halt_state().halted);
    assert_eq!(bench.fake.lease.load(Ordering::SeqCst), 0);
    assert!(matches!(
        bench.engine.apply(vec![fault("b", 60)], me()).await,
        Err(EngineError::Halted(_))
    ));
    // A second halt keeps the name of the first.
    let again = bench.engine.halt(Caller::Signal, None).await.unwrap();
    assert!(again.by.unwrap().contains("tester"));
    bench.engine.release(me()).await.unwrap();
    assert!(bench.fake.lease.load(Ordering::SeqCst) > 0);
    apply_one(&bench, fault("b", 60)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_kernel_does_not_let_go_is_tried_again() {
    let bench = Bench::new();
    apply_one(&bench, fault("a", 60)).await;
    bench.fake.state().refuse_disarm = true;
    let view = bench.engine.delete("a", me()).await.unwrap();
    assert_eq!(view.status.phase, Phase::Active);
    bench.fake.state().refuse_disarm = false;
    assert_eq!(ended(&bench, "a").await.status.reason, Some(Reason::Deleted));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_engine_loses_its_faults() {
    let bench = Bench::new();
    apply_one(&bench, fault("a", 60)).await;
    bench.fake.state().hang = Duration::from_millis(2600);
    let engine = bench.engine.clone();
    let hanging = tokio::spawn(async move { engine.plan(vec![fault("b", 60)]).await });
    eventually("the lapse", async || bench.engine.lease().has_lapsed()).await;
    assert!(!bench.engine.is_ticking());
    hanging.await.unwrap().unwrap();
    assert_eq!(ended(&bench, "a").await.status.reason, Some(Reason::Lease));
    assert_eq!(bench.fake.armed(), 0);
    assert!(bench.engine.is_ticking() && !bench.engine.lease().left().is_zero());
    apply_one(&bench, fault("a", 60)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_kernel_is_waited_for() {
    let bench = Bench::new();
    apply_one(&bench, fault("a", 60)).await;
    bench.fake.state().slow = Duration::from_millis(2600);
    apply_one(&bench, fault("b", 60)).await;
    for name in ["a", "b"] {
        assert_eq!(bench.engine.get(name).await.unwrap().status.phase, Phase::Active);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_daemon_names_what_a_crash_ended() {
    let bench = Bench::new();
    bench
        .engine
        .apply(vec![fault("a", 60), fault("b", 60)], me())
        .await
        .unwrap();
    bench.engine.delete("a", me()).await.unwrap();
    // As after a crash: the files as they are now, and nothing said any more.
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(
        bench.dir.path().join("running.jsonl"),
        dir.path().join("running.jsonl"),
    )
    .unwrap();
    let next = Bench::at(dir);
    let (events, _) = next.engine.subscribe(Some(0));
    let told = events
        .iter()
        .find(|event| event.kind == EventKind::Recovered)
        .unwrap();
    assert!(
        told.message.ends_with("they ended with it: b"),
        "{}",
        told.message
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_undoes_everything_and_later_calls_are_told() {
    let bench = Bench::new();
    apply_one(&bench, fault("a", 60)).await;
    bench.engine.shutdown().await;
    assert_eq!(bench.fake.armed(), 0);
    assert!(!bench.engine.is_ticking());
    assert!(matches!(bench.engine.list().await, Err(EngineError::Stopped)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_there_once() {
    let bench = Bench::new();
    for _ in 0..3 {
        apply_one(&bench, fault("a", 60)).await;
        bench.engine.delete("a", me()).await.unwrap();
    }
    apply_one(&bench, fault("a", 60)).await;
    let list = bench.engine.list().await.unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].status.phase, Phase::Active);
    let counts = bench.engine.snapshot(10).await.unwrap();
    assert_eq!((counts.counts.active, counts.counts.ended), (1, 0));
    assert_eq!(counts.endings, [(Reason::Deleted, 3)]);
}

use std::time::Duration;

use chaos_spec::api::{ExperimentPhase, ExperimentView, Outcome, Phase};
use chaos_spec::experiment::{
    Abort, Baseline, Experiment, ExperimentSpec, FaultStep, Recovery, RunSubmission,
};
use chaos_spec::experiment::{Action, Settings, SteadyProbe, Step};
use chaos_spec::{Chance, ExecProbe, Probe, TcpProbe};
use tokio::net::TcpListener;

use super::{ExperimentError, Experiments};
use crate::engine::fake::{Bench, eventually, fault};
use crate::safety::{Caller, UnixPeer};

pub(crate) fn root() -> Caller {
    Caller::Unix(UnixPeer::default())
}

pub(crate) fn stranger() -> Caller {
    Caller::Unix(UnixPeer {
        uid: 1000,
        ..UnixPeer::default()
    })
}

/// Somebody who accepts connections, until dropped.
pub(crate) async fn service() -> (TcpListener, Probe) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let probe = Probe::Tcp(TcpProbe {
        address: address.parse().unwrap(),
    });
    (listener, probe)
}

pub(crate) fn run(name: &str, probe: Probe, length: Duration) -> RunSubmission {
    let mut steady = SteadyProbe::new("service", probe);
    steady.every = Duration::from_millis(20).into();
    let step = Action::Fault(FaultStep {
        fault: "lossy".to_owned(),
        length: Some(length.into()),
        settings: Settings {
            flows: Chance::percent(100),
            ..Settings::default()
        },
        ramp: Vec::new(),
        pulse: None,
    });
    let spec = ExperimentSpec {
        hypothesis: "It accepts connections".to_owned(),
        steady_state: vec![steady],
        baseline: Baseline {
            length: Duration::from_millis(100).into(),
        },
        method: vec![Step::once(step)],
        abort: Abort::default(),
        recovery: Recovery {
            within: Duration::from_secs(1).into(),
        },
        seed: Some(7),
    };
    RunSubmission {
        experiment: Experiment::new(name, spec),
        faults: vec![fault("lossy", 60)],
    }
}

async fn over(room: &Experiments, id: &str) -> ExperimentView {
    eventually("the end", || async {
        room.get(id).await.unwrap().status.outcome.is_some()
    })
    .await;
    room.get(id).await.unwrap()
}

#[tokio::test]
async fn a_run_comes_to_its_end_and_its_report_outlives_the_daemon() {
    let bench = Bench::new();
    let room = Experiments::open(bench.engine.clone(), bench.dir.path());
    let (_listener, probe) = service().await;
    let started = room
        .start(run("shop", probe, Duration::from_millis(200)), root())
        .await
        .unwrap();
    assert_eq!(started.status.phase, ExperimentPhase::Preparing);
    let view = over(&room, &started.id).await;
    assert_eq!(view.status.outcome, Some(Outcome::Held), "{:?}", view.status);
    let fault = bench.engine.get("shop-lossy").await.unwrap();
    assert_eq!(fault.status.phase, Phase::Ended);
    assert_eq!(fault.status.seed, view.status.faults[0].seed);
    let next = Experiments::open(bench.engine.clone(), bench.dir.path());
    assert_eq!(next.get("shop").await.unwrap(), view);
    assert_eq!(next.list().len(), 1);
    assert_eq!(next.list()[0].status.probes[0].series.len(), 1);
}

#[tokio::test]
async fn one_run_of_a_name_at_a_time_and_whoever_stops_it_undoes_it() {
    let bench = Bench::new();
    let room = Experiments::open(bench.engine.clone(), bench.dir.path());
    let (_listener, probe) = service().await;
    let minute = Duration::from_secs(60);
    let started = room
        .start(run("shop", probe.clone(), minute), root())
        .await
        .unwrap();
    let again = room.start(run("shop", probe, minute), root()).await.unwrap_err();
    assert!(matches!(again, ExperimentError::UnderWay { .. }), "{again}");
    eventually("the fault acts", || async {
        let fault = bench.engine.get("shop-lossy").await;
        fault.is_ok_and(|view| view.status.phase == Phase::Active)
    })
    .await;
    room.stop("shop", &stranger()).await.unwrap();
    let view = over(&room, &started.id).await;
    assert_eq!(view.status.outcome, Some(Outcome::Interrupted));
    assert!(
        view.status.message.as_deref().unwrap().contains("uid 1000"),
        "{:?}",
        view.status.message
    );
    let fault = bench.engine.get("shop-lossy").await.unwrap();
    assert_eq!(fault.status.phase, Phase::Ended);
}

#[tokio::test]
async fn what_ran_when_the_daemon_died_is_marked_and_not_begun_again() {
    let bench = Bench::new();
    let room = Experiments::open(bench.engine.clone(), bench.dir.path());
    let (_listener, probe) = service().await;
    let started = room
        .start(run("shop", probe, Duration::from_secs(60)), root())
        .await
        .unwrap();
    // The daemon after the one that dies now.
    let next = Experiments::open(bench.engine.clone(), bench.dir.path());
    let view = next.get(&started.id).await.unwrap();
    assert_eq!(view.status.outcome, Some(Outcome::Interrupted));
    assert!(view.status.message.unwrap().contains("the daemon died"));
    room.shutdown().await;
    assert!(matches!(
        room.start(run("other", service().await.1, Duration::from_secs(1)), root())
            .await,
        Err(ExperimentError::Ending)
    ));
}

#[tokio::test]
async fn a_fault_of_somebody_else_is_not_touched() {
    let bench = Bench::new();
    let room = Experiments::open(bench.engine.clone(), bench.dir.path());
    bench
        .engine
        .apply(vec![fault("shop-lossy", 60)], root())
        .await
        .unwrap();
    let (_listener, probe) = service().await;
    let started = room
        .start(run("shop", probe, Duration::from_millis(100)), root())
        .await
        .unwrap();
    let view = over(&room, &started.id).await;
    assert_eq!(view.status.outcome, Some(Outcome::Failed));
    assert!(view.status.message.unwrap().contains("acts already"));
    let fault = bench.engine.get("shop-lossy").await.unwrap();
    assert_eq!(fault.status.phase, Phase::Active);
}

#[tokio::test]
async fn nothing_begins_while_halted() {
    let bench = Bench::new();
    let room = Experiments::open(bench.engine.clone(), bench.dir.path());
    bench.engine.halt(root(), None).await.unwrap();
    let (_listener, probe) = service().await;
    let started = room
        .start(run("shop", probe, Duration::from_millis(100)), root())
        .await
        .unwrap();
    let view = over(&room, &started.id).await;
    assert_eq!(view.status.outcome, Some(Outcome::RefusedByPolicy));
    assert!(view.status.message.unwrap().starts_with("halted"));
}

#[tokio::test]
async fn programs_are_for_root() {
    let bench = Bench::new();
    let room = Experiments::open(bench.engine.clone(), bench.dir.path());
    let probe = Probe::Exec(ExecProbe {
        command: vec!["/bin/true".to_owned()],
    });
    let refused = room
        .start(run("shop", probe, Duration::from_millis(100)), stranger())
        .await
        .unwrap_err();
    let ExperimentError::Invalid(wrong) = refused else {
        panic!("{refused}");
    };
    assert_eq!(wrong[0].path.to_string(), "experiment.spec.steadyState[0].exec");
    assert!(room.list().is_empty());
}

use std::sync::Arc;
use std::time::Duration;

use chaos_spec::api::{Outcome, ScheduleStatus};
use chaos_spec::schedule::{Concurrency, SCHEDULE_KIND, Schedule, ScheduleSpec, ScheduleSubmission};
use chaos_spec::{API_VERSION, ExecProbe, Metadata, Probe};
use jiff::{SignedDuration, Timestamp};

use super::{ScheduleError, Schedules};
use crate::engine::fake::{Bench, eventually};
use crate::experiments::tests::{root, run, service, stranger};
use crate::experiments::{ExperimentError, Experiments};

struct Room {
    bench: Bench,
    experiments: Experiments,
    schedules: Schedules,
}

impl Room {
    fn new() -> Self {
        let bench = Bench::new();
        let experiments = Experiments::open(bench.engine.clone(), bench.dir.path());
        let schedules = open(&bench, &experiments);
        Self {
            bench,
            experiments,
            schedules,
        }
    }

    fn status(&self) -> ScheduleStatus {
        self.schedules.get("weekly").unwrap().status
    }

    /// One second of the clock, as often as needed.
    async fn turn(&self, now: Timestamp) {
        for due in self.schedules.due(now) {
            self.schedules.carry_out(due).await;
        }
    }
}

fn open(bench: &Bench, experiments: &Experiments) -> Schedules {
    Schedules::open(
        bench.engine.clone(),
        experiments.clone(),
        Arc::default(),
        bench.dir.path(),
    )
}

/// Every minute.
fn spec() -> ScheduleSpec {
    serde_json::from_value(serde_json::json!({"cron": "* * * * *"})).unwrap()
}

async fn weekly(spec: ScheduleSpec, length: Duration) -> (tokio::net::TcpListener, ScheduleSubmission) {
    let (listener, probe) = service().await;
    let schedule = Schedule {
        api_version: API_VERSION.to_owned(),
        kind: SCHEDULE_KIND.to_owned(),
        metadata: Metadata {
            name: "weekly".to_owned(),
            ..Metadata::default()
        },
        spec,
    };
    let run = run("orders", probe, length);
    (listener, ScheduleSubmission { schedule, run })
}

fn minutes(count: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_mins(count)
}

#[tokio::test]
async fn what_is_due_begins_and_the_next_one_waits_for_its_time() {
    let room = Room::new();
    let (_listener, submission) = weekly(spec(), Duration::from_millis(200)).await;
    let view = room.schedules.add(submission, root()).await.unwrap();
    let next = view.status.next_at.unwrap();
    assert!(next > Timestamp::now() && next <= minutes(1), "{view:?}");
    room.turn(Timestamp::now()).await;
    assert_eq!(room.status().begun, 0, "it is not due yet");
    room.turn(next).await;
    let status = room.status();
    assert_eq!(
        (status.begun, status.skipped, status.missed),
        (1, 0, 0),
        "{status:?}"
    );
    assert!(status.next_at > Some(next));
    let id = status.last_run.unwrap();
    eventually("it is over", async || {
        let view = room.experiments.glance(&id);
        view.is_ok_and(|view| view.status.outcome == Some(Outcome::Held))
    })
    .await;
    room.turn(next).await;
    assert_eq!(room.status().begun, 1, "once is enough");
}

#[tokio::test]
async fn one_that_is_under_way_is_let_be_or_replaced() {
    let room = Room::new();
    let (_listener, mut submission) = weekly(spec(), Duration::from_secs(60)).await;
    room.schedules.add(submission.clone(), root()).await.unwrap();
    room.turn(minutes(1)).await;
    let first = room.status().last_run.unwrap();
    room.turn(minutes(2)).await;
    let status = room.status();
    assert_eq!((status.begun, status.skipped), (1, 1), "{status:?}");
    assert!(status.last_message.unwrap().contains("is under way already"));
    submission.schedule.spec.concurrency = Concurrency::Replace;
    room.schedules.add(submission, root()).await.unwrap();
    room.turn(minutes(3)).await;
    let second = room.status().last_run.unwrap();
    assert_ne!(first, second);
    let outcome = room.experiments.glance(&first).unwrap().status.outcome;
    assert_eq!(outcome, Some(Outcome::Interrupted));
    room.experiments.shutdown().await;
}

#[tokio::test]
async fn a_schedule_outlives_the_daemon_and_what_was_due_meanwhile_is_missed() {
    let room = Room::new();
    let (_listener, submission) = weekly(spec(), Duration::from_millis(100)).await;
    room.schedules.add(submission, root()).await.unwrap();
    let again = open(&room.bench, &room.experiments);
    let due = again.due(minutes(10) + SignedDuration::from_secs(1));
    let [only] = <[_; 1]>::try_from(due).map_err(|due| due.len()).unwrap();
    again.carry_out(only).await;
    let status = again.get("weekly").unwrap().status;
    // The last of them may be in time, as the second of this minute has it.
    assert!((9..=10).contains(&status.missed), "{status:?}");
    assert!(
        status.begun <= 1 && status.begun + status.skipped == 1,
        "{status:?}"
    );
    again.remove("weekly").await.unwrap();
    assert!(open(&room.bench, &room.experiments).list().is_empty());
    assert!(matches!(
        again.remove("weekly").await,
        Err(ScheduleError::Unknown(_))
    ));
    room.experiments.shutdown().await;
}

#[tokio::test]
async fn a_stranger_plants_no_program_and_a_halted_node_begins_nothing() {
    let room = Room::new();
    let (_listener, mut submission) = weekly(spec(), Duration::from_millis(100)).await;
    let well = submission.run.clone();
    submission.run.experiment.spec.steady_state[0].probe = Probe::Exec(ExecProbe {
        command: vec!["/bin/true".to_owned()],
    });
    let refused = room.schedules.add(submission.clone(), stranger()).await;
    assert!(
        matches!(
            refused,
            Err(ScheduleError::Experiment(ExperimentError::Invalid(_)))
        ),
        "{refused:?}"
    );
    assert!(room.schedules.list().is_empty());
    submission.run = well;
    room.schedules.add(submission, stranger()).await.unwrap();
    room.bench
        .engine
        .halt(root(), Some("an incident".to_owned()))
        .await
        .unwrap();
    room.turn(minutes(1)).await;
    let id = room.status().last_run.unwrap();
    eventually("it is over", async || {
        let view = room.experiments.glance(&id);
        view.is_ok_and(|view| view.status.outcome == Some(Outcome::RefusedByPolicy))
    })
    .await;
}

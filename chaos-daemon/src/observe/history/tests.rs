use chaos_spec::api::{Packets, Phase, Reason, RunPhase, Status};

use super::*;

fn view(name: &str) -> FaultView {
    let fault = crate::engine::fake::fault(name, 60);
    FaultView {
        metadata: fault.metadata,
        spec: fault.spec,
        status: Status {
            phase: Phase::Active,
            started_at: Some(Timestamp::now()),
            seed: Some(u64::MAX),
            ..Status::default()
        },
    }
}

fn ended(name: &str, matched: u64) -> FaultView {
    let mut view = view(name);
    view.status.phase = Phase::Ended;
    view.status.reason = Some(Reason::Deadline);
    view.status.ended_at = Some(Timestamp::now());
    view.status.packets = Packets {
        matched,
        ..Packets::default()
    };
    view
}

fn all() -> Query {
    Query {
        name: None,
        since: None,
        until: None,
        before: None,
        limit: MOST,
    }
}

#[tokio::test]
async fn runs_are_kept_with_what_happened_to_them() {
    let dir = tempfile::tempdir().unwrap();
    let before = Timestamp::now();
    let history = History::start(dir.path());
    history.began(view("a"), "alice".to_owned());
    history.event(&Event {
        seq: 1,
        time: Timestamp::now(),
        kind: EventKind::FaultActive,
        fault: Some("a".to_owned()),
        message: "applied".to_owned(),
    });
    history.ended(ended("a", 7));
    history.began(view("b"), "bob".to_owned());
    let page = history.page(all()).await.unwrap();
    let names: Vec<_> = page
        .items
        .iter()
        .map(|run| (run.name.as_str(), run.phase))
        .collect();
    assert_eq!(names, [("b", RunPhase::Active), ("a", RunPhase::Ended)]);
    let a = &page.items[1];
    assert_eq!(
        (a.packets.matched, a.reason, a.seed),
        (7, Some(Reason::Deadline), Some(u64::MAX))
    );
    assert_eq!((a.by.as_str(), a.transitions.len()), ("alice", 1));
    assert_eq!(a.spec["duration"], "1m");

    let of = async |query: Query| history.page(query).await.unwrap().items.len();
    let named = |name: &str| Query {
        name: Some(name.to_owned()),
        ..all()
    };
    assert_eq!((of(named("a")).await, of(named("c")).await), (1, 0));
    let since = Query {
        since: Some(before),
        ..all()
    };
    let until = Query {
        until: Some(before),
        ..all()
    };
    assert_eq!((of(since).await, of(until).await), (2, 0));
}

#[tokio::test]
async fn pages_follow_one_another() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::start(dir.path());
    for number in 0..25 {
        history.began(view(&format!("f{number}")), "alice".to_owned());
    }
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let query = Query {
            limit: 10,
            before,
            ..all()
        };
        let page = history.page(query).await.unwrap();
        seen.extend(page.items.into_iter().map(|run| run.name));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    let wanted: Vec<_> = (0..25).rev().map(|number| format!("f{number}")).collect();
    assert_eq!(seen, wanted);
}

#[tokio::test]
async fn what_ran_when_the_daemon_died_is_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::start(dir.path());
    history.began(view("a"), "alice".to_owned());
    history.settle().await;
    // The thread of the first still has the file open, as a killed daemon's WAL would.
    let second = History::start(dir.path());
    let page = second.page(all()).await.unwrap();
    assert_eq!(page.items[0].phase, RunPhase::Interrupted);
    assert!(page.items[0].ended_at.is_some());
    assert_eq!(page.items[0].transitions[0].kind, "Interrupted");
}

/// The file of a database with this in it.
fn database(sql: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch(sql)
        .unwrap();
    std::fs::read(path).unwrap()
}

#[tokio::test]
async fn a_damaged_file_is_set_aside() {
    let mut of_no_format = database("CREATE TABLE run (id INTEGER)");
    // The number of the schema's format, of which there are four.
    of_no_format[47] = 9;
    for (what, bytes) in [
        (
            "no database",
            "this is no database at all, is it".repeat(99).into_bytes(),
        ),
        ("no known format", of_no_format),
        (
            "other tables",
            database("CREATE TABLE run (id INTEGER); CREATE TABLE transition (run TEXT)"),
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("history.db"), bytes).unwrap();
        let history = History::start(dir.path());
        history.began(view("a"), "alice".to_owned());
        let page = history.page(all()).await;
        assert_eq!(page.map(|page| page.items.len()).ok(), Some(1), "{what}");
        let names: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(
            names.iter().any(|name| name.starts_with("history.db.damaged-")),
            "{what}: {names:?}"
        );
    }
}

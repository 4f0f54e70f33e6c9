//! Records that were damaged while no daemon looked: what is wrong is found, and new records are kept.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use chaos_fuzz::{Bytes, cases, damaged};
use chaos_spec::api::{FaultView, Phase, Status};
use chaos_spec::audit::{self, Entry, Head, Kind, Verdict, Verifier};
use jiff::Timestamp;
use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};

use super::history::Query;
use super::{Audit, History};

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

async fn record(state: &Path, messages: &[&str]) {
    let audit = Audit::start(state).expect("a thread");
    for message in messages {
        let entry = Entry {
            kind: Kind::Done,
            message: (*message).to_owned(),
            ..Entry::default()
        };
        audit
            .record(entry)
            .await
            .expect("a record is kept whatever was there before");
    }
    // The head follows the last answer.
    audit.settle(Duration::from_secs(10)).await;
}

fn verify(state: &Path) -> Verdict {
    let head = fs::read(state.join(audit::HEAD_FILE)).ok();
    let head: Option<Head> = head.and_then(|text| serde_json::from_slice(&text).ok());
    let mut verifier = Verifier::whole().up_to(head);
    let text = fs::read(state.join(audit::DIRECTORY).join(audit::FILE)).expect("a log");
    verifier.file(audit::FILE, &text);
    verifier.end()
}

/// The log and its head after three records, always the same.
fn log() -> (Vec<u8>, Vec<u8>) {
    static LOG: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    LOG.get_or_init(fresh_log).clone()
}

fn fresh_log() -> (Vec<u8>, Vec<u8>) {
    let dir = tempfile::tempdir().expect("a directory");
    runtime().block_on(record(dir.path(), &["one", "two", "three"]));
    let read = |name: &Path| fs::read(dir.path().join(name)).expect("a file");
    let file = Path::new(audit::DIRECTORY).join(audit::FILE);
    (read(&file), read(Path::new(audit::HEAD_FILE)))
}

/// Puts both files down, goes on with them, and says what a verifier finds.
fn go_on_with(log: &[u8], head: &[u8]) -> Verdict {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join(audit::DIRECTORY)).expect("a directory");
    fs::write(dir.path().join(audit::DIRECTORY).join(audit::FILE), log).expect("a file");
    fs::write(dir.path().join(audit::HEAD_FILE), head).expect("a file");
    runtime().block_on(record(dir.path(), &["after"]));
    let verdict = verify(dir.path());
    let text = fs::read_to_string(dir.path().join(audit::DIRECTORY).join(audit::FILE));
    assert!(text.map_or(true, |text| text.contains("after")));
    verdict
}

#[test]
fn a_head_at_the_end_of_counting_is_found() {
    let (log, head) = log();
    let head: Head = serde_json::from_slice(&head).expect("a head");
    let last = format!(r#"{{"seq":{},"hash":"{}"}}"#, u64::MAX, head.hash);
    assert_ne!(go_on_with(&log, last.as_bytes()).findings, []);
    let sound = go_on_with(&log, &serde_json::to_vec(&head).expect("a head"));
    assert_eq!(sound.findings, []);
}

/// As many records as there were, each sealed as it should be.
#[test]
fn a_log_that_was_written_anew_is_found_also_after_a_daemon_has_gone_on_with_it() {
    let (_, head) = log();
    let (other, _) = fresh_log();
    let findings = go_on_with(&other, &head).findings;
    assert!(findings[0].what.contains("was replaced"), "{findings:?}");
}

fn view(name: &str) -> FaultView {
    let fault = crate::engine::fake::fault(name, 60);
    FaultView {
        metadata: fault.metadata,
        spec: fault.spec,
        status: Status {
            phase: Phase::Active,
            started_at: Some(Timestamp::now()),
            ..Status::default()
        },
    }
}

fn all() -> Query {
    Query {
        name: None,
        since: None,
        until: None,
        before: None,
        limit: 100,
    }
}

/// A database with a few runs, as the file of a daemon that has ended.
fn database() -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a directory");
    runtime().block_on(async {
        let history = History::start(dir.path());
        for number in 0..5 {
            history.began(view(&format!("f{number}")), "alice".to_owned());
            history.ended(view(&format!("f{number}")));
        }
        history.settle().await;
    });
    let file = dir.path().join("history.db");
    let connection = rusqlite::Connection::open(&file).expect("a database");
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .expect("a checkpoint");
    drop(connection);
    fs::read(file).expect("a file")
}

proptest! {
    #![proptest_config(cases(25))]
    #[test]
    fn a_damaged_audit_log_is_gone_on_with_and_told_apart(text in damaged(vec![log().0])) {
        let Bytes(text) = text;
        let (log, head) = log();
        let verdict = go_on_with(&text, &head);
        // What follows a whole log is at most a line that a daemon died over, which is cut off.
        prop_assert!(text.starts_with(&log) || !verdict.findings.is_empty());
    }

    #[test]
    fn a_damaged_head_is_gone_on_with(head in damaged(vec![log().1])) {
        let _ = go_on_with(&log().0, &head.0);
    }

    #[test]
    fn a_damaged_history_is_read_or_set_aside(file in damaged(vec![database()])) {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("history.db"), &file.0).expect("a file");
        runtime().block_on(async {
            let history = History::start(dir.path());
            history.began(view("new"), "alice".to_owned());
            history.settle().await;
            // A page that cannot be read is told; the thread that keeps the history lives on.
            if let Err(error) = history.page(all()).await {
                assert!(error.to_string().contains("cannot be read"), "{error}");
            }
        });
    }
}

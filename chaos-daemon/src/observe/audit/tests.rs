use std::path::Path;

use chaos_spec::audit::{self, Head, Verdict, Verifier};

use super::*;

fn entry(message: &str) -> Entry {
    Entry {
        kind: Kind::Done,
        message: message.to_owned(),
        ..Entry::default()
    }
}

fn append(log: &mut Log, messages: &[&str]) {
    let now = Timestamp::now();
    let entries: Vec<_> = messages.iter().map(|text| (now, entry(text))).collect();
    log.append(&entries.iter().collect::<Vec<_>>()).unwrap();
    log.note_head();
}

fn files(state: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(state.join(audit::DIRECTORY))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    // `audit-…` sorts before `audit.jsonl`.
    files.sort();
    files
        .into_iter()
        .map(|name| {
            let text = std::fs::read(state.join(audit::DIRECTORY).join(&name)).unwrap();
            (name, text)
        })
        .collect()
}

fn verify(state: &Path) -> Verdict {
    let head: Head = serde_json::from_slice(&std::fs::read(state.join(audit::HEAD_FILE)).unwrap()).unwrap();
    let mut verifier = Verifier::whole().up_to(Some(head));
    for (name, text) in files(state) {
        verifier.file(&name, &text);
    }
    verifier.end()
}

fn text(state: &Path) -> String {
    std::fs::read_to_string(state.join(audit::DIRECTORY).join(audit::FILE)).unwrap()
}

#[test]
fn a_log_goes_on_after_a_restart_and_over_its_files() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let mut log = Log::new(dir.path()).full_at(900);
        for number in 0..4 {
            append(&mut log, &[&format!("{round} {number}"), "and another"]);
        }
    }
    let verdict = verify(dir.path());
    assert_eq!((verdict.findings.as_slice(), verdict.records), (&[][..], 40));
    assert!(files(dir.path()).len() > 5, "{:?}", files(dir.path()).len());
}

#[test]
fn a_torn_line_is_cut_off_and_that_is_said() {
    let dir = tempfile::tempdir().unwrap();
    append(&mut Log::new(dir.path()), &["one", "two"]);
    let whole = text(dir.path());
    let path = dir.path().join(audit::DIRECTORY).join(audit::FILE);
    std::fs::write(&path, format!("{whole}{{\"seq\":3,\"time\":\"20")).unwrap();
    assert_ne!(verify(dir.path()).findings, []);
    append(&mut Log::new(dir.path()), &["three"]);
    assert_eq!(verify(dir.path()).findings, []);
    assert!(
        text(dir.path()).contains("the last line was torn (19 bytes"),
        "{}",
        text(dir.path())
    );
    assert_eq!(text(dir.path()).lines().count(), 4);
}

#[test]
fn a_cut_stays_visible_after_the_daemon_has_gone_on() {
    let dir = tempfile::tempdir().unwrap();
    append(&mut Log::new(dir.path()), &["one", "two", "three"]);
    let whole = text(dir.path());
    let path = dir.path().join(audit::DIRECTORY).join(audit::FILE);
    let first: String = whole.split_inclusive('\n').take(1).collect();
    std::fs::write(&path, first).unwrap();
    append(&mut Log::new(dir.path()), &["four"]);
    let found = verify(dir.path()).findings;
    assert!(found[0].what.contains("records 2 to 3 are missing"), "{found:?}");
    assert!(text(dir.path()).contains("changed while no daemon looked"));
}

#[test]
fn a_log_that_is_gone_and_a_head_that_is_gone_are_said() {
    let dir = tempfile::tempdir().unwrap();
    append(&mut Log::new(dir.path()), &["one"]);
    std::fs::remove_file(dir.path().join(audit::HEAD_FILE)).unwrap();
    append(&mut Log::new(dir.path()), &["two"]);
    assert!(text(dir.path()).contains("missing or unreadable"));
    assert_eq!(verify(dir.path()).findings, []);
    std::fs::remove_dir_all(dir.path().join(audit::DIRECTORY)).unwrap();
    append(&mut Log::new(dir.path()), &["three"]);
    assert!(
        verify(dir.path()).findings[0]
            .what
            .contains("records 1 to 3 are missing")
    );
}

#[test]
fn what_a_full_disk_refused_is_written_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    // A directory that cannot be made stands for a disk that takes nothing.
    let state = dir.path().join("state");
    std::fs::write(&state, "in the way").unwrap();
    let mut writer = Writer {
        log: Log::new(&state),
        waiting: VecDeque::new(),
        lost: 0,
    };
    let (reply, mut answer) = oneshot::channel();
    let now = Timestamp::now();
    writer.take(vec![
        Message::Note(now, entry("ended")),
        Message::Record(now, entry("begins"), reply),
        Message::Note(now, entry("ended, too")),
    ]);
    assert!(answer.try_recv().unwrap().is_err());
    std::fs::remove_file(&state).unwrap();
    std::fs::create_dir(&state).unwrap();
    writer.write().unwrap();
    writer.log.note_head();
    assert_eq!(verify(&state).findings, []);
    let text = text(&state);
    assert!(text.contains("ended, too") && !text.contains("begins"), "{text}");
}

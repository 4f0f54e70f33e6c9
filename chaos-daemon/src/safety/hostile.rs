//! State files that a crash, a full disk or a hand has damaged: the daemon starts, and errs on the side of safety.

use std::fs;
use std::path::Path;

use chaos_fuzz::{Bytes, cases, damaged};
use chaos_spec::policy::Severity;
use jiff::SignedDuration;
use proptest::prelude::*;
use tempfile::TempDir;

use super::journal::{Change, PlaceNote};
use super::{Approvals, Caller, HaltFile, Journal, Roster, UnixPeer};

fn change(interface: &str) -> Change {
    Change::ClsactQdisc {
        place: PlaceNote {
            netns_dev: 4,
            netns_inode: 4_026_531_840,
            netns: "/run/netns/blue".to_owned(),
            interface: interface.to_owned(),
            ifindex: 2,
        },
    }
}

fn user(uid: u32) -> Caller {
    Caller::Unix(UnixPeer {
        uid,
        ..UnixPeer::default()
    })
}

/// A state directory with one file in it.
fn with(name: &str, text: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join(name), text).expect("a file");
    dir
}

fn read(dir: &Path, name: &str) -> Vec<u8> {
    fs::read(dir.join(name)).expect("a file")
}

/// A journal with three changes, of which the second was undone.
fn journal() -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a directory");
    let mut journal = Journal::open(dir.path()).expect("a journal");
    journal.record(change("eth0")).expect("a record");
    let second = journal.record(change("eth1")).expect("a record");
    let place = PlaceNote {
        netns: "host".to_owned(),
        ..place_of(&change("eth2"))
    };
    let filter = Change::ClsactFilter {
        place,
        egress: true,
        priority: 1,
        handle: 7,
    };
    journal.record(filter).expect("a record");
    journal.close(second);
    read(dir.path(), "journal.jsonl")
}

fn place_of(change: &Change) -> PlaceNote {
    match change {
        Change::ClsactQdisc { place } | Change::ClsactFilter { place, .. } => place.clone(),
    }
}

/// Opens it, writes to it, and opens it again: what was written is there, and nothing that was there is lost.
fn go_on_with(text: &[u8]) -> usize {
    let dir = with("journal.jsonl", text);
    let mut journal = Journal::open(dir.path()).expect("a journal is opened whatever is in it");
    let before = journal.leftovers();
    assert!(journal.damaged() <= text.split(|byte| *byte == b'\n').count());
    let entry = journal.record(change("new")).expect("a record");
    assert!(before.iter().all(|(old, _)| *old < entry), "{entry:?} is not new");
    drop(journal);
    let mut journal = Journal::open(dir.path()).expect("its own journal");
    assert_eq!(journal.damaged(), 0);
    let changes = |journal: &Journal| -> Vec<_> {
        journal
            .leftovers()
            .into_iter()
            .map(|(_, change)| change)
            .collect()
    };
    let mut wanted: Vec<_> = before.iter().map(|(_, change)| change.clone()).collect();
    wanted.push(change("new"));
    assert_eq!(changes(&journal), wanted);
    for (entry, _) in journal.leftovers() {
        journal.close(entry);
    }
    drop(journal);
    assert!(
        Journal::open(dir.path())
            .expect("its own journal")
            .leftovers()
            .is_empty()
    );
    before.len()
}

#[test]
fn a_journal_that_ends_anywhere_is_gone_on_with() {
    let text = journal();
    let whole_lines = |end: usize| text[..end].iter().filter(|byte| **byte == b'\n').count();
    for end in (0..text.len()).step_by(13).chain([text.len()]) {
        // The fourth line undoes the second.
        let wanted = [0, 1, 2, 3, 2][whole_lines(end)];
        assert_eq!(go_on_with(&text[..end]), wanted, "cut at {end}");
    }
}

#[test]
fn a_journal_whose_numbers_are_used_up_is_gone_on_with() {
    let text = String::from_utf8(journal()).expect("text");
    for number in [u64::MAX, u64::MAX - 1, 1 << 63] {
        let text = text.replace("\"entry\":3", &format!("\"entry\":{number}"));
        assert_eq!(go_on_with(text.as_bytes()), 2, "{number}");
    }
}

fn approvals() -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a directory");
    let approvals = Approvals::open(dir.path());
    for plan in ["p", "q"] {
        approvals.seen(plan, Severity::High, || vec!["all of it".to_owned()]);
        let hour = SignedDuration::from_hours(1);
        approvals
            .approve(plan, &user(2), Some("known".to_owned()), hour)
            .expect("a yes");
    }
    read(dir.path(), "approvals.json")
}

proptest! {
    #![proptest_config(cases(50))]
    #[test]
    fn a_damaged_journal_is_gone_on_with(text in damaged(vec![journal()])) {
        go_on_with(&text.0);
    }

    #[test]
    fn a_damaged_halt_is_a_halt(text in damaged(vec![
        br#"{"halted": true, "since": "2026-01-31T12:00:00Z", "by": "alice", "reason": "fire"}"#.to_vec(),
        br#"{"halted": false}"#.to_vec(),
    ])) {
        let dir = with("halt.json", &text.0);
        let state = HaltFile::new(dir.path()).read();
        prop_assert!(state.halted);
    }

    #[test]
    fn damaged_approvals_approve_nothing_else(text in damaged(vec![approvals()])) {
        let Bytes(text) = text;
        let dir = with("approvals.json", &text);
        let approvals = Approvals::open(dir.path());
        let _ = approvals.list();
        let told = || Vec::new();
        prop_assert!(approvals.check("another plan", Severity::High, told, &user(1)).is_err());
        // Whoever approved it stays the one who may not use it.
        let own = approvals.check("p", Severity::High, told, &user(2));
        prop_assert!(own.is_err() || String::from_utf8_lossy(&text).contains("\"p\""));
    }

    #[test]
    fn a_damaged_roster_is_read(text in damaged(vec![
        b"{\"began\":[\"a\",\"b\"]}\n{\"ended\":[\"a\"]}\n".to_vec(),
    ])) {
        let dir = with("running.jsonl", &text.0);
        let (mut roster, names) = Roster::open(dir.path());
        prop_assert!(names.iter().map(String::len).sum::<usize>() <= text.0.len());
        roster.ended(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]);
    }
}

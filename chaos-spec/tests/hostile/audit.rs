use chaos_fuzz::{Bytes, cases, corpus, damaged};
use chaos_spec::audit::{Entry, GENESIS, Head, Kind, Record, Verdict, Verifier, open, seal};
use proptest::prelude::*;

use crate::{folder, in_a_moment};

/// A sound log of so many records, the first with number `first`.
fn log(first: u64, count: u64) -> (Vec<u8>, Head) {
    let (mut text, mut previous) = (String::new(), GENESIS.to_owned());
    for seq in first..first + count {
        let record = Record {
            seq,
            time: jiff::Timestamp::UNIX_EPOCH,
            previous,
            entry: Entry {
                kind: Kind::FaultActive,
                message: format!("record number {seq}"),
                ..Entry::default()
            },
        };
        let (line, hash) = seal(&record).expect("renders");
        text.push_str(&line);
        previous = hash;
    }
    let head = Head {
        seq: first + count - 1,
        hash: previous,
    };
    (text.into_bytes(), head)
}

fn verify(text: &[u8], head: Option<Head>) -> Verdict {
    let verdict = in_a_moment(|| {
        let mut verifier = Verifier::whole().up_to(head.clone());
        verifier.file("audit.jsonl", text);
        verifier.end()
    });
    for finding in &verdict.findings {
        assert!(finding.line > 0 && !finding.what.is_empty(), "{finding}");
    }
    let mut part = Verifier::part();
    part.file("audit.jsonl", text);
    part.file("audit.jsonl", text);
    let _ = part.end();
    verdict
}

#[test]
fn the_corpus_is_read_and_nothing_in_it_is_whole() {
    let (_, head) = log(1, 3);
    for (name, text) in corpus(folder("audit")) {
        assert_ne!(verify(&text, Some(head.clone())).findings, [], "{name}");
        assert_ne!(verify(&text, None).findings, [], "{name}");
    }
}

#[test]
fn a_log_that_is_cut_at_any_byte_is_not_whole() {
    let (text, head) = log(1, 4);
    for end in 0..text.len() {
        assert_ne!(
            verify(&text[..end], Some(head.clone())).findings,
            [],
            "cut at {end}"
        );
    }
    assert_eq!(verify(&text, Some(head)).findings, []);
}

/// Whoever can write to the log can seal what he likes; the numbers that he likes must not stop the reader.
#[test]
fn numbers_at_the_end_of_counting_are_findings() {
    let record = |seq, previous: &str| Record {
        seq,
        time: jiff::Timestamp::UNIX_EPOCH,
        previous: previous.to_owned(),
        entry: Entry::default(),
    };
    let (last, hash) = seal(&record(u64::MAX, GENESIS)).expect("renders");
    let (zero, _) = seal(&record(0, &hash)).expect("renders");
    let text = [last, zero].concat().into_bytes();
    let head = Head { seq: u64::MAX, hash };
    let findings = verify(&text, Some(head)).findings;
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(findings[0].what.contains("are missing"), "{findings:?}");
    assert!(
        findings[1].what.contains("repeated, or out of order"),
        "{findings:?}"
    );
}

proptest! {
    #![proptest_config(cases(300))]
    #[test]
    fn a_damaged_log_is_never_whole(text in damaged(vec![log(1, 5).0])) {
        let (whole, head) = log(1, 5);
        let Bytes(text) = text;
        // Undamaged, or gone on with: what follows the newest record may be torn, but it stands there.
        prop_assume!(text != whole);
        let verdict = verify(&text, Some(head));
        prop_assert!(!verdict.findings.is_empty());
    }

    #[test]
    fn a_damaged_line_is_no_link(text in damaged(vec![log(7, 1).0])) {
        let _ = in_a_moment(|| open(&text.0));
    }
}

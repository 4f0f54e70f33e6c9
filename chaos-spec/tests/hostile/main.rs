//! Whatever is thrown at the parsers: they answer in bounded time, with a place, a reason and a remedy, and never panic.
//!
//! The folders of `tests/corpus` hold real documents and what has broken a parser before; CONTRIBUTING.md says how to
//! add to them.

mod audit;
mod faults;
mod imports;
mod policy;
mod units;

use std::path::{Path, PathBuf};
use std::time::Duration;

use chaos_spec::{Diagnostic, Diagnostics};

/// What nothing in the corpus, and nothing that is as small, may take: a debug build on a slow machine, too.
const MOMENT: Duration = Duration::from_secs(2);

/// What a message may have: people read it.
const LONGEST_MESSAGE: usize = 5000;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(name)
}

/// Runs `work` and gives what it says; a panic when it took more than a moment.
fn in_a_moment<T>(work: impl FnOnce() -> T) -> T {
    let (result, took) = chaos_fuzz::timed(work);
    assert!(took < MOMENT, "it took {took:?}");
    result
}

/// Whether people can do something with this: a reason, a remedy, and a line wherever there is one.
fn check_refusal(file: &str, wrong: &Diagnostics) {
    assert!(!wrong.0.is_empty(), "refused without a reason");
    for one in &wrong.0 {
        check_one(file, one);
    }
}

fn check_one(file: &str, one: &Diagnostic) {
    assert_eq!(one.file, file);
    assert!(!one.message.is_empty(), "{one:?} has no reason");
    assert!(!one.remedy.is_empty(), "{one:?} has no remedy");
    assert!(
        one.message.len() + one.remedy.len() <= LONGEST_MESSAGE,
        "{} bytes are no message",
        one.message.len() + one.remedy.len()
    );
    // A text without a document has no line, and a body (which has no file) has pointers instead.
    let whole = [
        "there is no document in it",
        "more than the",
        "there are more errors than",
    ];
    let has_line =
        one.mark.is_some() || file.is_empty() || whole.iter().any(|text| one.message.contains(text));
    assert!(has_line, "{one} has no line");
}

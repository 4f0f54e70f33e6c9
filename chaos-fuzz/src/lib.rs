//! Hostile input for property tests: real documents, damaged in the ways that find bugs in parsers.
//!
//! A target has a folder of real documents and of what has broken it before ([`corpus`]); a test replays each of them,
//! and as many damaged ones as [`cases`] says ([`damaged`]). How long something took is the processor time of the
//! thread ([`timed`]), which a busy machine does not stretch.
//!
//! For tests only: nothing that is shipped depends on it.
#![forbid(unsafe_code)]

mod damage;
mod words;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use proptest::test_runner::Config;
use rustix::time::{ClockId, clock_gettime};

pub use damage::damaged;
pub use words::{deep, nasty};

/// How many times as many cases a full run takes (`cargo xtask test --all`).
const FULL: u32 = 20;

/// Bytes that are shown as text, the way `printf` takes them.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 4096;
        let shown = self.0.get(..MOST).unwrap_or(&self.0);
        write!(f, "{} bytes: \"{}\"", self.0.len(), shown.escape_ascii())?;
        if shown.len() < self.0.len() {
            f.write_str("…")?;
        }
        Ok(())
    }
}

/// How many cases: `usual`, or twenty times as many in a full run; `PROPTEST_CASES` wins over both.
pub fn cases(usual: u32) -> Config {
    let cases = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => Config::default().cases,
        None if std::env::var_os("CHAOS_TEST_ALL").is_some() => usual * FULL,
        None => usual,
    };
    Config {
        cases,
        // What breaks a target becomes a named file of its corpus, which says more than a seed.
        failure_persistence: None,
        ..Config::default()
    }
}

/// The files of a folder, each with its name, in the order of the names.
///
/// # Panics
/// When the folder cannot be read or is empty: a target without a corpus tests next to nothing.
pub fn corpus(folder: impl AsRef<Path>) -> Vec<(String, Vec<u8>)> {
    let folder = folder.as_ref();
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries
        .map(|entry| {
            let entry = entry.expect("an entry of the corpus");
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, std::fs::read(entry.path()).expect("a file of the corpus"))
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no files", folder.display());
    files
}

/// The documents of a corpus without their names.
pub fn documents(folder: impl AsRef<Path>) -> Vec<Vec<u8>> {
    corpus(folder).into_iter().map(|(_, text)| text).collect()
}

/// What `work` gives, and how much processor time this thread spent on it.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let spent = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
    let before = spent();
    let result = work();
    (result, spent().saturating_sub(before))
}

//! Which faults run, noted outside the process, so that the next daemon can say what ended with a crash. Only a report
//! hangs on it: nothing is synced (it need outlive the process, not the host), and what cannot be written is left out.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Past this size, in bytes, the file is emptied the next time that no fault runs.
const LARGE: u64 = 1 << 16;

#[derive(Debug, Default)]
pub struct Roster {
    file: Option<File>,
    running: usize,
    written: u64,
}

#[derive(Default, Serialize, Deserialize)]
struct Line {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    began: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ended: Vec<String>,
}

impl Roster {
    /// Starts a new roster in the state directory, and returns who was on the old one.
    pub fn open(state_dir: &Path) -> (Self, Vec<String>) {
        let path = state_dir.join("running.jsonl");
        let before = std::fs::read(&path).map(|text| left(&text)).unwrap_or_default();
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path);
        let file = file.and_then(|file| file.set_len(0).map(|()| file));
        let file = file.inspect_err(warn).ok();
        (
            Self {
                file,
                running: 0,
                written: 0,
            },
            before,
        )
    }

    pub fn began(&mut self, names: Vec<String>) {
        self.running += names.len();
        self.write(&Line {
            began: names,
            ended: Vec::new(),
        });
    }

    pub fn ended(&mut self, names: Vec<String>) {
        self.running = self.running.saturating_sub(names.len());
        self.write(&Line {
            began: Vec::new(),
            ended: names,
        });
        if self.running == 0
            && self.written > LARGE
            && let Some(file) = &self.file
            && file.set_len(0).is_ok()
        {
            self.written = 0;
        }
    }

    fn write(&mut self, line: &Line) {
        let Some(file) = &mut self.file else { return };
        let written = serde_json::to_vec(line)
            .map_err(io::Error::other)
            .and_then(|mut text| {
                text.push(b'\n');
                file.write_all(&text).map(|()| text.len())
            });
        match written {
            Ok(length) => self.written += length as u64,
            Err(error) => {
                warn(&error);
                self.file = None;
            }
        }
    }
}

fn warn(error: &io::Error) {
    tracing::warn!(%error, "running faults cannot be noted: after a crash nobody will say which they were");
}

/// Names that began and did not end. What cannot be read is left out.
fn left(text: &[u8]) -> Vec<String> {
    let mut names = BTreeSet::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Line { began, ended } = serde_json::from_slice(line).unwrap_or_default();
        names.extend(began);
        for name in ended {
            names.remove(&name);
        }
    }
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn who_began_and_did_not_end_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let (mut roster, before) = Roster::open(dir.path());
        assert!(before.is_empty());
        roster.began(names(&["a", "b", "c"]));
        roster.ended(names(&["b"]));
        roster.began(names(&["b"]));
        roster.ended(names(&["c"]));
        drop(roster);
        let mut torn = std::fs::read(dir.path().join("running.jsonl")).unwrap();
        torn.extend(b"{\"ended\": [\"a");
        std::fs::write(dir.path().join("running.jsonl"), torn).unwrap();
        assert_eq!(Roster::open(dir.path()).1, ["a", "b"]);
        assert!(Roster::open(dir.path()).1.is_empty());
    }

    #[test]
    fn it_does_not_grow_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let (mut roster, _) = Roster::open(dir.path());
        for _ in 0..3000 {
            roster.began(names(&["a-fault-with-a-name"]));
            roster.ended(names(&["a-fault-with-a-name"]));
        }
        assert!(std::fs::metadata(dir.path().join("running.jsonl")).unwrap().len() < 2 * LARGE);
    }

    #[test]
    fn without_a_file_nothing_fails() {
        let (mut roster, before) = Roster::open(Path::new("/nonexistent"));
        roster.began(names(&["a"]));
        assert!(before.is_empty());
    }
}

//! What was changed on the host, written down before it is done, so that the next daemon can undo what this one
//! could not. Append-only JSON lines, synced; the file is rewritten without closed entries when it is opened.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::durable;

/// Past this size, in bytes, the file is rewritten without the entries that are closed.
const COMPACT_AT: u64 = 1 << 20;

/// A change that outlives the process that made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// A clsact qdisc was added to a device that had none.
    #[serde(rename_all = "camelCase")]
    ClsactQdisc { place: PlaceNote },
    /// A filter was put into a clsact qdisc.
    #[serde(rename_all = "camelCase")]
    ClsactFilter {
        place: PlaceNote,
        egress: bool,
        priority: u16,
        handle: u32,
    },
}

/// A device, by everything that helps to find it again and to see that it is the same one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlaceNote {
    /// Device and inode of the network namespace.
    pub netns_dev: u64,
    pub netns_inode: u64,
    /// How the namespace was entered: a path, or a name for people.
    pub netns: String,
    pub interface: String,
    pub ifindex: u32,
}

/// Names one entry while it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Entry(u64);

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error(
        "the journal {path} cannot be opened ({source}) – it is needed to undo changes after a crash: make it readable, or name another --state-dir"
    )]
    Open { path: PathBuf, source: io::Error },
    #[error(
        "the journal {path} cannot be written ({source}), so nothing is changed on the host – free space or make it writable; running faults can still be ended"
    )]
    Write { path: PathBuf, source: io::Error },
}

#[derive(Serialize, Deserialize)]
struct Line {
    entry: Entry,
    time: Timestamp,
    /// Present when the change is about to be made; absent when it has been undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made: Option<Change>,
}

impl fmt::Display for Change {
    /// `a clsact qdisc on eth0 in netns:blue`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, place) = match self {
            Self::ClsactQdisc { place } => ("a clsact qdisc", place),
            Self::ClsactFilter {
                place, egress: true, ..
            } => ("a filter at egress", place),
            Self::ClsactFilter {
                place, egress: false, ..
            } => ("a filter at ingress", place),
        };
        write!(f, "{what} on {} in {}", place.interface, place.netns)
    }
}

/// The open journal. One owner, who makes the changes; no lock.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// None: the disk takes nothing now; tried again when there is something to write.
    file: Option<File>,
    open: BTreeMap<Entry, Change>,
    next: u64,
    written: u64,
    damaged: usize,
}

impl Journal {
    /// Opens `journal.jsonl` in the state directory, or makes it. What a previous daemon left is in
    /// [`Journal::leftovers`] until it is closed. On a disk that takes nothing it opens all the same, so that what was
    /// left is undone, and refuses new changes until it can be written.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn open(state_dir: &Path) -> Result<Self, JournalError> {
        let path = state_dir.join("journal.jsonl");
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(JournalError::Open { path, source }),
        };
        let (open, damaged) = replay(&text);
        // Whatever a damaged line says its number is: the ones that are given from here on are new.
        let open = renumbered(open);
        let next = open.last_key_value().map_or(1, |(entry, _)| entry.0 + 1);
        let (file, written) = match rewrite(&path, &open) {
            Ok((file, written)) => (Some(file), written),
            Err(error) => {
                let path = path.display();
                tracing::error!(%error, "the journal {path} cannot be written: free space or make it writable");
                (None, 0)
            }
        };
        Ok(Self {
            path,
            file,
            open,
            next,
            written,
            damaged,
        })
    }

    /// Changes that were made and not undone, in the order in which they were made.
    pub fn leftovers(&self) -> Vec<(Entry, Change)> {
        self.open
            .iter()
            .map(|(entry, change)| (*entry, change.clone()))
            .collect()
    }

    /// Lines that could not be read when the journal was opened; a torn last line is not counted.
    pub fn damaged(&self) -> usize {
        self.damaged
    }

    /// Writes a change down. Returns when it is on the disk: only then make the change.
    ///
    /// # Errors
    /// It could not be written: do not make the change.
    pub fn record(&mut self, change: Change) -> Result<Entry, JournalError> {
        let entry = Entry(self.next);
        self.append(&Line {
            entry,
            time: Timestamp::now(),
            made: Some(change.clone()),
        })?;
        self.next += 1;
        self.open.insert(entry, change);
        Ok(entry)
    }

    /// Notes that a change has been undone. When that cannot be written, the next start undoes it again, which
    /// does no harm: it is looked for, and not found.
    pub fn close(&mut self, entry: Entry) {
        if self.open.remove(&entry).is_none() {
            return;
        }
        if let Err(error) = self.append(&Line {
            entry,
            time: Timestamp::now(),
            made: None,
        }) {
            tracing::warn!(%error, "an undone change stays in the journal");
            return;
        }
        if self.written > COMPACT_AT {
            match rewrite(&self.path, &self.open) {
                Ok((file, written)) => (self.file, self.written) = (Some(file), written),
                Err(error) => tracing::warn!(%error, "the journal could not be compacted"),
            }
        }
    }

    fn append(&mut self, line: &Line) -> Result<(), JournalError> {
        self.try_append(line).map_err(|source| JournalError::Write {
            path: self.path.clone(),
            source,
        })
    }

    fn try_append(&mut self, line: &Line) -> io::Result<()> {
        let text = to_line(line)?;
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let (file, written) = rewrite(&self.path, &self.open)?;
                self.written = written;
                none.insert(file)
            }
        };
        if let Err(error) = file.write_all(&text).and_then(|()| file.sync_data()) {
            // Half a line must not swallow the next one. If even this fails, replay skips the mixture.
            let _ = file.set_len(self.written);
            return Err(error);
        }
        self.written += text.len() as u64;
        Ok(())
    }
}

fn to_line(line: &Line) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(line).map_err(io::Error::other)?;
    text.push(b'\n');
    Ok(text)
}

/// What is open after all lines, and how many lines were unreadable. A last line without its newline was being
/// written when the daemon died, before the change was made: it is left out.
fn replay(text: &[u8]) -> (BTreeMap<Entry, Change>, usize) {
    let mut open = BTreeMap::new();
    let mut damaged = 0;
    let whole = text
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    for line in text[..whole]
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        match serde_json::from_slice::<Line>(line) {
            Ok(Line {
                entry,
                made: Some(change),
                ..
            }) => {
                open.insert(entry, change);
            }
            Ok(Line {
                entry, made: None, ..
            }) => {
                open.remove(&entry);
            }
            Err(error) => {
                damaged += 1;
                tracing::warn!(%error, "a line of the journal cannot be read and is left out");
            }
        }
    }
    (open, damaged)
}

/// Numbers from 1, in the same order, when the last one leaves no room to go on counting.
fn renumbered(open: BTreeMap<Entry, Change>) -> BTreeMap<Entry, Change> {
    const ROOM: u64 = u64::MAX / 2;
    if open.last_key_value().is_none_or(|(entry, _)| entry.0 < ROOM) {
        return open;
    }
    (1..).map(Entry).zip(open.into_values()).collect()
}

fn rewrite(path: &Path, open: &BTreeMap<Entry, Change>) -> io::Result<(File, u64)> {
    let mut text = Vec::new();
    for (entry, change) in open {
        text.extend(to_line(&Line {
            entry: *entry,
            time: Timestamp::now(),
            made: Some(change.clone()),
        })?);
    }
    durable::replace(path, &text)?;
    let file = OpenOptions::new().append(true).mode(0o600).open(path)?;
    Ok((file, text.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn changes(journal: &Journal) -> Vec<Change> {
        journal
            .leftovers()
            .into_iter()
            .map(|(_, change)| change)
            .collect()
    }

    #[test]
    fn what_was_not_undone_is_there_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap();
        let first = journal.record(change("eth0")).unwrap();
        journal.record(change("eth1")).unwrap();
        journal.close(first);
        drop(journal);
        let mut journal = Journal::open(dir.path()).unwrap();
        assert_eq!(changes(&journal), [change("eth1")]);
        let third = journal.record(change("eth2")).unwrap();
        assert!(
            journal
                .leftovers()
                .iter()
                .filter(|(entry, _)| *entry == third)
                .count()
                == 1
        );
        for (entry, _) in journal.leftovers() {
            journal.close(entry);
        }
        drop(journal);
        assert!(Journal::open(dir.path()).unwrap().leftovers().is_empty());
    }

    #[test]
    fn every_torn_last_line_is_tolerated() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let mut journal = Journal::open(dir.path()).unwrap();
        journal.record(change("eth0")).unwrap();
        let whole = std::fs::read(&path).unwrap().len();
        journal.record(change("eth1")).unwrap();
        drop(journal);
        let text = std::fs::read(&path).unwrap();
        for end in whole..text.len() {
            std::fs::write(&path, &text[..end]).unwrap();
            let journal = Journal::open(dir.path()).unwrap();
            assert_eq!(changes(&journal), [change("eth0")], "torn at {end}");
            assert_eq!(journal.damaged(), 0);
        }
    }

    #[test]
    fn a_line_of_rubbish_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let mut journal = Journal::open(dir.path()).unwrap();
        journal.record(change("eth0")).unwrap();
        drop(journal);
        let mut text = b"\xff\0rubbish\n".to_vec();
        text.extend(std::fs::read(&path).unwrap());
        std::fs::write(&path, text).unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        assert_eq!(changes(&journal), [change("eth0")]);
        assert_eq!(journal.damaged(), 1);
    }

    #[test]
    fn a_full_disk_refuses_the_change_and_closing_still_works() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap();
        let entry = journal.record(change("eth0")).unwrap();
        journal.file = Some(OpenOptions::new().write(true).open("/dev/full").unwrap());
        let refusal = journal.record(change("eth1")).unwrap_err();
        assert!(refusal.to_string().contains("nothing is changed"), "{refusal}");
        assert_eq!(journal.leftovers().len(), 1);
        journal.close(entry);
        assert!(journal.leftovers().is_empty());
    }

    #[test]
    fn a_journal_that_cannot_be_written_refuses_changes_until_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let mut journal = Journal::open(&path).unwrap();
        let refusal = journal.record(change("eth0")).unwrap_err();
        assert!(refusal.to_string().contains("journal.jsonl"), "{refusal}");
        assert!(journal.leftovers().is_empty());
        std::fs::create_dir(&path).unwrap();
        let entry = journal.record(change("eth0")).unwrap();
        assert_eq!(
            Journal::open(&path).unwrap().leftovers(),
            [(entry, change("eth0"))]
        );
    }

    #[test]
    fn a_journal_that_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("journal.jsonl")).unwrap();
        let error = Journal::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains("journal.jsonl"), "{error}");
    }

    #[test]
    fn the_file_does_not_grow_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap();
        journal.written = COMPACT_AT;
        let kept = journal.record(change("eth1")).unwrap();
        let entry = journal.record(change("eth0")).unwrap();
        journal.close(entry);
        assert!(journal.written < 1000);
        drop(journal);
        let journal = Journal::open(dir.path()).unwrap();
        assert_eq!(journal.leftovers(), [(kept, change("eth1"))]);
    }
}

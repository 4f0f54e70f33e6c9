//! The files: appended to, synced, and gone on with after a crash.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use chaos_spec::audit::{self, Entry, Head, Kind, Record};
use jiff::Timestamp;

use crate::safety::durable;

/// A file of this size, in bytes, is full.
const FULL: u64 = 16 << 20;

/// The end of the chain. Nothing is opened until there is something to write.
#[derive(Debug)]
pub(super) struct Log {
    dir: PathBuf,
    head_file: PathBuf,
    full: u64,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Bytes of whole records in it.
    size: u64,
    /// Number of the first record in it.
    first: u64,
    head: Head,
}

/// What was found when the log was opened.
struct Found {
    head: Head,
    size: u64,
    first: Option<u64>,
    /// What has to be said about it.
    remarks: Vec<String>,
}

pub(super) fn about_itself(message: String) -> Entry {
    Entry {
        kind: Kind::Log,
        message,
        ..Entry::default()
    }
}

impl Log {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self {
            dir: state_dir.join(audit::DIRECTORY),
            head_file: state_dir.join(audit::HEAD_FILE),
            full: FULL,
            open: None,
        }
    }

    #[cfg(test)]
    pub(super) fn full_at(mut self, bytes: u64) -> Self {
        self.full = bytes;
        self
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.join(audit::FILE)
    }

    /// Writes these, all or none; returns when they are on the disk. [`Log::note_head`] has to follow.
    ///
    /// # Errors
    /// What the system says; the log is as it was.
    pub(super) fn append(&mut self, entries: &[&(Timestamp, Entry)]) -> io::Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.reopen()?,
        };
        if open.size >= self.full {
            open = self.rotate(open)?;
        }
        match open.write(entries) {
            Ok(()) => {
                self.open = Some(open);
                Ok(())
            }
            Err(error) => {
                // Half a batch must not stay. If even this fails, the next opening finds the torn line and says so.
                let _ = open.file.set_len(open.size);
                Err(error)
            }
        }
    }

    /// A log goes on where it ended, whatever was done to it meanwhile: so a cut or an edit stays visible.
    fn reopen(&self) -> io::Result<Open> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let path = self.path();
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let found = self.look(&text);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)?;
        file.set_len(found.size)?;
        durable::sync_parent(&path)?;
        let mut open = Open {
            file,
            size: found.size,
            first: found.first.unwrap_or(found.head.seq.saturating_add(1)),
            head: found.head,
        };
        let now = Timestamp::now();
        let remarks: Vec<_> = found
            .remarks
            .into_iter()
            .map(|text| (now, about_itself(text)))
            .collect();
        if !remarks.is_empty() {
            for (_, remark) in &remarks {
                tracing::warn!("audit log: {}", remark.message);
            }
            if let Err(error) = open.write(&remarks.iter().collect::<Vec<_>>()) {
                // Said again by the next opening.
                let _ = open.file.set_len(open.size);
                return Err(error);
            }
            self.note(&open.head);
        }
        Ok(open)
    }

    fn look(&self, text: &[u8]) -> Found {
        let mut remarks = Vec::new();
        let whole = whole_length(text);
        let mut lines = whole_lines(text);
        let first = lines.clone().find_map(|line| audit::open(line).ok());
        let last = lines.rfind(|_| true).map(audit::open);
        let known = std::fs::read(&self.head_file);
        let known = match known.map(|text| serde_json::from_slice::<Head>(&text)) {
            Ok(Ok(head)) => Some(head),
            Err(error) if error.kind() == io::ErrorKind::NotFound && last.is_none() => None,
            Ok(Err(_)) | Err(_) => {
                remarks.push(format!(
                    "{} was missing or unreadable: whether records were cut off the end cannot be told",
                    self.head_file.display()
                ));
                None
            }
        };
        let torn = text.len() - whole;
        if torn > 0 {
            remarks.push(format!(
                "the last line was torn ({torn} bytes without an end): the daemon died while it wrote it; it was cut \
                 off"
            ));
        }
        let none = || Head {
            seq: 0,
            hash: audit::GENESIS.to_owned(),
        };
        // The newest that is known, as the log has it: whoever writes the log anew can give it as many records.
        let is_another = known.as_ref().is_some_and(|known| {
            let from_the_end = whole_lines(text).rev().filter_map(|line| audit::open(line).ok());
            let mut at_or_before = from_the_end.skip_while(|link| link.seq > known.seq);
            at_or_before
                .next()
                .is_some_and(|link| link.seq == known.seq && link.hash != known.hash)
        });
        let reaches = |known: &Head, link: &audit::Link| link.seq >= known.seq && !is_another;
        let head = match (last, known) {
            (None, None) => none(),
            // A daemon may die between writing a record and noting it as the newest.
            (Some(Ok(link)), known) if known.as_ref().is_none_or(|known| reaches(known, &link)) => Head {
                seq: link.seq,
                hash: link.hash,
            },
            (last, known) => {
                let known = known.unwrap_or_else(none);
                let what = match last {
                    Some(Ok(_)) if is_another => format!("has another record {}", known.seq),
                    Some(Ok(link)) => format!("ends with record {}", link.seq),
                    Some(Err(flaw)) => format!("ends with a line that {flaw}"),
                    None if known.seq == 0 || self.ends_in_rotated(&known) => String::new(),
                    None => "is gone".to_owned(),
                };
                if !what.is_empty() {
                    remarks.push(format!(
                        "{} {what}, but record {} was the newest: it was changed while no daemon looked",
                        audit::FILE,
                        known.seq
                    ));
                }
                known
            }
        };
        Found {
            head,
            size: whole as u64,
            first: first.map(|link| link.seq),
            remarks,
        }
    }

    /// Whether the newest record is at the end of a full file: the daemon died before it began the next.
    fn ends_in_rotated(&self, head: &Head) -> bool {
        let names = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let newest = names
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with("audit-") && name.ends_with(".jsonl"))
            .max();
        newest.is_some_and(|name| {
            let text = std::fs::read(self.dir.join(name)).unwrap_or_default();
            let last = text.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty());
            last.is_some_and(|line| audit::open(line).is_ok_and(|link| link.hash == head.hash))
        })
    }

    /// A full file gets the name of its first record; the next one goes on with the chain.
    fn rotate(&self, open: Open) -> io::Result<Open> {
        let path = self.path();
        std::fs::rename(&path, self.dir.join(audit::rotated(open.first)))?;
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)?;
        durable::sync_parent(&path)?;
        Ok(Open {
            file,
            size: 0,
            first: open.head.seq.saturating_add(1),
            head: open.head,
        })
    }

    /// Notes the newest record beside the log. Nobody waits for that: should the daemon die first, the log has more records
    /// than are known of, which is nothing odd.
    pub(super) fn note_head(&self) {
        if let Some(open) = &self.open {
            self.note(&open.head);
        }
    }

    fn note(&self, head: &Head) {
        let noted = serde_json::to_vec(head)
            .map_err(io::Error::other)
            .and_then(|text| durable::replace(&self.head_file, &text));
        if let Err(error) = noted {
            tracing::warn!(%error, "the newest record of the audit log is not noted beside it");
        }
    }
}

/// Bytes up to the end of the last line that has one.
fn whole_length(text: &[u8]) -> usize {
    text.iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |last| last + 1)
}

/// Lines that have an end, without those that are empty.
fn whole_lines(text: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
    text[..whole_length(text)]
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
}

impl Open {
    fn write(&mut self, entries: &[&(Timestamp, Entry)]) -> io::Result<()> {
        let mut text = String::new();
        let mut head = self.head.clone();
        for (time, entry) in entries {
            let record = Record {
                // A head file that was tampered with may say that counting is over: `audit verify` finds the repeated number.
                seq: head.seq.saturating_add(1),
                time: *time,
                previous: head.hash,
                entry: entry.clone(),
            };
            let (line, hash) = audit::seal(&record).map_err(io::Error::other)?;
            text.push_str(&line);
            head = Head {
                seq: record.seq,
                hash,
            };
        }
        self.file.write_all(text.as_bytes())?;
        self.file.sync_data()?;
        self.size += text.len() as u64;
        self.head = head;
        Ok(())
    }
}

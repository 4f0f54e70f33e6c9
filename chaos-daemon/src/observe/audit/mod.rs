//! Who did what, in a file that shows when it was tampered with. One thread writes; everybody else tells it.

mod log;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use chaos_spec::api::{Event, EventKind};
use chaos_spec::audit::{Entry, Kind};
use jiff::Timestamp;
use tokio::sync::oneshot;

use log::Log;

/// Entries that wait while the disk refuses them; more are counted and lost.
const MOST_WAITING: usize = 10_000;
/// Between two tries to write what waits.
const RETRY: Duration = Duration::from_secs(1);
/// Entries that share one sync.
const BATCH: usize = 1024;

/// Why an entry is not on the disk.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the audit log {path} cannot be written ({why}), so no new fault is started – free space or make it writable; \
     running faults can still be ended"
)]
pub struct AuditError {
    path: PathBuf,
    why: String,
}

/// Tells the thread. Clones tell the same one.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// None: nothing is kept, as in tests of other rooms.
    messages: Option<mpsc::Sender<Message>>,
    path: PathBuf,
}

#[derive(Debug)]
enum Message {
    Note(Timestamp, Entry),
    /// Answered when it is on the disk, or is known not to be.
    Record(Timestamp, Entry, oneshot::Sender<Result<(), AuditError>>),
    /// Answered when everything before it has been tried.
    Settle(oneshot::Sender<()>),
}

impl Audit {
    /// Goes on with the log in the state directory. A log that cannot be written now is tried again: faults are
    /// refused meanwhile.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(state_dir: &Path) -> std::io::Result<Self> {
        let (messages, inbox) = mpsc::channel();
        let mut writer = Writer {
            log: Log::new(state_dir),
            waiting: VecDeque::new(),
            lost: 0,
        };
        let path = writer.log.path();
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run(&inbox))?;
        Ok(Self {
            messages: Some(messages),
            path,
        })
    }

    /// The file that is written to.
    pub fn path(&self) -> Option<&Path> {
        self.messages.as_ref().map(|_| self.path.as_path())
    }

    /// Takes down something that has happened. Neither waits nor fails: what happened is not undone because it cannot
    /// be written.
    pub fn note(&self, entry: Entry) {
        self.send(Message::Note(Timestamp::now(), entry));
    }

    /// Takes down something that is about to happen; returns when that is on the disk.
    ///
    /// # Errors
    /// It could not be written: do not let it happen.
    pub async fn record(&self, entry: Entry) -> Result<(), AuditError> {
        let (reply, answer) = oneshot::channel();
        if !self.send(Message::Record(Timestamp::now(), entry, reply)) {
            return Ok(());
        }
        answer.await.unwrap_or_else(|_| {
            Err(AuditError {
                path: self.path.clone(),
                why: "its thread has died".to_owned(),
            })
        })
    }

    /// Waits until everything noted so far is on the disk, and `audit.head` with it, or was refused by it; no longer than
    /// `patience`.
    pub async fn settle(&self, patience: Duration) {
        let (reply, answer) = oneshot::channel();
        if self.send(Message::Settle(reply)) {
            // Whatever has become of it, the caller goes on.
            let _ = tokio::time::timeout(patience, answer).await;
        }
    }

    /// Takes down an event of the engine.
    pub fn event(&self, event: &Event) {
        let kind = match event.kind {
            EventKind::FaultActive => Kind::FaultActive,
            EventKind::FaultChanged => Kind::FaultChanged,
            EventKind::FaultEnded => Kind::FaultEnded,
            EventKind::Halted => Kind::Halted,
            EventKind::Released => Kind::Released,
            EventKind::Recovered => Kind::Recovered,
            EventKind::ExperimentStarted => Kind::ExperimentStarted,
            EventKind::ExperimentEnded => Kind::ExperimentEnded,
            EventKind::DaemonStarted => Kind::DaemonStarted,
            EventKind::DaemonStopping => Kind::DaemonStopping,
            EventKind::Warning => Kind::Warning,
            EventKind::PolicyReloaded => Kind::PolicyReloaded,
            // Refusals are taken down with their caller, where the request came in.
            EventKind::FaultRefused => return,
            _ => Kind::Other,
        };
        self.note(Entry {
            kind,
            fault: event.fault.clone(),
            message: event.message.clone(),
            ..Entry::default()
        });
    }

    /// Whether anything is kept at all.
    fn send(&self, message: Message) -> bool {
        let Some(messages) = &self.messages else {
            return false;
        };
        if messages.send(message).is_err() {
            tracing::error!("the audit log's thread has died: new faults are refused");
        }
        true
    }
}

struct Writer {
    log: Log,
    waiting: VecDeque<(Timestamp, Entry)>,
    /// Entries for which there was no room any more.
    lost: u64,
}

impl Writer {
    fn run(&mut self, inbox: &mpsc::Receiver<Message>) {
        loop {
            let first = if self.waiting.is_empty() {
                inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                inbox.recv_timeout(RETRY)
            };
            match first {
                Ok(message) => {
                    let more = std::iter::from_fn(|| inbox.try_recv().ok()).take(BATCH);
                    let messages: Vec<_> = std::iter::once(message).chain(more).collect();
                    self.take(messages);
                }
                Err(RecvTimeoutError::Timeout) => {
                    if self.write().is_ok() {
                        self.log.note_head();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    match self.write() {
                        Ok(()) => self.log.note_head(),
                        Err(error) => {
                            tracing::error!(%error, lost = self.waiting.len(), "the audit log ends before the daemon");
                        }
                    }
                    return;
                }
            }
        }
    }

    fn take(&mut self, messages: Vec<Message>) {
        let (mut records, mut settled) = (Vec::new(), Vec::new());
        // What was recorded and could not be written has not happened: it does not wait.
        let mut asked = Vec::new();
        for message in messages {
            match message {
                Message::Note(time, entry) => self.wait((time, entry)),
                Message::Record(time, entry, reply) => {
                    asked.push(self.waiting.len());
                    self.waiting.push_back((time, entry));
                    records.push(reply);
                }
                Message::Settle(reply) => settled.push(reply),
            }
        }
        let wrote = !self.waiting.is_empty();
        let written = self.write();
        if written.is_err() {
            for place in asked.into_iter().rev() {
                self.waiting.remove(place);
            }
        }
        // Who asked may have gone away meanwhile.
        for reply in records {
            let _ = reply.send(written.clone());
        }
        if wrote && written.is_ok() {
            self.log.note_head();
        }
        for reply in settled {
            let _ = reply.send(());
        }
    }

    fn wait(&mut self, entry: (Timestamp, Entry)) {
        if self.waiting.len() >= MOST_WAITING {
            self.lost += 1;
        } else {
            self.waiting.push_back(entry);
        }
    }

    /// Writes all that waits, or nothing.
    fn write(&mut self) -> Result<(), AuditError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let lost = (self.lost > 0).then(|| {
            let message = format!("{} records could not be written and are lost", self.lost);
            (Timestamp::now(), log::about_itself(message))
        });
        let entries: Vec<_> = self.waiting.iter().chain(lost.iter()).collect();
        match self.log.append(&entries) {
            Ok(()) => {
                self.waiting.clear();
                self.lost = 0;
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, waiting = self.waiting.len(), "the audit log cannot be written");
                Err(AuditError {
                    path: self.log.path(),
                    why: error.to_string(),
                })
            }
        }
    }
}

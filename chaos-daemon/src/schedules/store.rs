//! One file for each schedule, in the state directory.

use std::io;
use std::path::Path;

use chaos_spec::api::ScheduleStatus;
use chaos_spec::schedule::ScheduleSubmission;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use crate::safety::{Caller, Documents};

/// The largest file that is read back: as much as may be sent, and a status.
const LARGEST: u64 = 5 << 20;

/// A schedule, as it stands on the disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kept {
    pub(super) submission: ScheduleSubmission,
    pub(super) by: Caller,
    pub(super) status: ScheduleStatus,
    /// The next time that the clock says; it begins `late` after it.
    pub(super) next: Option<Timestamp>,
    pub(super) late: SignedDuration,
    /// Which of those of its name it is, in this process.
    #[serde(skip)]
    pub(super) number: u64,
    /// One that was due is being begun.
    #[serde(skip)]
    pub(super) busy: bool,
}

/// Writes one after the other, away from the threads that serve.
#[derive(Debug)]
pub(super) struct Store {
    documents: Documents,
    turn: Mutex<()>,
}

impl Store {
    pub(super) fn open(state_dir: &Path) -> Self {
        Self {
            documents: Documents::open(state_dir.join("schedules"), LARGEST),
            turn: Mutex::default(),
        }
    }

    /// What is there.
    pub(super) fn read(&self) -> Vec<Kept> {
        self.documents.all()
    }

    /// # Errors
    /// The disk does not take it.
    pub(super) async fn write(&self, kept: Kept) -> io::Result<()> {
        let _turn = self.turn.lock().await;
        let documents = self.documents.clone();
        spawn_blocking(move || documents.write(kept.submission.schedule.name(), &kept))
            .await
            .map_err(io::Error::other)?
    }

    /// # Errors
    /// The disk does not let go of it.
    pub(super) async fn remove(&self, name: String) -> io::Result<()> {
        let _turn = self.turn.lock().await;
        let documents = self.documents.clone();
        spawn_blocking(move || documents.remove(&name))
            .await
            .map_err(io::Error::other)?
    }
}

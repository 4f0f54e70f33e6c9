//! One file for each schedule, in the state directory.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use chaos_spec::api::ScheduleStatus;
use chaos_spec::schedule::ScheduleSubmission;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::safety::{Caller, durable};

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
}

#[derive(Clone, Debug)]
pub(super) struct Store {
    folder: PathBuf,
}

impl Store {
    pub(super) fn open(state_dir: &Path) -> Self {
        let folder = state_dir.join("schedules");
        if let Err(error) = DirBuilder::new().mode(0o700).recursive(true).create(&folder) {
            tracing::error!(%error, folder = %folder.display(), "no schedules are kept");
        }
        Self { folder }
    }

    /// What is there. A file that cannot be read is left alone, and the log says so.
    pub(super) fn read(&self) -> Vec<Kept> {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let files = paths.filter(|path| path.extension().is_some_and(|ending| ending == "json"));
        files
            .filter_map(|path| match read(&path) {
                Ok(kept) => Some(kept),
                Err(error) => {
                    tracing::error!(%error, path = %path.display(), "a schedule cannot be read; it begins nothing");
                    None
                }
            })
            .collect()
    }

    /// # Errors
    /// The disk does not take it.
    pub(super) fn write(&self, kept: &Kept) -> io::Result<()> {
        let text = serde_json::to_vec(kept).map_err(io::Error::other)?;
        durable::replace(&self.path(kept.submission.schedule.name()), &text)
    }

    /// # Errors
    /// The disk does not let go of it.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        durable::remove(&self.path(name))
    }

    /// Names are checked before they are kept: letters, digits and hyphens.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }
}

fn read(path: &Path) -> io::Result<Kept> {
    let length = fs::metadata(path)?.len();
    if length > LARGEST {
        return Err(io::Error::other(format!(
            "{length} bytes are too many for a schedule"
        )));
    }
    serde_json::from_slice(&fs::read(path)?).map_err(io::Error::other)
}

//! One file for each run, in the state directory: its report, from its start on.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chaos_spec::api::{ExperimentPhase, ExperimentView, Outcome};
use jiff::Timestamp;

use crate::safety::durable;

/// Runs that are kept; older ones are forgotten.
const KEPT: usize = 200;
/// The largest report that is read back.
const LARGEST: u64 = 64 << 20;

/// The files, and what is in them but the samples.
#[derive(Clone)]
pub(super) struct Store {
    folder: PathBuf,
    known: Arc<Mutex<Vec<ExperimentView>>>,
}

impl Store {
    /// Reads what is there. A file that cannot be read is left alone, and the log says so.
    pub(super) fn open(state_dir: &Path) -> Self {
        let store = Self {
            folder: state_dir.join("experiments"),
            known: Arc::default(),
        };
        let made = DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(&store.folder);
        if let Err(error) = made {
            tracing::error!(%error, folder = %store.folder.display(), "no reports are kept");
        }
        for mut view in store.written() {
            if view.status.outcome.is_none() {
                interrupted(&mut view);
                if let Err(error) = store.write(&view) {
                    tracing::error!(%error, id = view.id, "what ran when the previous daemon died cannot be marked");
                }
            }
            store.remember(&view);
        }
        store
    }

    fn written(&self) -> Vec<ExperimentView> {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let reports = paths.filter(|path| path.extension().is_some_and(|ending| ending == "json"));
        let mut views: Vec<ExperimentView> = reports
            .filter_map(|path| match read(&path) {
                Ok(view) => Some(view),
                Err(error) => {
                    tracing::error!(%error, path = %path.display(), "a report cannot be read; it is left as it is");
                    None
                }
            })
            .collect();
        views.sort_by(|a, b| a.id.cmp(&b.id));
        views
    }

    /// Without samples, the oldest first.
    pub(super) fn all(&self) -> Vec<ExperimentView> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes it, in place of what was written of the same run.
    ///
    /// # Errors
    /// The disk does not take it.
    pub(super) async fn keep(&self, view: &ExperimentView) -> io::Result<()> {
        let (store, whole) = (self.clone(), view.clone());
        let kept = tokio::task::spawn_blocking(move || store.write(&whole))
            .await
            .map_err(io::Error::other)?;
        self.remember(view);
        kept
    }

    /// One with its samples.
    pub(super) async fn read(&self, id: &str) -> Option<ExperimentView> {
        let known = self.all().into_iter().find(|view| view.id == id)?;
        let path = self.path(id);
        let whole = tokio::task::spawn_blocking(move || read(&path)).await;
        Some(whole.ok().and_then(Result::ok).unwrap_or(known))
    }

    fn write(&self, view: &ExperimentView) -> io::Result<()> {
        let text = serde_json::to_vec(view).map_err(io::Error::other)?;
        durable::replace(&self.path(&view.id), &text)
    }

    /// Ids are ours, so they are names of files.
    fn path(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    fn remember(&self, view: &ExperimentView) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|other| other.id != view.id);
        known.push(view.in_short());
        if known.len() > KEPT {
            let oldest = known.remove(0);
            if let Err(error) = durable::remove(&self.path(&oldest.id)) {
                tracing::warn!(%error, id = oldest.id, "an old report cannot be removed");
            }
        }
    }
}

fn read(path: &Path) -> io::Result<ExperimentView> {
    let length = fs::metadata(path)?.len();
    if length > LARGEST {
        return Err(io::Error::other(format!(
            "{length} bytes are too many for a report"
        )));
    }
    serde_json::from_slice(&fs::read(path)?).map_err(io::Error::other)
}

fn interrupted(view: &mut ExperimentView) {
    let status = &mut view.status;
    status.phase = ExperimentPhase::Done;
    status.outcome = Some(Outcome::Interrupted);
    status.message =
        Some("the daemon died while it ran; its faults ended with it, and nothing is begun again".to_owned());
    status.ended_at = Some(Timestamp::now());
}

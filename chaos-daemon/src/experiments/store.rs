//! One file for each run, in the state directory: its report, from its start on.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use chaos_spec::api::{ExperimentPhase, ExperimentView, Outcome};
use jiff::Timestamp;

use crate::safety::Documents;

/// Runs that are kept; older ones are forgotten.
const KEPT: usize = 200;
/// The largest report that is read back.
const LARGEST: u64 = 64 << 20;

/// The files, and what is in them but the samples.
#[derive(Clone)]
pub(super) struct Store {
    documents: Documents,
    known: Arc<Mutex<Vec<ExperimentView>>>,
}

impl Store {
    /// Reads what is there.
    pub(super) fn open(state_dir: &Path) -> Self {
        let store = Self {
            documents: Documents::open(state_dir.join("experiments"), LARGEST),
            known: Arc::default(),
        };
        let mut written: Vec<ExperimentView> = store.documents.all();
        written.sort_by(|a, b| a.id.cmp(&b.id));
        for mut view in written {
            if view.status.outcome.is_none() {
                interrupted(&mut view);
                if let Err(error) = store.documents.write(&view.id, &view) {
                    tracing::error!(%error, id = view.id, "what ran when the previous daemon died cannot be marked");
                }
            }
            store.remember(&view);
        }
        store
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
        let (documents, whole) = (self.documents.clone(), view.clone());
        let kept = tokio::task::spawn_blocking(move || documents.write(&whole.id, &whole))
            .await
            .map_err(io::Error::other)?;
        self.remember(view);
        kept
    }

    /// One with its samples.
    pub(super) async fn read(&self, id: &str) -> Option<ExperimentView> {
        let known = self.all().into_iter().find(|view| view.id == id)?;
        let (documents, id) = (self.documents.clone(), id.to_owned());
        let whole = tokio::task::spawn_blocking(move || documents.read(&id)).await;
        Some(whole.ok().and_then(Result::ok).unwrap_or(known))
    }

    fn remember(&self, view: &ExperimentView) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|other| other.id != view.id);
        known.push(view.in_short());
        if known.len() > KEPT {
            let oldest = known.remove(0);
            if let Err(error) = self.documents.remove(&oldest.id) {
                tracing::warn!(%error, id = oldest.id, "an old report cannot be removed");
            }
        }
    }
}

fn interrupted(view: &mut ExperimentView) {
    let status = &mut view.status;
    status.phase = ExperimentPhase::Done;
    status.outcome = Some(Outcome::Interrupted);
    status.message =
        Some("the daemon died while it ran; its faults ended with it, and nothing is begun again".to_owned());
    status.ended_at = Some(Timestamp::now());
}

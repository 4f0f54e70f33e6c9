//! The halt, kept in a file so that it outlives the daemon.

use std::io;
use std::path::{Path, PathBuf};

use chaos_spec::api::HaltState;
use jiff::Timestamp;

use super::{Caller, durable};

/// `halt.json` in the state directory. There: halted. Not there: free. Unreadable: halted.
#[derive(Clone, Debug)]
pub struct HaltFile {
    path: PathBuf,
}

/// Why the halt could not be written down or taken back.
#[derive(Debug, thiserror::Error)]
pub enum HaltError {
    #[error(
        "every fault has ended and new ones are refused, but {path} could not be written ({source}), so a restart \
         would forget the halt – make the state directory writable and call halt again"
    )]
    NotKept { path: PathBuf, source: io::Error },
    #[error(
        "{path} could not be removed ({source}), so the halt stays – remove it by hand and release again"
    )]
    NotReleased { path: PathBuf, source: io::Error },
}

impl HaltFile {
    pub fn new(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join("halt.json"),
        }
    }

    /// What the file says. When in doubt, halted.
    pub fn read(&self) -> HaltState {
        let doubtful = |why: String| HaltState {
            halted: true,
            since: None,
            by: None,
            reason: Some(format!(
                "{} {why}; taken for a halt – release it to go on",
                self.path.display()
            )),
        };
        match std::fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => HaltState::default(),
            Err(error) => doubtful(format!("cannot be read ({error})")),
            Ok(text) => match serde_json::from_slice::<HaltState>(&text) {
                Ok(state) => HaltState {
                    halted: true,
                    ..state
                },
                Err(error) => doubtful(format!("is damaged ({error})")),
            },
        }
    }

    /// Writes the halt down, durably.
    ///
    /// # Errors
    /// The file cannot be written: the halt then holds for this process only.
    pub fn write(&self, caller: &Caller, reason: Option<String>) -> (HaltState, Result<(), HaltError>) {
        let state = HaltState {
            halted: true,
            since: Some(Timestamp::now()),
            by: Some(caller.to_string()),
            reason,
        };
        let kept = serde_json::to_vec_pretty(&state)
            .map_err(io::Error::other)
            .and_then(|text| durable::replace(&self.path, &text))
            .map_err(|source| HaltError::NotKept {
                path: self.path.clone(),
                source,
            });
        (state, kept)
    }

    /// Takes the halt back, durably.
    ///
    /// # Errors
    /// The file cannot be removed: the halt then stays.
    pub fn clear(&self) -> Result<(), HaltError> {
        durable::remove(&self.path).map_err(|source| HaltError::NotReleased {
            path: self.path.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> (tempfile::TempDir, HaltFile) {
        let dir = tempfile::tempdir().unwrap();
        let file = HaltFile::new(dir.path());
        (dir, file)
    }

    #[test]
    fn a_halt_is_read_back_and_can_be_released() {
        let (_dir, file) = file();
        assert!(!file.read().halted);
        let (state, kept) = file.write(&Caller::Signal, Some("lunch".to_owned()));
        kept.unwrap();
        assert_eq!(file.read(), state);
        assert_eq!(state.reason.as_deref(), Some("lunch"));
        file.clear().unwrap();
        assert!(!file.read().halted);
        file.clear().unwrap();
    }

    #[test]
    fn a_damaged_file_means_halted() {
        let (_dir, file) = file();
        for damage in ["", "{", "not json", "[]", "\0\0\0\0"] {
            std::fs::write(&file.path, damage).unwrap();
            let state = file.read();
            assert!(state.halted, "{damage:?}");
            assert!(state.reason.unwrap().contains("damaged"));
        }
    }

    #[test]
    fn a_file_that_denies_itself_still_means_halted() {
        let (_dir, file) = file();
        std::fs::write(&file.path, br#"{"halted": false}"#).unwrap();
        assert!(file.read().halted);
    }

    #[test]
    fn an_unreadable_file_means_halted() {
        let (_dir, file) = file();
        std::fs::create_dir(&file.path).unwrap();
        assert!(file.read().halted);
        assert!(file.clear().is_err());
    }

    #[test]
    fn a_halt_that_cannot_be_kept_is_said_so() {
        let (dir, file) = file();
        drop(dir);
        let (state, kept) = file.write(&Caller::Signal, None);
        assert!(state.halted);
        assert!(kept.unwrap_err().to_string().contains("restart would forget"));
    }
}

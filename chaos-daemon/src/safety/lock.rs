//! One daemon per host.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Held for the life of the daemon; the kernel lets go of it with the process, however that ends.
#[derive(Debug)]
pub struct HostLock {
    _file: File,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error(
        "a chaos-daemon answers on {0} already – one daemon per host: stop that one first, or talk to it"
    )]
    Answers(PathBuf),
    #[error("another chaos-daemon{holder} holds {path} – one daemon per host: stop that one first")]
    Held { path: PathBuf, holder: String },
    #[error(
        "the state directory {path} cannot be used ({source}) – run as root, or name another with --state-dir"
    )]
    StateDir { path: PathBuf, source: io::Error },
}

impl HostLock {
    /// Takes the lock on `state_dir`, which is made (0700) when it is absent.
    ///
    /// # Errors
    /// Another daemon is there. Nothing of its has been touched: not its socket, not its state.
    pub fn acquire(state_dir: &Path, socket: &Path) -> Result<Self, LockError> {
        // Asked first: a daemon with another state directory may own the socket.
        if UnixStream::connect(socket).is_ok() {
            return Err(LockError::Answers(socket.to_owned()));
        }
        let unusable = |source| LockError::StateDir {
            path: state_dir.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state_dir)
            .map_err(unusable)?;
        let path = state_dir.join("lock");
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        let mut file = match opened {
            // What a previous daemon left has to be undone on such a disk, too, and a lock need not be written to.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => File::open(&path),
            opened => opened,
        }
        .map_err(unusable)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // Only for the message: an unreadable pid is left out.
                let _ = file.read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => String::new(),
                    pid => format!(" (pid {pid})"),
                };
                return Err(LockError::Held { path, holder });
            }
            Err(error) => return Err(unusable(error.into())),
        }
        if let Err(error) = note_pid(&mut file) {
            let path = path.display();
            tracing::error!(%error, "{path} cannot be written: nobody can see there who holds it");
        }
        Ok(Self { _file: file })
    }
}

/// Over what is there, so that a full disk that had room for a pid has room for this one.
fn note_pid(file: &mut File) -> io::Result<()> {
    let text = format!("{}\n", std::process::id());
    file.rewind()?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn the_second_is_refused_and_names_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("api.sock");
        let first = HostLock::acquire(dir.path(), &socket).unwrap();
        let refusal = HostLock::acquire(dir.path(), &socket).unwrap_err();
        assert!(
            refusal
                .to_string()
                .contains(&format!("pid {}", std::process::id())),
            "{refusal}"
        );
        drop(first);
        HostLock::acquire(dir.path(), &socket).unwrap();
    }

    #[test]
    fn a_socket_that_answers_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("api.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let elsewhere = dir.path().join("other");
        let refusal = HostLock::acquire(&elsewhere, &socket).unwrap_err();
        assert!(matches!(refusal, LockError::Answers(_)));
        assert!(!elsewhere.exists());
        assert!(socket.exists());
        drop(listener);
        HostLock::acquire(&elsewhere, &socket).unwrap();
    }
}

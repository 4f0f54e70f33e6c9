//! A halt without the daemon's help: for when it hangs, is stopped, or is dead. Needs to be who it runs as.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chaos_spec::api::HaltState;
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How long a daemon that is not stopped may take to undo everything by itself.
const ORDERLY: Duration = Duration::from_millis(500);
/// How long the kernel may take to end a process.
const KILLED: Duration = Duration::from_secs(5);

/// What became of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// There was none.
    NotRunning,
    /// It undid everything and left.
    InOrder(u32),
    /// It was killed.
    Killed(u32),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum LocalError {
    #[error("{} is no state directory of a daemon ({source}) – name it with --state-dir, as the daemon does", .path.display())]
    StateDir { path: PathBuf, source: io::Error },
    #[error(
        "the halt could not be written to {} ({source}), and nothing else was done – run it as root (sudo), or \
         kill the daemon: its faults end with it", .path.display()
    )]
    NotKept { path: PathBuf, source: io::Error },
    #[error(
        "the next start of the daemon is halted, but {}, so nothing was killed – faults end with the lease; to end \
         them now, end the daemon by hand", .0
    )]
    NotFound(String),
    #[error(
        "the next start of the daemon is halted, but pid {pid} cannot be ended ({source}) – faults end with the lease"
    )]
    NotEnded { pid: u32, source: io::Error },
}

/// Writes the halt down first, so that whatever is started next refuses; then ends the daemon, and with it its faults.
pub(super) fn halt(state_dir: &Path, reason: Option<String>) -> Result<Ended, LocalError> {
    let known = fs::metadata(state_dir).and_then(|about| {
        let is_folder = about.is_dir();
        is_folder
            .then_some(())
            .ok_or_else(|| io::ErrorKind::NotADirectory.into())
    });
    known.map_err(|source| LocalError::StateDir {
        path: state_dir.to_owned(),
        source,
    })?;
    keep(state_dir, reason)?;
    end_daemon(&state_dir.join("lock"))
}

/// An earlier halt keeps its name and reason.
fn keep(state_dir: &Path, reason: Option<String>) -> Result<(), LocalError> {
    let path = state_dir.join("halt.json");
    let uid = rustix::process::getuid().as_raw();
    let state = HaltState {
        halted: true,
        since: Some(Timestamp::now()),
        by: Some(format!("uid {uid}, by chaosctl halt --local")),
        reason,
    };
    let write = || {
        if path.symlink_metadata().is_ok() {
            return Ok(());
        }
        let fresh = state_dir.join("halt.json.new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(&serde_json::to_vec_pretty(&state)?)?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        File::open(state_dir)?.sync_all()
    };
    write().map_err(|source| LocalError::NotKept {
        path: path.clone(),
        source,
    })
}

fn end_daemon(lock: &Path) -> Result<Ended, LocalError> {
    let file = match File::open(lock) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ended::NotRunning),
        Err(error) => {
            return Err(LocalError::NotFound(format!(
                "{} cannot be read ({error})",
                lock.display()
            )));
        }
    };
    // A daemon holds this lock for as long as it lives; the kernel lets go of it.
    if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        return Ok(Ended::NotRunning);
    }
    let text = fs::read_to_string(lock).unwrap_or_default();
    let Some(pid) = text.trim().parse().ok().filter(|pid| *pid > 1) else {
        return Err(LocalError::NotFound(format!(
            "{} names no process",
            lock.display()
        )));
    };
    let ended = |source: rustix::io::Errno| LocalError::NotEnded {
        pid,
        source: source.into(),
    };
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let process = process.ok_or_else(|| LocalError::NotFound(format!("{pid} is no process id")))?;
    // The descriptor first: whatever is found out about the pid after this is about this very process.
    let process = pidfd_open(process, PidfdFlags::empty()).map_err(ended)?;
    if !holds(pid, &file) {
        let why = format!("pid {pid}, which {} names, does not hold it", lock.display());
        return Err(LocalError::NotFound(why));
    }
    if !is_stopped(pid) {
        pidfd_send_signal(&process, Signal::TERM).map_err(ended)?;
        if gone_within(&process, ORDERLY) {
            return Ok(Ended::InOrder(pid));
        }
    }
    pidfd_send_signal(&process, Signal::KILL).map_err(ended)?;
    if gone_within(&process, KILLED) {
        Ok(Ended::Killed(pid))
    } else {
        Err(ended(rustix::io::Errno::TIMEDOUT))
    }
}

/// Whether a process has this very file open, which is what only the daemon does.
fn holds(pid: u32, lock: &File) -> bool {
    let Ok(wanted) = lock.metadata() else { return false };
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    open.filter_map(Result::ok).any(|entry| {
        fs::metadata(entry.path())
            .is_ok_and(|about| (about.dev(), about.ino()) == (wanted.dev(), wanted.ino()))
    })
}

fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // "pid (comm) state …": the name may hold anything.
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, after)| after.trim_start().chars().next());
    matches!(state, Some('T' | 't'))
}

/// A descriptor of a process becomes readable when the process is no more.
fn gone_within(process: &OwnedFd, patience: Duration) -> bool {
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    let timeout = Timespec::try_from(patience).ok();
    poll(&mut fds, timeout.as_ref()).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_daemon_the_halt_is_kept_and_nobody_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            halt(dir.path(), Some("lunch".to_owned())).unwrap(),
            Ended::NotRunning
        );
        let read = || fs::read_to_string(dir.path().join("halt.json")).unwrap();
        let first = read();
        assert!(first.contains("lunch") && first.contains("\"halted\": true"));
        // A lock that nobody holds, with the pid of somebody who is not the daemon: this very test.
        fs::write(dir.path().join("lock"), std::process::id().to_string()).unwrap();
        assert_eq!(halt(dir.path(), None).unwrap(), Ended::NotRunning);
        assert_eq!(read(), first, "the first halt keeps its name");
    }

    #[test]
    fn a_process_that_does_not_hold_the_lock_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("lock");
        let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        fs::write(&lock, other.id().to_string()).unwrap();
        let held = File::open(&lock).unwrap();
        flock(&held, FlockOperation::LockExclusive).unwrap();
        let error = halt(dir.path(), None).unwrap_err();
        assert!(matches!(error, LocalError::NotFound(_)), "{error}");
        assert!(other.try_wait().unwrap().is_none(), "it lives");
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(dir.path().join("halt.json").exists());
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = halt(Path::new("/nonexistent"), None).unwrap_err();
        assert!(error.to_string().contains("--state-dir"), "{error}");
    }
}

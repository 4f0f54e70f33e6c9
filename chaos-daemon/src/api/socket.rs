//! The socket: where it is, and who may open it.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Gid, Group, chown};

/// Members of this group may talk to the daemon.
const GROUP: &str = "chaos";

/// Who may open the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// 0660 root:chaos.
    Group(Gid),
    /// 0666: whoever comes is asked who it is, for a policy says what each may do.
    Everybody,
    /// 0600: the daemon's own user. There is no such group, and it could not be made.
    OwnUser,
}

#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("a chaos-daemon answers on {0} already – one daemon per host: stop that one first")]
    Answers(PathBuf),
    #[error("{0} is there and is no socket – remove it, or name another path with --socket")]
    NotASocket(PathBuf),
    #[error(
        "the socket {path} cannot be made: {what}: {source} – run as root, or name another path with --socket"
    )]
    System {
        path: PathBuf,
        what: &'static str,
        source: io::Error,
    },
}

/// The listening socket; its file is removed when this is dropped.
#[derive(Debug)]
pub struct ApiSocket {
    path: PathBuf,
    listener: tokio::net::UnixListener,
}

impl ApiSocket {
    /// Binds `path`: its directory is made (0755) when it is absent, a socket that a dead daemon left behind is replaced,
    /// and nobody can open the new one before its mode and owner are right. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// Somebody answers there, something else is there, or the system refuses.
    pub fn bind(path: &Path, access: &Access) -> Result<Self, SocketError> {
        let failed = |what| {
            move |source: io::Error| SocketError::System {
                path: path.to_owned(),
                what,
                source,
            }
        };
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(SocketError::Answers(path.to_owned()));
        }
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(SocketError::NotASocket(path.to_owned()));
            }
            _ => {}
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(parent)
                .map_err(failed("make its directory"))?;
        }
        // Bound under another name and moved into place: so it appears with its final mode, and replaces a stale
        // one in the same step.
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove an old one")(error));
            }
            _ => {}
        }
        let listener = UnixListener::bind(&fresh).map_err(failed("bind"))?;
        let mode = match access {
            Access::Group(group) => {
                chown(&fresh, None, Some(*group)).map_err(|error| failed("chown")(error.into()))?;
                0o660
            }
            Access::Everybody => 0o666,
            Access::OwnUser => 0o600,
        };
        std::fs::set_permissions(&fresh, Permissions::from_mode(mode)).map_err(failed("chmod"))?;
        std::fs::rename(&fresh, path).map_err(failed("move into place"))?;
        listener
            .set_nonblocking(true)
            .map_err(failed("set non-blocking"))?;
        let listener = tokio::net::UnixListener::from_std(listener).map_err(failed("listen"))?;
        Ok(Self {
            path: path.to_owned(),
            listener,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn listener(&self) -> &tokio::net::UnixListener {
        &self.listener
    }
}

impl Drop for ApiSocket {
    fn drop(&mut self) {
        // Gone already, or not ours to remove any more: then the next start replaces it.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Access {
    /// The group `chaos`, made when the host has a program for that.
    pub fn find() -> Self {
        if let Some(group) = group() {
            return Self::Group(group);
        }
        let made = ["/usr/sbin/groupadd", "/sbin/groupadd"]
            .iter()
            .find(|program| Path::new(program).exists())
            .map(|program| Command::new(program).args(["-r", GROUP]).output());
        match (made, group()) {
            (_, Some(group)) => {
                tracing::info!("made the group `{GROUP}`: its members may talk to this daemon");
                Self::Group(group)
            }
            (made, None) => {
                let why = match made {
                    None => "there is no groupadd here".to_owned(),
                    Some(Err(error)) => error.to_string(),
                    Some(Ok(output)) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                };
                tracing::warn!(
                    why,
                    "no group `{GROUP}`: only root may talk to this daemon – make the group and restart"
                );
                Self::OwnUser
            }
        }
    }
}

fn group() -> Option<Gid> {
    Group::from_name(GROUP).ok().flatten().map(|group| group.gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_never() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/api.sock");
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let first = ApiSocket::bind(&path, &Access::OwnUser).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert!(matches!(
            ApiSocket::bind(&path, &Access::OwnUser),
            Err(SocketError::Answers(_))
        ));
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
        drop(first);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn the_directory_is_made_and_the_group_may_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/api.sock");
        let own = nix::unistd::getegid();
        let _socket = ApiSocket::bind(&path, &Access::Group(own)).unwrap();
        assert_eq!(mode(&path), 0o660);
        assert_eq!(mode(path.parent().unwrap()) & 0o700, 0o700);
    }

    #[tokio::test]
    async fn something_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        std::fs::write(&path, "keep me").unwrap();
        assert!(matches!(
            ApiSocket::bind(&path, &Access::OwnUser),
            Err(SocketError::NotASocket(_))
        ));
        assert_eq!(std::fs::read(&path).unwrap(), b"keep me");
    }
}

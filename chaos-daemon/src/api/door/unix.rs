use std::io;

use nix::unistd::User;
use tokio::net::UnixStream;

use super::super::ApiSocket;
use super::{Door, Guest};
use crate::safety::{Caller, UnixPeer};
use crate::sys::socket;

impl Door for ApiSocket {
    type Raw = UnixStream;
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        self.listener().accept().await.map(|(stream, _)| stream)
    }

    async fn admit(&self, stream: UnixStream) -> Option<(Guest, UnixStream)> {
        match peer(&stream) {
            Ok(peer) => Some((Guest::Known(Caller::Unix(peer)), stream)),
            Err(error) => {
                tracing::warn!(%error, "a connection without credentials is closed");
                None
            }
        }
    }

    fn plain(stream: UnixStream) -> Option<UnixStream> {
        Some(stream)
    }
}

fn peer(stream: &UnixStream) -> io::Result<UnixPeer> {
    let peer = stream.peer_cred()?;
    let user = User::from_uid(peer.uid().into()).ok().flatten();
    let exe = peer
        .pid()
        .and_then(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).ok());
    Ok(UnixPeer {
        uid: peer.uid(),
        gid: peer.gid(),
        groups: socket::peer_groups(stream)?,
        pid: peer.pid(),
        user: user.map(|user| user.name),
        exe: exe.map(|path| path.to_string_lossy().into_owned()),
    })
}

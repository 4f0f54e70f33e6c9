//! Tells the engine at once when a target shows up where nothing is attached: until that is mended its packets
//! pass, so a look ten times a second is not enough.

use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::{io, thread};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::command::Command;

/// Between two looks whether the engine is still there, milliseconds.
const PATIENCE: u16 = 10_000;

/// Waits for `signal` on a thread of its own, until the engine is gone. Edge-triggered: it is the engine that
/// reads what there is.
pub(super) fn tell(signal: OwnedFd, engine: mpsc::Sender<Command>) -> io::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(
        &signal,
        EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0),
    )?;
    thread::Builder::new().name("newcomers".to_owned()).spawn(move || {
        let _signal = signal;
        let mut events = [EpollEvent::empty()];
        loop {
            match epoll.wait(&mut events, EpollTimeout::from(PATIENCE)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => {
                    tracing::warn!(%error, "new processes of a target are looked for ten times a second only");
                    return;
                }
            }
            if engine.send(Command::Newcomer).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

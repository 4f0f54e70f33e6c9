//! Ctrl-C, and its relatives: a closed terminal and a polite kill.

use std::future::Future;
use std::pin::pin;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// Requests to stop, from the moment of listening on. None is lost between two waits.
pub(super) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    count: u32,
}

impl Interrupts {
    pub(super) fn listen() -> Result<Self, Failure> {
        let on = |kind| signal(kind).map_err(Failure::Runtime);
        Ok(Self {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
            hangup: on(SignalKind::hangup())?,
            count: 0,
        })
    }

    /// Whether anybody has asked so far.
    pub(super) const fn any(&self) -> bool {
        self.count > 0
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
        self.count += 1;
    }

    /// Sees a change through: the first request to stop waits until it is known what there is to undo, the second
    /// does not.
    pub(super) async fn through<T>(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                result = &mut work => return result,
                () = self.next() => {
                    if self.count >= 2 {
                        return Err(left(name));
                    }
                }
            }
        }
    }
}

/// Left before it was known that the fault has ended.
pub(super) fn left(name: &str) -> Failure {
    Failure::RollbackIncomplete(format!(
        "left at once: fault/{name} may still be active – the kernel ends it when its time is over; \
         `chaosctl delete {name}` ends it now"
    ))
}

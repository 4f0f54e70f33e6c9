//! What ends the daemon, and what halts it without ending it.
#![forbid(unsafe_code)]

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::engine::Engine;
use crate::safety::Caller;

/// The signals the daemon listens to; made before it says that it is ready.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    halt: Signal,
    reload: Signal,
}

/// The engine's thread ended by itself.
#[derive(Debug, thiserror::Error)]
#[error("the engine has died, and all faults with it – the log says why; start the daemon again")]
pub struct EngineDied;

impl Signals {
    /// Must run inside a tokio runtime.
    ///
    /// # Errors
    /// A handler cannot be installed.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            halt: signal(SignalKind::user_defined1())?,
            reload: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or SIGINT. Meanwhile SIGUSR1 halts every fault, and SIGHUP has the
    /// policy read again.
    ///
    /// # Errors
    /// The engine died first.
    pub async fn until_stop(&mut self, engine: &Engine) -> Result<(), EngineDied> {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Ok(()),
                _ = self.interrupt.recv() => return Ok(()),
                () = engine.stopped() => return Err(EngineDied),
                _ = self.reload.recv() => {
                    // An engine that has stopped ends this loop as well.
                    let _ = engine.reload_policy().await;
                }
                _ = self.halt.recv() => {
                    let reason = Some("SIGUSR1".to_owned());
                    if let Err(error) = engine.halt(Caller::Signal, reason).await {
                        tracing::error!(%error, "halted, but not all of it worked");
                    }
                }
            }
        }
    }
}

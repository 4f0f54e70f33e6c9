//! Stopping everything, and letting new faults in again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chaos_spec::api::{EventKind, HaltState};
use chaos_spec::diagnostic::cut;
use tokio::sync::Mutex as Gate;

use super::command::Command;
use super::{Engine, EngineError, blocking};
use crate::safety::Caller;
use crate::safety::halt::HaltError;

/// How long to wait for the engine's thread: the rules are void already.
const HALT_PATIENCE: Duration = Duration::from_secs(5);

/// Characters of a reason that are kept: anybody who may look may halt.
const LONGEST_REASON: usize = 1000;

/// The halt as everybody sees it. The flag is what refuses; the state is what is told.
pub(super) struct Halt {
    flag: AtomicBool,
    state: Mutex<HaltState>,
    /// One change of the halt at a time: a release waits until what was halted has ended.
    gate: Gate<()>,
}

impl Halt {
    pub(super) fn new(state: HaltState) -> Self {
        Self {
            flag: AtomicBool::new(state.halted),
            state: Mutex::new(state),
            gate: Gate::const_new(()),
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.flag.load(Ordering::SeqCst)
    }

    pub(super) fn state(&self) -> HaltState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn check(&self) -> Result<(), EngineError> {
        if self.flag.load(Ordering::SeqCst) {
            Err(EngineError::Halted(self.state()))
        } else {
            Ok(())
        }
    }

    fn set(&self, state: HaltState) {
        self.flag.store(state.halted, Ordering::SeqCst);
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

impl Engine {
    /// Stops everything: rules are void before this does anything that can fail or wait. Calling it again while
    /// halted ends whatever may be left and keeps the first caller's name.
    ///
    /// # Errors
    /// The halt is in force, but could not be kept for a restart; or the engine has stopped.
    pub async fn halt(&self, caller: Caller, reason: Option<String>) -> Result<HaltState, EngineError> {
        let shared = &self.shared;
        // Every fault that ends now will have it.
        let reason = reason.map(|reason| cut(reason, LONGEST_REASON));
        let again = shared.halt.flag.swap(true, Ordering::SeqCst);
        self.lease().halt();
        let _gate = shared.halt.gate.lock().await;
        // A release that was under way may have undone both.
        shared.halt.flag.store(true, Ordering::SeqCst);
        self.lease().halt();
        let why = match &reason {
            Some(reason) => format!("halted by {caller}: {reason}"),
            None => format!("halted by {caller}"),
        };
        let message = why.clone();
        // Side by side: neither a slow disk nor a slow engine keeps the other from its part.
        let (kept, ended) = tokio::join!(
            self.keep_halt(again, caller.clone(), reason),
            self.ask(HALT_PATIENCE, |reply| Command::Halt { why, reply })
        );
        let (kept, (ended, leaving)) = (kept?, ended?);
        tracing::warn!(ended, "{message}");
        shared.events.publish(
            EventKind::Halted,
            None,
            format!("{message}; {ended} faults ended"),
        );
        kept?;
        leaving.gone().await;
        Ok(shared.halt.state())
    }

    /// Writes the halt down, unless an earlier one is.
    async fn keep_halt(
        &self,
        again: bool,
        caller: Caller,
        reason: Option<String>,
    ) -> Result<Result<(), HaltError>, EngineError> {
        let file = self.shared.halt_file.clone();
        let (state, kept) = blocking(move || {
            let known = file.read();
            if again && known.since.is_some() {
                (known, Ok(()))
            } else {
                file.write(&caller, reason)
            }
        })
        .await?;
        self.shared.halt.set(state);
        Ok(kept)
    }

    /// Lets new faults in again. Nothing that was halted comes back.
    ///
    /// # Errors
    /// The halt file cannot be removed: the halt stays.
    pub async fn release(&self, caller: Caller) -> Result<HaltState, EngineError> {
        let shared = &self.shared;
        let _gate = shared.halt.gate.lock().await;
        let file = shared.halt_file.clone();
        blocking(move || file.clear()).await??;
        shared.halt.set(HaltState::default());
        self.lease().release();
        tracing::warn!("released by {caller}");
        shared
            .events
            .publish(EventKind::Released, None, format!("released by {caller}"));
        Ok(shared.halt.state())
    }

    pub fn halt_state(&self) -> HaltState {
        self.shared.halt.state()
    }
}

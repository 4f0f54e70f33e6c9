//! Programs for the next namespace, loaded ahead by a thread of their own: verifying them takes longer than anything
//! else that the engine's thread does, and an end that is due does not wait for it.

use std::thread::{self, JoinHandle};

use super::{
    DatapathError,
    object::{Loader, Programs},
    slots::Slots,
};
use crate::sys::memory;

/// The programs of at most one namespace, with its index.
#[derive(Default)]
pub(super) enum Spare {
    #[default]
    None,
    Loading(u32, JoinHandle<Result<Programs, DatapathError>>),
    Loaded(u32, Programs),
}

impl Spare {
    /// Loads at once: what the verifier has to say is heard at the start.
    pub fn load(loader: &Loader, free: &mut Slots) -> Result<Self, DatapathError> {
        let index = free.take()?;
        match loader.programs(index) {
            Ok(programs) => Ok(Self::Loaded(index, programs)),
            Err(error) => {
                free.give(index);
                Err(error)
            }
        }
    }

    /// Begins to load when there is nothing yet.
    pub fn refill(&mut self, loader: &Loader, free: &mut Slots) -> Result<(), DatapathError> {
        if !matches!(self, Self::None) {
            return Ok(());
        }
        let index = free.take()?;
        let loader = loader.clone();
        let thread = thread::Builder::new().name("verify".to_owned()).spawn(move || {
            let programs = loader.programs(index);
            memory::give_back();
            programs
        });
        match thread {
            Ok(thread) => {
                *self = Self::Loading(index, thread);
                Ok(())
            }
            Err(error) => {
                free.give(index);
                Err(DatapathError::system("start a thread", error))
            }
        }
    }

    /// The programs. Waits for those that are being loaded, and loads some when there are none.
    pub fn take(&mut self, loader: &Loader, free: &mut Slots) -> Result<(u32, Programs), DatapathError> {
        match std::mem::take(self) {
            Self::Loaded(index, programs) => return Ok((index, programs)),
            Self::Loading(index, thread) => match thread.join() {
                Ok(Ok(programs)) => return Ok((index, programs)),
                failed => {
                    // It may have been for want of memory, a while ago: asked again, the kernel says what is so now.
                    free.give(index);
                    if let Ok(Err(error)) = failed {
                        tracing::debug!(%error, "no programs could be loaded ahead");
                    }
                }
            },
            Self::None => {}
        }
        *self = Self::load(loader, free)?;
        self.take(loader, free)
    }
}

//! How full the entrances of lines are. What a program sends into a TAP device belongs to no socket any more, and nobody
//! hears of it when it finds no room there. So hooks count what they send, a line says how far it has read, and TCP is told
//! that the queue is full before it is: it keeps what it would have sent, as it does with the queue of any device.

use std::sync::{Arc, Mutex, PoisonError};

use chaos_ebpf_common::line::{BACKLOG, ENTRANCES};

use crate::{
    datapath::{DatapathError, slots::Slots},
    sys::shared::Words,
};

/// Words of a [`chaos_ebpf_common::abi::Entrance`], and which is which.
const WORDS: u32 = 4;
const SENT: u32 = 0;
const READ: u32 = 1;
const WHOLE: u32 = 2;

/// All that there can be.
#[derive(Debug)]
pub struct Entrances {
    words: Words,
    free: Mutex<Slots>,
}

/// One of them.
#[derive(Debug)]
pub struct Entrance {
    all: Arc<Entrances>,
    place: u32,
    /// The last ticket that was read.
    seen: u64,
}

impl Entrances {
    /// Of the words of the map, as many as [`Entrances::words`] says.
    pub fn new(words: Words) -> Self {
        Self {
            words,
            free: Mutex::new(Slots::new("devices with a line", 0, ENTRANCES)),
        }
    }

    /// Words that the map has.
    pub const fn words() -> u32 {
        ENTRANCES * WORDS
    }

    /// One more, with nothing in it.
    ///
    /// # Errors
    /// There are as many as can be.
    pub fn open(self: &Arc<Self>) -> Result<Entrance, DatapathError> {
        let mut entrance = Entrance {
            place: self.free().take()?,
            all: Arc::clone(self),
            seen: 0,
        };
        entrance.keep_whole(false);
        entrance.saw_all();
        entrance.tell(true);
        Ok(entrance)
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Slots> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entrance {
    /// Its place in the map.
    pub fn place(&self) -> u32 {
        self.place
    }

    /// A packet with this ticket was read.
    pub fn saw(&mut self, ticket: u64) {
        // Those that nobody could have kept have none.
        if ticket != 0 {
            self.seen = ticket;
        }
    }

    /// It was found empty: what is missing of what was sent found no room.
    pub fn saw_all(&mut self) {
        self.seen = self.all.words.load(self.place * WORDS + SENT);
    }

    /// Tells the hooks whether super-packets stay whole in it.
    pub fn keep_whole(&self, whole: bool) {
        self.all.words.store(self.place * WORDS + WHOLE, u64::from(whole));
    }

    /// Tells the hooks how far it was read, or, without `room` for more, that it is full.
    pub fn tell(&self, room: bool) {
        let behind = if room { 0 } else { u64::from(BACKLOG) };
        let word = self.place * WORDS + READ;
        self.all.words.store(word, self.seen.wrapping_sub(behind));
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        self.all.free().give(self.place);
    }
}

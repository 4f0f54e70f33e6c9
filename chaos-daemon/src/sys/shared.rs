//! A map that lies in our memory, too.

use std::{
    io,
    num::NonZeroUsize,
    os::fd::{AsFd, OwnedFd},
    ptr::NonNull,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// The words of a `BPF_F_MMAPABLE` array. A store is seen by programs at once, and by itself.
#[derive(Debug)]
pub struct Words {
    first: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: only atomic accesses go through the pointer, which is valid until drop.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// Maps the first `count` words of the array behind `map`.
    ///
    /// # Errors
    /// The kernel refuses: not such a map, or too small.
    pub fn map(map: impl AsFd, count: u32) -> io::Result<Self> {
        let count = count as usize;
        let length = NonZeroUsize::new(count * size_of::<u64>()).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: a new mapping, wherever the kernel likes it.
        let memory = unsafe {
            mmap(
                None,
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                map,
                0,
            )
        }?;
        Ok(Self {
            first: memory.cast(),
            count,
        })
    }

    /// Reads a word.
    ///
    /// # Panics
    /// When there is no such word.
    pub fn load(&self, word: u32) -> u64 {
        self.word(word).load(Ordering::SeqCst)
    }

    /// Adds to a word and says what it held before.
    ///
    /// # Panics
    /// When there is no such word.
    pub fn fetch_add(&self, word: u32, add: u64) -> u64 {
        self.word(word).fetch_add(add, Ordering::SeqCst)
    }

    /// Writes a word.
    ///
    /// # Panics
    /// When there is no such word.
    pub fn store(&self, word: u32, value: u64) {
        self.word(word).store(value, Ordering::SeqCst);
    }

    fn word(&self, word: u32) -> &AtomicU64 {
        assert!((word as usize) < self.count, "word {word} of {}", self.count);
        // SAFETY: inside of the mapping, aligned as its beginning is.
        unsafe { self.first.add(word as usize).as_ref() }
    }
}

/// The words of a large array, in our memory for as long as somebody uses them: all of them count as resident there,
/// touched or not.
#[derive(Debug)]
pub struct OnDemand {
    map: OwnedFd,
    count: u32,
    mapped: Mutex<Weak<Words>>,
}

impl OnDemand {
    /// The first `count` words of the array behind `map`. Maps nothing yet.
    ///
    /// # Errors
    /// There is no descriptor to be had.
    pub fn new(map: impl AsFd, count: u32) -> io::Result<Self> {
        Ok(Self {
            map: map.as_fd().try_clone_to_owned()?,
            count,
            mapped: Mutex::default(),
        })
    }

    /// The words.
    ///
    /// # Errors
    /// As of [`Words::map`].
    pub fn words(&self) -> io::Result<Arc<Words>> {
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(words) = mapped.upgrade() {
            return Ok(words);
        }
        let words = Arc::new(Words::map(&self.map, self.count)?);
        *mapped = Arc::downgrade(&words);
        Ok(words)
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and nobody else holds its address. Failure means that there was none.
        let _ = unsafe { munmap(self.first.cast(), self.count * size_of::<u64>()) };
    }
}

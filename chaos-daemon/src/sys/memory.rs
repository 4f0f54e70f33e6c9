//! Memory that was needed for a moment.

/// Has the allocator keep little, before there are threads: each would have a heap of its own, with the holes of its
/// own busiest moment, and what is large would be kept once it has been freed.
pub fn keep_little() {
    /// Heaps that all threads share.
    #[cfg(target_env = "gnu")]
    const HEAPS: libc::c_int = 2;
    /// Bytes from which on memory is the kernel's own to give and take; said once, glibc does not raise it.
    #[cfg(target_env = "gnu")]
    const LARGE: libc::c_int = 128 << 10;
    // SAFETY: sets numbers of the allocator, under its own lock.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}

/// Gives back to the kernel what the allocator keeps of it: loading programs takes twenty megabytes for a moment, of which
/// glibc would keep nearly all as long as a few bytes above them are in use.
pub fn give_back() {
    // SAFETY: takes the allocator's own locks; nothing that is in use moves.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

//! Memory that was needed for a moment.

/// Gives back to the kernel what the allocator keeps of it: loading programs takes twenty megabytes for a moment, of which
/// glibc would keep nearly all as long as a few bytes above them are in use.
pub fn give_back() {
    // SAFETY: takes the allocator's own locks; nothing that is in use moves.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

//! The kernel programs as they lie in the daemon's own file.

use nix::sys::mman::{MmapAdvise, madvise};
use nix::unistd::{SysconfVar, sysconf};
use std::ptr::NonNull;

static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("CHAOS_BPF_OBJECT"));

/// The object file.
pub fn object() -> &'static [u8] {
    OBJECT
}

/// Takes the object out of our memory: it is read for a moment at a time. Whoever reads it later has it from the file.
pub fn let_go_of_object() {
    let Some(page) = sysconf(SysconfVar::PAGE_SIZE).ok().flatten() else {
        return;
    };
    let page = usize::try_from(page).unwrap_or(4096);
    let bytes = OBJECT.as_ptr_range();
    let first = bytes.start.addr().next_multiple_of(page);
    let end = bytes.end.addr() / page * page;
    let Some(length) = end.checked_sub(first).filter(|length| *length > 0) else {
        return;
    };
    let Some(first) = NonNull::new(bytes.start.with_addr(first).cast_mut()) else {
        return;
    };
    // SAFETY: whole pages of a constant, which are the file's as they were mapped: nobody has written to them.
    let _ = unsafe { madvise(first.cast(), length, MmapAdvise::MADV_DONTNEED) };
}

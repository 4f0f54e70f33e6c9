//! The two atomic instructions we need. `core` offers none for this target, the instruction set does
//! (BPF_ATOMIC with BPF_FETCH and BPF_CMPXCHG, Linux 5.12).

use core::arch::asm;

/// Adds to a map value and returns what it held before.
///
/// # Safety
/// `value` must point to an aligned u64 of a map value.
#[inline(always)]
pub unsafe fn fetch_add(value: *mut u64, add: u64) -> u64 {
    let mut held = add;
    // SAFETY: the caller's promise.
    unsafe { asm!("{x} = atomic_fetch_add((u64 *)({p} + 0), {x})", p = in(reg) value, x = inout(reg) held) };
    held
}

/// Replaces `from` by `to`; `true` when the value did hold `from`.
///
/// # Safety
/// As for [`fetch_add`].
#[inline(always)]
pub unsafe fn compare_exchange(value: *mut u64, from: u64, to: u64) -> bool {
    let held: u64;
    // SAFETY: the caller's promise; the instruction compares with and answers in r0.
    unsafe {
        asm!("r0 = cmpxchg_64({p} + 0, r0, {x})", p = in(reg) value, x = in(reg) to, inout("r0") from => held);
    }
    held == from
}

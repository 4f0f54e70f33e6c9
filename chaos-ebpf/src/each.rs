//! `bpf_loop`, with types.

use aya_ebpf::helpers::bpf_loop;

/// Another round.
pub const GO: i64 = 0;
/// No more rounds.
pub const STOP: i64 = 1;

/// Runs `body` for 0..`rounds`, until it says [`STOP`]. The context has to live on the stack.
#[inline(always)]
pub fn each<T>(rounds: u32, body: extern "C" fn(u32, &mut T) -> i64, context: &mut T) {
    // SAFETY: the helper calls `body` with the index and this very context, and returns before it ends.
    unsafe { bpf_loop(rounds, body as *mut _, core::ptr::from_mut(context).cast(), 0) };
}

//! What became of the last request of each connection, so that one that is sent again meets the same fate.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use chaos_ebpf_common::{
    abi::{RequestKey, RequestMemory, Rule, fate},
    flow::Flow,
};

use crate::maps::REQUESTS;

/// No answer is longer, with the end of the connection; what a client acknowledges lies no further back.
const ANSWERED_WITHIN: u32 = 2048;

#[inline(always)]
fn key(rule: &Rule, flow: &Flow) -> RequestKey {
    RequestKey {
        fault: rule.id,
        flow: flow.number(),
        place: rule.state,
        _pad: 0,
    }
}

/// What is remembered.
#[inline(always)]
pub fn recall(rule: &Rule, flow: &Flow) -> Option<&'static RequestMemory> {
    // SAFETY: a map value that is read within this program; another processor may replace it by a newer one.
    unsafe { REQUESTS.get(&key(rule, flow)) }
}

/// Time after a request's wait, or after what followed it, during which what follows takes the line as well, so that it does
/// not overtake when the line is late. No shorter than TCP waits at least before it sends again (`TCP_RTO_MIN`).
const GRACE: u64 = 200_000_000;

/// Until when what follows a request that waits until `due` waits, too.
#[inline(always)]
pub fn graced(due: u64) -> u64 {
    due + GRACE
}

/// Whether what comes now follows a request that waits; then what comes next does so for a while longer.
#[inline(always)]
pub fn follows(rule: &Rule, flow: &Flow) -> bool {
    let Some(memory) = REQUESTS.get_ptr_mut(&key(rule, flow)) else {
        return false;
    };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: an aligned map value; volatile, because other CPUs write it, and whoever writes last is as right.
    unsafe {
        let until = &raw mut (*memory).until;
        let before = core::ptr::read_volatile(until);
        if before <= now {
            return false;
        }
        if before < graced(now) {
            core::ptr::write_volatile(until, graced(now));
        }
    }
    true
}

/// Remembers. Without room, nothing is: then a request that is sent again is a new one.
#[inline(never)]
pub fn remember(rule: &Rule, flow: &Flow, memory: &RequestMemory) {
    let _ = REQUESTS.insert(&key(rule, flow), memory, 0);
}

/// Forgets: the connection is another one.
#[inline(never)]
pub fn forget(rule: &Rule, flow: &Flow) {
    let _ = REQUESTS.remove(&key(rule, flow));
}

/// Whether a segment with this acknowledgement belongs to the connection that was answered, and not to a later one with
/// the same ends.
#[inline(always)]
pub fn is_of_answered(memory: &RequestMemory, acknowledgement: u32) -> bool {
    memory.fate == fate::ANSWERED && memory.next.wrapping_sub(acknowledgement) < ANSWERED_WITHIN
}

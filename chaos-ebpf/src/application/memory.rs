//! What became of the last request of each connection, so that one that is sent again meets the same fate.

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

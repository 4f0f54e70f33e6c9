//! What became of the last request of each connection, so that one that is sent again meets the same fate.

use chaos_ebpf_common::{
    abi::{RequestKey, RequestMemory, Rule},
    flow::Flow,
};

use crate::maps::REQUESTS;

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

/// What is remembered, and a place to say until when what follows waits: nanoseconds, and whoever writes last is as right.
#[inline(always)]
pub fn recall_to_note(rule: &Rule, flow: &Flow) -> Option<(RequestMemory, impl FnOnce(u64))> {
    let memory = REQUESTS.get_ptr_mut(&key(rule, flow))?;
    // SAFETY: an aligned map value; volatile, because other CPUs write it.
    let found = unsafe { core::ptr::read_volatile(memory) };
    let note = move |until| {
        if until != found.until {
            // SAFETY: as above.
            unsafe { core::ptr::write_volatile(&raw mut (*memory).until, until) };
        }
    };
    Some((found, note))
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

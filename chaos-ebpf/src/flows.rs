//! Budgets of flows: a fault acts on so many flows and leaves every further one alone.

use aya_ebpf::bindings::BPF_NOEXIST;
use chaos_ebpf_common::{
    abi::{BudgetedFlow, Rule, flags},
    flow::Flow,
};

use crate::{
    atomic::fetch_add,
    maps::{BUDGETED_FLOWS, FLOWS_SPENT},
};

/// Whether a rule may act on a flow.
#[inline(always)]
pub fn admits(rule: &Rule, flow: &Flow) -> bool {
    rule.flags & flags::MAX_FLOWS == 0 || admit(rule, flow.number())
}

/// Takes a flow out of the fault's budget, unless it is in it already. Never overdrawn: who counts first and is then one
/// too many steps back, and so does who finds that another processor was first with the same flow. Without room in the
/// map, flows are left alone.
#[inline(never)]
fn admit(rule: &Rule, flow: u64) -> bool {
    let key = BudgetedFlow { fault: rule.id, flow };
    if BUDGETED_FLOWS.get_ptr(&key).is_some() {
        return true;
    }
    let Some(spent) = FLOWS_SPENT.get_ptr_mut(rule.fault) else {
        return false;
    };
    // SAFETY: an aligned map value, which other processors change.
    if unsafe { core::ptr::read_volatile(spent) } >= rule.max_flows {
        return false;
    }
    // SAFETY: as above.
    let before = unsafe { fetch_add(spent, 1) };
    if before < rule.max_flows && BUDGETED_FLOWS.insert(&key, &1, u64::from(BPF_NOEXIST)).is_ok() {
        return true;
    }
    // SAFETY: as above; adding the largest number takes one away.
    unsafe { fetch_add(spent, u64::MAX) };
    BUDGETED_FLOWS.get_ptr(&key).is_some()
}

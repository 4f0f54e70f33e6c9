//! From a packet's scopes to the rules that name it, in their order.

use aya_ebpf::maps::lpm_trie::Key;
use chaos_ebpf_common::{
    abi::{AddressKey, CELL_RULES, control, stat, trie_bits},
    address::Address,
    index::{cell_of, shape},
    matching::{Subject, matches},
};

use crate::{
    maps::{ADDRS, CELLS, RULES, control, count},
    work::{SCOPES_MAX, Work},
};

/// Finds all rules that name the packet at hand; `false` when there are none.
#[inline(always)]
pub fn search(work: &mut Work) -> bool {
    work.epoch = control(control::EPOCH);
    let mut i = 0;
    while i < SCOPES_MAX {
        if i as u64 >= work.scope_count {
            break;
        }
        let scope = work.scopes[i];
        search_scope(work, scope.id, scope.shapes);
        i += 1;
    }
    if work.match_count == 0 {
        return false;
    }
    work.sort_matches();
    true
}

#[inline(never)]
fn search_scope(work: &mut Work, scope: u32, shapes: u32) -> u32 {
    let mut shape = 0;
    while shape < shape::COUNT {
        if shapes & (1 << shape) != 0 {
            search_cell(work, scope, shape);
        }
        shape += 1;
    }
    0
}

#[inline(always)]
fn search_cell(work: &mut Work, scope: u32, shape: u32) {
    let key = cell_of(scope, shape, &work.flow);
    let Some(cell) = CELLS.get_ptr(&key) else { return };
    let mut i = 0;
    while i < CELL_RULES {
        // SAFETY: a map value; volatile, since userspace may replace it under our hands.
        let (len, slot) = unsafe {
            (core::ptr::read_volatile(&raw const (*cell).len), core::ptr::read_volatile(&raw const (*cell).slots[i]))
        };
        if i as u32 >= len {
            break;
        }
        if let Some(rule) = RULES.get(slot) {
            let subject =
                Subject { packet: &work.packet, flow: &work.flow, ifindex: work.ifindex, epoch: work.epoch };
            let remote = work.flow.remote;
            if matches(rule, &subject, |set| in_trie(set, remote)) && !work.add_match(rule.order, slot) {
                count(stat::CROWDED);
            }
        }
        i += 1;
    }
}

/// Whether the longest prefix of an address set that holds the address includes it.
#[inline(always)]
fn in_trie(set: u32, address: Address) -> bool {
    let key = Key::new(trie_bits(128), AddressKey { set: set.to_be(), address });
    matches!(ADDRS.get(&key), Some(1))
}

//! From a packet's scopes to the rules that name it, in their order.

use aya_ebpf::maps::lpm_trie::Key;
use chaos_ebpf_common::{
    abi::{AddressKey, CELL_RULES, Cell, MATCH_MAX, control, stat, trie_bits},
    address::Address,
    index::cell_of,
    matching::{Subject, matches},
};

use crate::{
    each::{GO, STOP, each},
    maps::{ADDRS, CELLS, RULES, control, count},
    skb::opaque,
    work::{SCOPES_MAX, Work},
};

/// Finds all rules that name the packet at hand; `false` when there are none.
///
/// All loops are `bpf_loop` (Linux 5.17): the verifier looks at their bodies once, not once a round.
#[inline(always)]
pub fn search(work: &mut Work) -> bool {
    work.epoch = control(control::EPOCH);
    let scopes = work.scope_count as u32;
    // A zero that LLVM knows becomes a call of memset, byte by byte.
    let zero = opaque(0);
    let mut at = At {
        work,
        scope: zero as u32,
        shapes: zero as u32,
        cell: zero as *const Cell,
    };
    each(scopes, scope, &mut at);
    let work = at.work;
    if work.match_count == 0 {
        return false;
    }
    if work.match_count > 1 {
        // SAFETY: a pointer to a map value, made a moment ago from a reference to it.
        sort(unsafe { &mut *core::ptr::from_mut(work) });
    }
    true
}

/// Where a search stands.
struct At<'a> {
    work: &'a mut Work,
    /// Scope number.
    scope: u32,
    /// Shapes still to be looked at.
    shapes: u32,
    cell: *const Cell,
}

extern "C" fn scope(i: u32, at: &mut At<'_>) -> i64 {
    if i as usize >= SCOPES_MAX {
        return STOP;
    }
    let scope = at.work.scopes[i as usize];
    at.scope = scope.id;
    at.shapes = scope.shapes;
    each(scope.shapes.count_ones(), cell, at);
    GO
}

extern "C" fn cell(_: u32, at: &mut At<'_>) -> i64 {
    let lowest = at.shapes & at.shapes.wrapping_neg();
    at.shapes ^= lowest;
    let mut shape = 0;
    shape += if lowest & 0xaa != 0 { 1 } else { 0 };
    shape += if lowest & 0xcc != 0 { 2 } else { 0 };
    shape += if lowest & 0xf0 != 0 { 4 } else { 0 };
    let key = cell_of(at.scope, shape, &at.work.flow);
    let Some(found) = CELLS.get_ptr(&key) else {
        return GO;
    };
    at.cell = found;
    // SAFETY: a map value; volatile, since userspace may replace it under our hands.
    let len = unsafe { core::ptr::read_volatile(&raw const (*found).len) };
    each(len, candidate, at);
    GO
}

extern "C" fn candidate(i: u32, at: &mut At<'_>) -> i64 {
    if i as usize >= CELL_RULES || at.cell.is_null() {
        return STOP;
    }
    // SAFETY: as in `cell`, with `i` in range.
    let slot =
        unsafe { core::ptr::read_volatile((&raw const (*at.cell).slots).cast::<u32>().add(i as usize)) };
    if let Some(rule) = RULES.get(slot) {
        let work = &mut *at.work;
        let subject = Subject {
            packet: &work.packet,
            flow: &work.flow,
            ifindex: work.ifindex,
            epoch: work.epoch,
        };
        let remote = work.flow.remote;
        if matches(rule, &subject, |set| in_trie(set, remote)) && !work.add_match(rule.order, slot) {
            count(stat::CROWDED);
        }
    }
    GO
}

/// Puts matches into the order of creation: every neighbouring pair, as many times as there are matches.
#[inline(always)]
fn sort(work: &mut Work) {
    let n = work.match_count as u32;
    let mut work = work;
    each(n * n, exchange, &mut work);
}

extern "C" fn exchange(i: u32, work: &mut &mut Work) -> i64 {
    let n = work.match_count as u32;
    if n == 0 {
        return STOP;
    }
    let at = (i % n) as usize;
    if at + 1 < n as usize && at + 1 < MATCH_MAX {
        let (a, b) = (work.matched[at], work.matched[at + 1]);
        if a > b {
            work.matched[at] = b;
            work.matched[at + 1] = a;
        }
    }
    GO
}

/// Whether the longest prefix of an address set that holds the address includes it.
#[inline(always)]
fn in_trie(set: u32, address: Address) -> bool {
    let key = Key::new(
        trie_bits(128),
        AddressKey {
            set: set.to_be(),
            address,
        },
    );
    matches!(ADDRS.get(&key), Some(1))
}

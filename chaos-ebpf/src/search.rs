//! From a packet's scopes to the rules that name it, in their order.

use aya_ebpf::maps::lpm_trie::Key;
use chaos_ebpf_common::{
    abi::{AddressKey, CELL_RULES, Cell, MATCH_MAX, Rule, Scope, control, stat, trie_bits},
    address::Address,
    front::{self, Known},
    index::{cell_of, shape},
    matching::{Subject, matches},
};

use crate::{
    each::{GO, STOP, each},
    maps::{ADDRS, CELL_FRONT, CELLS, Control, RULES, count, known},
    skb::opaque,
    work::{SCOPES_MAX, Work, forget},
};

/// Finds all rules that name the packet at hand; they are then in `work`, in their order.
#[inline(always)]
pub fn search(control: Control, work: &mut Work, ifindex: u32) {
    work.epoch = control.read(control::EPOCH);
    work.ifindex = ifindex;
    let scopes = work.scope_count as u32;
    let mut all = &mut *work;
    each(2 * scopes, scope, &mut all);
    if work.match_count > 1 {
        sort(work);
    }
}

/// One scope after the other, and all of them again when the epoch has changed meanwhile.
extern "C" fn scope(i: u32, work: &mut &mut Work) -> i64 {
    let scopes = work.scope_count as u32;
    let mut i = i;
    if i == scopes {
        let epoch = match Control::get() {
            Some(control) => control.read(control::EPOCH),
            None => work.epoch,
        };
        if epoch == work.epoch {
            return STOP;
        }
        work.epoch = epoch;
        work.match_count = 0;
        work.faults = 0;
    }
    if i >= scopes {
        i -= scopes;
    }
    if probe(work, i) {
        weigh(work, i);
    }
    GO
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

/// Asks the fronts of all cells of scope `i`, and says whether there is anything to look at.
#[inline(always)]
fn probe(work: &mut Work, i: u32) -> bool {
    if i as usize >= SCOPES_MAX {
        return false;
    }
    let scope = work.scopes[i as usize];
    // Kept in memory: of numbers in registers, the verifier would walk all combinations.
    (work.found, work.ask) = (0, 0);
    // By hand, since LLVM makes a loop of a loop, and of each key what could be a constant.
    ask_front::<0>(work, scope);
    ask_front::<1>(work, scope);
    ask_front::<2>(work, scope);
    ask_front::<3>(work, scope);
    ask_front::<4>(work, scope);
    ask_front::<5>(work, scope);
    ask_front::<6>(work, scope);
    ask_front::<7>(work, scope);
    forget(&work.found) | forget(&work.ask) != 0
}

/// Asks the front of the cell of one shape.
#[inline(always)]
fn ask_front<const SHAPE: u32>(work: &mut Work, scope: Scope) {
    if scope.shapes & 1 << SHAPE == 0 {
        return;
    }
    match known(&CELL_FRONT, &cell_of(scope.id, SHAPE, &work.flow)) {
        Known::Absent => {}
        Known::Value(value) => {
            let found = forget(&work.found);
            work.single[(found & (shape::COUNT - 1)) as usize] = front::slot(value);
            work.found = found + 1;
        }
        Known::Ask => work.ask = forget(&work.ask) | 1 << SHAPE,
    }
}

/// Looks at the rules that [`probe`] has found in scope `i`, and asks the hash for the others, in loops of
/// `bpf_loop` (Linux 5.17), whose bodies the verifier looks at once.
#[inline(always)]
fn weigh(work: &mut Work, i: u32) {
    if i as usize >= SCOPES_MAX {
        return;
    }
    let (found, ask) = (forget(&work.found), forget(&work.ask));
    let mut all = &mut *work;
    each(found, single, &mut all);
    if ask != 0 {
        // A zero that LLVM knows becomes a call of memset, byte by byte.
        let mut at = At {
            scope: work.scopes[i as usize].id,
            work,
            shapes: ask,
            cell: opaque(0) as *const Cell,
        };
        each(ask.count_ones(), cell, &mut at);
    }
}

extern "C" fn single(i: u32, work: &mut &mut Work) -> i64 {
    let slot = work.single[(i & (shape::COUNT - 1)) as usize];
    if let Some(rule) = RULES.get(slot) {
        consider(work, rule, slot);
    }
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
        consider(at.work, rule, slot);
    }
    GO
}

/// Adds a rule to the matches if it names the packet.
#[inline(always)]
fn consider(work: &mut Work, rule: &Rule, slot: u32) {
    let subject = Subject {
        packet: &work.packet,
        flow: &work.flow,
        ifindex: work.ifindex,
        epoch: work.epoch,
    };
    let remote = work.flow.remote;
    if matches(rule, &subject, |set| in_trie(set, remote)) {
        work.faults |= rule.faults;
        if !work.add_match(rule.order, slot) {
            count(stat::CROWDED);
        }
    }
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
    let at = i % n;
    if at + 1 >= n {
        return GO;
    }
    // Compared last: Linux 6.12 forgets what it knew of a number when that number plus one is compared.
    let at = opaque(at as usize);
    if at >= MATCH_MAX - 1 {
        return STOP;
    }
    let (a, b) = (work.matched[at], work.matched[at + 1]);
    if a > b {
        work.matched[at] = b;
        work.matched[at + 1] = a;
    }
    GO
}

/// Whether the longest prefix of an address set that holds the address includes it. A function of its own, because
/// the key takes stack that others need.
#[inline(never)]
pub fn in_trie(set: u32, address: Address) -> bool {
    let key = Key::new(trie_bits(128), AddressKey::new(set, address));
    matches!(ADDRS.get(&key), Some(1))
}

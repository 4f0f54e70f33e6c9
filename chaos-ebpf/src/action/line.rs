//! The way into the line: packets that have to wait, or to be looked at one wire packet at a time, leave the hook
//! here, each with a note of the rules that act on it. Userspace carries them out and sends the packet on.

use aya_ebpf::{
    bindings::bpf_sock,
    helpers::{bpf_get_socket_cookie, bpf_ktime_get_ns, bpf_sk_fullsock},
};
use chaos_ebpf_common::{
    abi::{
        FOLLOWS, HELD_BACK, Hook, LINE_RULES, Line, LineKey, LineNote, Rule, SERVICE_TAG, VLAN_TAGS, fault,
        flags, stat,
    },
    line::{ETH_SERVICE, GATE, GATE_MAJOR, MAGIC, NOTE_LEN, gate_class, keeps},
};
use core::cell::Cell;

use super::{SHOT, STAYS, Treated};
use crate::{
    atomic::fetch_add,
    maps::{ENTRANCES, LINES, NETNS_INDEX, RULES, SPENT, count},
    skb::{Mark, Skb, vanish},
    work::{Work, outer},
};

/// What [`send`] and [`enter_piece`] say when the kernel line can carry out all that was noted, which a program of its
/// own does; no verdict.
pub const WAIT: i32 = i32::MIN + 3;

/// Rules of the packet at hand that are carried out on the line.
#[repr(C)]
pub struct Notes {
    count: Cell<u32>,
    /// Where the packet itself waits while a copy travels: a class of the gate, or 0.
    class: Cell<u32>,
    /// Non-zero: some rule is for the user line.
    by_thread: Cell<u32>,
    slots: [Cell<u32>; LINE_RULES],
}

// SAFETY: scratch space of one CPU.
unsafe impl Sync for Notes {}

impl Notes {
    /// None so far.
    #[inline(always)]
    pub fn clear(&self) {
        self.count.set(0);
        self.class.set(0);
        self.by_thread.set(0);
    }

    /// Whether there are any.
    #[inline(always)]
    pub fn any(&self) -> bool {
        self.count.get() > 0
    }

    /// How many there are.
    #[inline(always)]
    pub fn count(&self) -> u32 {
        self.count.get()
    }

    /// One of them.
    #[inline(always)]
    pub fn rule(&self, i: u32) -> Option<&'static Rule> {
        RULES.get(self.slots.get(i as usize)?.get())
    }

    /// Makes these the same as others.
    #[inline(always)]
    fn be(&self, others: &Notes) {
        self.count.set(others.count.get());
        let mut i = 0;
        while i < LINE_RULES {
            self.slots[i].set(others.slots[i].get());
            i += 1;
        }
    }

    /// One more.
    #[inline(always)]
    fn add(&self, slot: u32) {
        let i = self.count.get() as usize;
        if i < LINE_RULES {
            self.slots[i].set(slot);
            self.count.set(i as u32 + 1);
        } else {
            count(stat::CROWDED);
        }
    }
}

/// Notes a rule that is carried out on the line.
#[inline(always)]
pub fn add(treated: &Treated<'_>, rule: &Rule, slot: u32) {
    let notes = &treated.work.notes;
    notes.add(slot);
    if rule.flags & flags::WAIT == 0 {
        notes.by_thread.set(1);
    }
    if rule.faults & fault::BANDWIDTH != 0 && treated.leaving() && notes.class.get() == 0 && in_budget(rule) {
        notes.class.set(gate_class(rule.state) as u32);
    }
}

/// Notes a rule for which the packet follows one that waits: it goes on when that does.
#[inline(always)]
pub fn add_following(treated: &Treated<'_>, slot: u32) {
    let notes = &treated.work.notes;
    notes.add(slot | FOLLOWS);
    notes.by_thread.set(1);
}

/// Whether a fault may still act.
#[inline(always)]
fn in_budget(rule: &Rule) -> bool {
    if rule.budget == u64::MAX {
        return true;
    }
    matches!(SPENT.get(rule.fault), Some(spent) if *spent < rule.budget)
}

/// Sends the packet into the line of its device: the verdict of the program, [`STAYS`] when there is no way, or [`WAIT`].
#[inline(never)]
pub fn send(treated: &Treated<'_>) -> i32 {
    let (skb, notes) = (treated.skb, &treated.work.notes);
    if notes.by_thread.get() == 0 {
        return WAIT;
    }
    let class = notes.class.get();
    // The gate is nobody's device.
    let netns = treated.work.netns_index;
    if class != 0
        && !skb.socket().is_null()
        && let Some(gate) = of_device(netns, GATE)
    {
        // The copy comes to `enter_copy`.
        if skb.copy(Mark::ForLine, false) == 0 {
            skb.choose_class(GATE_MAJOR << 16 | class);
            return skb.hand_to(gate.ifindex);
        }
    }
    let kept = if could_keep(treated) {
        treated.work.wire_packets
    } else {
        0
    };
    enter(skb, netns, treated.hook, notes, 0, kept)
}

/// The copy of a packet that waits at the gate: its notes are those of the packet.
#[inline(never)]
pub fn enter_copy(skb: Skb) -> i32 {
    match outer() {
        Some(work) => enter(
            skb,
            work.netns_index,
            Hook::Egress as u32,
            &work.notes,
            HELD_BACK,
            0,
        ),
        None => STAYS,
    }
}

/// A packet that was cut out of one with these notes.
#[inline(never)]
pub fn enter_piece(skb: Skb, work: &Work, notes: &Notes) -> i32 {
    if notes.by_thread.get() == 0 {
        work.notes.be(notes);
        return WAIT;
    }
    enter(skb, NETNS_INDEX.load(), Hook::Egress as u32, notes, 0, 0)
}

/// Whether whoever sends the packet keeps it, and sends it later, when told that a queue is full.
#[inline(always)]
fn could_keep(treated: &Treated<'_>) -> bool {
    let behind_headers = treated.skb.len().saturating_sub(treated.packet().l4);
    treated.leaving() && keeps(treated.work.flow.protocol, behind_headers) && !treated.skb.socket().is_null()
}

/// The ticket of as many wire packets that could be kept; `None` when they have to be.
#[inline(always)]
fn ticket(line: &Line, wire_packets: u32) -> Option<u64> {
    let Some(entrance) = ENTRANCES.get_ptr_mut(line.entrance) else {
        return Some(0);
    };
    // SAFETY: a map value; volatile, because other CPUs and userspace write it.
    let now = unsafe { core::ptr::read_volatile(entrance) };
    if now.is_full() {
        return None;
    }
    let frames = now.frames(wire_packets);
    // SAFETY: an aligned map value.
    Some(unsafe { fetch_add(&raw mut (*entrance).sent, frames) } + frames)
}

/// Sends a packet in. `kept`: its wire packets, if whoever sends it could keep it.
#[inline(always)]
fn enter(skb: Skb, netns: u32, hook: u32, notes: &Notes, held: u16, kept: u32) -> i32 {
    // A packet that was begun to be changed is of no use to anybody any more.
    let failed = |changed: bool| {
        count(stat::HELPER_FAILED);
        match (changed, hook == Hook::Egress as u32) {
            (false, _) => STAYS,
            (true, true) => vanish(),
            (true, false) => SHOT,
        }
    };
    let Some(line) = of_device(netns, skb.ifindex()) else {
        return failed(false);
    };
    let mut ticket = 0;
    if kept != 0 {
        match self::ticket(line, kept) {
            Some(taken) => ticket = taken,
            None => {
                count(stat::ENTRANCE_FULL);
                return SHOT;
            }
        }
    }
    let mut tags = 0;
    let mut vlans = [0; VLAN_TAGS];
    let mut i = 0;
    while i < VLAN_TAGS {
        let Some((kind, control)) = skb.vlan() else { break };
        if !skb.untag() {
            return failed(i > 0);
        }
        vlans[i] = control;
        tags += 1 | if kind == ETH_SERVICE { SERVICE_TAG << i } else { 0 };
        i += 1;
    }
    if !skb.grow_head(NOTE_LEN as u32) {
        return failed(tags > 0);
    }
    let note = LineNote {
        magic: MAGIC,
        hook: hook as u8,
        count: notes.count.get() as u8,
        tags: tags | held,
        // SAFETY: a helper without arguments.
        time: unsafe { bpf_ktime_get_ns() },
        ticket,
        mark: skb.user_mark(),
        vlans,
        rules: [
            notes.slots[0].get(),
            notes.slots[1].get(),
            notes.slots[2].get(),
            notes.slots[3].get(),
            notes.slots[4].get(),
            notes.slots[5].get(),
            notes.slots[6].get(),
            notes.slots[7].get(),
            notes.slots[8].get(),
            notes.slots[9].get(),
        ],
    };
    if skb.store(0, &note, false) {
        skb.hand_to(line.ifindex)
    } else {
        failed(true)
    }
}

/// Whether a leaving packet comes back from the line of this very device, which has then done with it.
#[inline(always)]
pub fn is_back(skb: Skb) -> bool {
    const AF_PACKET: u32 = 17;
    let socket = skb.socket();
    if socket.is_null() {
        return false;
    }
    // SAFETY: the verifier knows this pointer as a socket.
    let socket: *mut bpf_sock = unsafe { bpf_sk_fullsock(socket) };
    if socket.is_null() {
        return false;
    }
    // SAFETY: not null, so a socket.
    if unsafe { core::ptr::read_volatile(&raw const (*socket).family) } != AF_PACKET {
        return false;
    }
    // SAFETY: a helper on our own context.
    let cookie = unsafe { bpf_get_socket_cookie(skb.raw().cast()) };
    matches!(of_device(NETNS_INDEX.load(), skb.ifindex()), Some(line) if line.cookie == cookie)
}

/// The line of a device of a namespace, which is named by its index; of an entrance, the device.
#[inline(always)]
pub fn of_device(netns: u32, ifindex: u32) -> Option<&'static Line> {
    let key = LineKey { netns, ifindex };
    // SAFETY: a value of a map without preallocation, read within this program.
    unsafe { LINES.get(&key) }
}

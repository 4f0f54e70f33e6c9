//! The way into the line: packets that have to wait, or to be looked at one wire packet at a time, leave the hook
//! here, each with a note of the rules that act on it. Userspace carries them out and sends the packet on.

use aya_ebpf::{
    bindings::bpf_sock,
    helpers::{bpf_get_socket_cookie, bpf_ktime_get_ns, bpf_sk_fullsock},
};
use chaos_ebpf_common::{
    abi::{LINE_RULES, Line, LineKey, LineNote, stat},
    line::{MAGIC, NOTE_LEN},
};
use core::cell::Cell;

use super::Treated;
use crate::{
    maps::{LINES, NETNS_INDEX, count},
    skb::Skb,
};

/// Rules of the packet at hand that are carried out on the line.
#[repr(C)]
pub struct Notes {
    count: Cell<u32>,
    slots: [Cell<u32>; LINE_RULES],
}

// SAFETY: scratch space of one CPU.
unsafe impl Sync for Notes {}

impl Notes {
    /// None so far.
    #[inline(always)]
    pub fn clear(&self) {
        self.count.set(0);
    }

    /// Whether there are any.
    #[inline(always)]
    pub fn any(&self) -> bool {
        self.count.get() > 0
    }

    /// One more.
    #[inline(always)]
    pub fn add(&self, slot: u32) {
        let i = self.count.get() as usize;
        if i < LINE_RULES {
            self.slots[i].set(slot);
            self.count.set(i as u32 + 1);
        } else {
            count(stat::CROWDED);
        }
    }
}

/// Sends the packet into the line of its device: the verdict of the program, [`super::STAYS`] when there is no way.
#[inline(never)]
pub fn send(treated: &Treated<'_>) -> i32 {
    const STAYS: i32 = super::STAYS;
    let (skb, work) = (treated.skb, treated.work);
    let Some(line) = of_device(work.ifindex) else {
        count(stat::HELPER_FAILED);
        return STAYS;
    };
    if !skb.grow_head(NOTE_LEN as u32) {
        count(stat::HELPER_FAILED);
        return STAYS;
    }
    let notes = &work.notes;
    let note = LineNote {
        magic: MAGIC,
        hook: treated.hook,
        // SAFETY: a helper without arguments.
        time: unsafe { bpf_ktime_get_ns() },
        mark: skb.user_mark(),
        count: notes.count.get(),
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
    if !skb.store(0, &note, false) {
        // With room for a note at its head it is no packet any more.
        count(stat::HELPER_FAILED);
        return treated.lost();
    }
    skb.hand_to(line.ifindex)
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
    matches!(of_device(skb.ifindex()), Some(line) if line.cookie == cookie)
}

/// The line of a device; of an entrance, the device.
#[inline(always)]
pub fn of_device(ifindex: u32) -> Option<&'static Line> {
    let key = LineKey {
        netns: NETNS_INDEX.load(),
        ifindex,
    };
    // SAFETY: a value of a map without preallocation, read within this program.
    unsafe { LINES.get(&key) }
}

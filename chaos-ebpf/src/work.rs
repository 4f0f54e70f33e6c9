//! Scratch space for one packet: the BPF stack has 512 bytes.

use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_coarse_ns};
use chaos_ebpf_common::{
    abi::{MATCH_MAX, Scope},
    flow::Flow,
    frame::Packet,
    index::shape,
};

use crate::{
    action::cut::Cuts, action::line::Notes, application::Application, guard::Guards, maps::WORK, skb::opaque,
};

/// Scopes one packet can belong to: its namespace, and six targets nested in one another.
pub const SCOPES_MAX: usize = 7;
/// How deep our programs can stand in one another: a copy sent out of a VLAN device passes the device
/// below it while the program above still works.
pub const DEPTH_MAX: usize = 4;

/// Everything known of the packet at hand.
#[repr(C)]
pub struct Work {
    /// Its headers.
    pub packet: Packet,
    /// Its ends.
    pub flow: Flow,
    /// Its scopes.
    pub scopes: [Scope; SCOPES_MAX],
    /// Used entries of `scopes`.
    pub scope_count: u64,
    /// Rules that are alone in their cell, of the scope at hand.
    pub single: [u32; shape::COUNT as usize],
    /// How many.
    pub found: u32,
    /// Shapes of the scope at hand for which the hash has to be asked.
    pub ask: u32,
    /// Rules that name it: order in the high half, slot in the low half.
    pub matched: [u64; MATCH_MAX],
    /// Used entries of `matched`.
    pub match_count: u64,
    /// The guards that protect it.
    pub guards: Guards,
    /// Those of them that are carried out on the line.
    pub notes: Notes,
    /// Those of them that are carried out on each wire packet of it.
    pub cuts: Cuts,
    /// Index of its device.
    pub ifindex: u32,
    /// Wire packets it stands for.
    pub wire_packets: u32,
    /// The published epoch.
    pub epoch: u64,
    /// Bits of all faults of the rules that name it.
    pub faults: u32,
    /// Index of its namespace.
    pub netns_index: u32,
    /// The hook it is at.
    pub hook: u32,
    /// When it came, CLOCK_MONOTONIC nanoseconds, where it may have to wait; else 0.
    pub came: u64,
    /// What its application says, when a rule asks.
    pub application: Application,
}

/// Scratch space of one CPU.
#[repr(C)]
pub struct Desk {
    /// How deep our programs stand in one another on this CPU.
    depth: u64,
    /// The tick that `now` was read in.
    tick: u64,
    now: u64,
    /// By depth.
    works: [Work; DEPTH_MAX],
}

/// Scratch space of this CPU at this depth, for a packet that nothing is known of; `None` when too deep.
#[inline(always)]
pub fn work() -> Option<&'static mut Work> {
    let work = at_hand()?;
    work.scope_count = 0;
    work.match_count = 0;
    work.faults = 0;
    work.came = 0;
    work.guards.clear();
    work.notes.clear();
    work.cuts.clear();
    Some(work)
}

/// Scratch space of this CPU at this depth, as the program before left it, which called this one in its place.
#[inline(always)]
pub fn at_hand() -> Option<&'static mut Work> {
    let desk = WORK.get_ptr_mut(0)?;
    // SAFETY: a per-CPU map value that nobody else uses at this depth; programs do not migrate.
    unsafe {
        let depth = core::ptr::read_volatile(&raw const (*desk).depth) as usize;
        if depth >= DEPTH_MAX {
            return None;
        }
        Some(&mut *(&raw mut (*desk).works).cast::<Work>().add(depth))
    }
}

/// CLOCK_MONOTONIC_COARSE, nanoseconds. That clock moves with the tick, so it is read once a tick; the number of the
/// tick comes as two instructions, where the clock is a call.
#[inline(always)]
pub fn now() -> u64 {
    let Some(desk) = WORK.get_ptr_mut(0) else { return 0 };
    // SAFETY: a per-CPU map value, and helpers without arguments.
    unsafe {
        let tick = bpf_jiffies64();
        if (*desk).tick != tick {
            (*desk).tick = tick;
            (*desk).now = bpf_ktime_get_coarse_ns();
        }
        (*desk).now
    }
}

/// Scratch space of the program of ours in which this one stands; `None` when it stands in none.
#[inline(always)]
pub fn outer() -> Option<&'static Work> {
    let desk = WORK.get_ptr_mut(0)?;
    // SAFETY: as in `work`; the program that owns it waits for this one.
    unsafe {
        // Of a number that is not 0, kernels before 6.8 do not know that it is at least 1.
        let above = opaque((core::ptr::read_volatile(&raw const (*desk).depth) as usize).wrapping_sub(1));
        if above >= DEPTH_MAX {
            return None;
        }
        Some(&*(&raw const (*desk).works).cast::<Work>().add(above))
    }
}

/// Runs something during which other programs of ours may run on this CPU.
#[inline(always)]
pub fn deeper<T>(run: impl FnOnce() -> T) -> T {
    step(1);
    let result = run();
    step(u64::MAX);
    result
}

/// Whether no more than one program of ours is at work on this CPU, besides one that does not ask for scratch space.
#[inline(always)]
pub fn is_first() -> bool {
    // SAFETY: a per-CPU map value.
    WORK.get_ptr_mut(0)
        .is_some_and(|desk| unsafe { core::ptr::read_volatile(&raw const (*desk).depth) } <= 1)
}

#[inline(always)]
fn step(by: u64) {
    if let Some(desk) = WORK.get_ptr_mut(0) {
        // SAFETY: a per-CPU map value.
        unsafe { (*desk).depth = (*desk).depth.wrapping_add(by) };
    }
}

/// Reads a number back from memory, so that the verifier takes it for any number.
#[inline(always)]
pub fn forget(number: &u32) -> u32 {
    // SAFETY: a reference.
    unsafe { core::ptr::read_volatile(number) }
}

impl Work {
    /// Adds a scope.
    #[inline(always)]
    pub fn add_scope(&mut self, scope: Scope) {
        let i = self.scope_count as usize;
        if i < SCOPES_MAX {
            self.scopes[i] = scope;
            self.scope_count = i as u64 + 1;
        }
    }

    /// Adds a rule; `false` when there are too many.
    #[inline(always)]
    pub fn add_match(&mut self, order: u32, slot: u32) -> bool {
        let i = self.match_count as usize;
        if i >= MATCH_MAX {
            return false;
        }
        self.matched[i] = (order as u64) << 32 | slot as u64;
        self.match_count += 1;
        true
    }

    /// Slot of match `i` in ascending order of creation.
    #[inline(always)]
    pub fn slot(&self, i: usize) -> Option<u32> {
        if i < self.match_count as usize && i < MATCH_MAX {
            Some(self.matched[i] as u32)
        } else {
            None
        }
    }
}

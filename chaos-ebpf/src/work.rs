//! Scratch space for one packet: the BPF stack has 512 bytes.

use chaos_ebpf_common::{
    abi::{MATCH_MAX, Scope},
    flow::Flow,
    frame::Packet,
};

use crate::maps::{DEPTH, WORK};

/// Scopes one packet can belong to: its namespace, and six targets nested in one another.
pub const SCOPES_MAX: usize = 7;
/// How deep our programs can stand in one another: a copy sent out of a VLAN device passes the device
/// below it while the program above still works.
pub const DEPTH_MAX: u32 = 4;

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
    /// Rules that name it: order in the high half, slot in the low half.
    pub matched: [u64; MATCH_MAX],
    /// Used entries of `matched`.
    pub match_count: u64,
    /// Index of its device.
    pub ifindex: u32,
    /// Wire packets it stands for.
    pub wire_packets: u32,
    /// The published epoch.
    pub epoch: u64,
}

/// Scratch space of this CPU at this depth; `None` when too deep.
#[inline(always)]
pub fn work() -> Option<&'static mut Work> {
    let depth = match DEPTH.get_ptr(0) {
        // SAFETY: a per-CPU map value.
        Some(depth) => unsafe { core::ptr::read_volatile(depth) },
        None => return None,
    };
    // SAFETY: a per-CPU map value that nobody else uses at this depth; programs do not migrate.
    let work = unsafe { &mut *WORK.get_ptr_mut(depth)? };
    work.scope_count = 0;
    work.match_count = 0;
    Some(work)
}

/// Runs something during which other programs of ours may run on this CPU.
#[inline(always)]
pub fn deeper<T>(run: impl FnOnce() -> T) -> T {
    step(1);
    let result = run();
    step(u32::MAX);
    result
}

#[inline(always)]
fn step(by: u32) {
    if let Some(depth) = DEPTH.get_ptr_mut(0) {
        // SAFETY: a per-CPU map value.
        unsafe { *depth = (*depth).wrapping_add(by) };
    }
}

impl Work {
    /// Adds a scope.
    #[inline(always)]
    pub fn add_scope(&mut self, scope: Scope) {
        let i = self.scope_count as usize;
        if i < SCOPES_MAX {
            self.scopes[i] = scope;
            self.scope_count += 1;
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

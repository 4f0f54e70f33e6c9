//! The guard list, asked for every packet that a rule has named.

use aya_ebpf::maps::lpm_trie::Key;
use chaos_ebpf_common::{
    abi::{AddressKey, FlowKey, Netns, control, trie_bits},
    flow::Flow,
    frame::Packet,
    guard::{End, NEIGHBOURS, OWN, address_hint, hint, neighbour_discovery, port_slot, spares},
};
use core::cell::Cell;

use crate::{
    maps::{Control, GUARD_NETS, GUARD_PORTS, OWN_FLOWS, OWN_PORTS},
    work::Work,
};

/// The guards that protect the packet at hand. In the scratch space, and read back from there each time: of bits in
/// registers, the verifier would walk all combinations.
#[repr(C)]
pub struct Guards {
    bits: Cell<u64>,
    spared: Cell<u64>,
}

// SAFETY: scratch space of one CPU.
unsafe impl Sync for Guards {}

impl Guards {
    /// None so far.
    #[inline(always)]
    pub fn clear(&self) {
        self.bits.set(0);
        self.spared.set(0);
    }

    /// Whether the packet is kept from a rule that has lifted the guards `lifted`; notes it.
    #[inline(always)]
    pub fn spare(&self, lifted: u64) -> bool {
        let spared = spares(self.read(), lifted);
        if spared {
            self.spared.set(1);
        }
        spared
    }

    /// Whether it was kept from any rule.
    #[inline(always)]
    pub fn have_spared(&self) -> bool {
        self.spared.get() != 0
    }

    #[inline(always)]
    fn add(&self, bits: u64) {
        // SAFETY: as in `read`.
        unsafe { core::ptr::write_volatile(self.bits.as_ptr(), self.read() | bits) };
    }

    #[inline(always)]
    fn read(&self) -> u64 {
        // SAFETY: an aligned word of ours; volatile, so that it is read from memory.
        unsafe { core::ptr::read_volatile(self.bits.as_ptr()) }
    }
}

/// Whether any guard protects this packet; which ones takes a closer look.
#[inline(always)]
pub fn guarded(control: Control, packet: &Packet, flow: &Flow, netns: &Netns) -> bool {
    neighbour_discovery(packet)
        || may_guard_port(control, flow) && (of_port(flow, End::Local) | of_port(flow, End::Remote) != 0)
        || is_own(control, flow, netns)
        || may_guard_address(control, flow) && of_address(flow) != 0
}

/// Puts the guards that protect the packet at hand into `work.guards`. A function of its own: its keys take stack, and
/// the verifier walks what follows fewer times.
#[inline(never)]
pub fn note_guards(control: Control, work: &mut Work, netns: &Netns) {
    if neighbour_discovery(&work.packet) {
        work.guards.add(NEIGHBOURS);
    }
    if may_guard_port(control, &work.flow) {
        work.guards.add(of_port(&work.flow, End::Local));
        work.guards.add(of_port(&work.flow, End::Remote));
    }
    if is_own(control, &work.flow, netns) {
        work.guards.add(OWN);
    }
    if may_guard_address(control, &work.flow) {
        work.guards.add(of_address(&work.flow));
    }
}

#[inline(always)]
fn may_guard_port(control: Control, flow: &Flow) -> bool {
    control.read(control::GUARD_PORTS) & (hint(flow.local_port) | hint(flow.remote_port)) != 0
}

#[inline(always)]
fn of_port(flow: &Flow, end: End) -> u64 {
    let port = match end {
        End::Local => flow.local_port,
        End::Remote => flow.remote_port,
    };
    match port_slot(flow.protocol, end, port) {
        Some(slot) => GUARD_PORTS.get(slot).copied().unwrap_or(0),
        None => 0,
    }
}

/// Whether a socket of the daemon sends or gets it.
#[inline(always)]
fn is_own(control: Control, flow: &Flow, netns: &Netns) -> bool {
    if netns.own != 0 {
        let key = (flow.protocol as u32) << 16 | flow.local_port as u32;
        if OWN_PORTS.get_ptr(&key).is_some() {
            return true;
        }
    }
    control.read(control::OWN_FLOWS) != 0 && OWN_FLOWS.get_ptr(&FlowKey::of(flow)).is_some()
}

#[inline(always)]
fn may_guard_address(control: Control, flow: &Flow) -> bool {
    control.read(control::GUARD_NETS) & address_hint(flow.remote) != 0
}

#[inline(always)]
fn of_address(flow: &Flow) -> u64 {
    let key = Key::new(trie_bits(128), AddressKey::new(0, flow.remote));
    GUARD_NETS.get(&key).copied().unwrap_or(0)
}

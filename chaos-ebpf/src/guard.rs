//! The guard list, asked for every packet that a rule has named.

use aya_ebpf::maps::lpm_trie::Key;
use chaos_ebpf_common::{
    abi::{AddressKey, FlowKey, Netns, control, trie_bits},
    flow::Flow,
    frame::Packet,
    guard::{End, hint, neighbour_discovery, port_bit},
};

use crate::maps::{Control, GUARD_NETS, GUARD_PORTS, OWN_FLOWS, OWN_PORTS};

/// Whether no fault may touch this packet.
#[inline(always)]
pub fn guarded(control: Control, packet: &Packet, flow: &Flow, netns: &Netns) -> bool {
    if neighbour_discovery(packet) {
        return true;
    }
    let ports = hint(flow.local_port) | hint(flow.remote_port);
    if control.read(control::GUARD_PORTS) & ports != 0
        && (port_guarded(flow.protocol, End::Local, flow.local_port)
            || port_guarded(flow.protocol, End::Remote, flow.remote_port))
    {
        return true;
    }
    if netns.own != 0 {
        let key = (flow.protocol as u32) << 16 | flow.local_port as u32;
        if OWN_PORTS.get_ptr(&key).is_some() {
            return true;
        }
    }
    if control.read(control::OWN_FLOWS) != 0 && OWN_FLOWS.get_ptr(&FlowKey::of(flow)).is_some() {
        return true;
    }
    if control.read(control::GUARD_NETS) != 0 {
        let key = Key::new(trie_bits(128), AddressKey::new(0, flow.remote));
        return matches!(GUARD_NETS.get(&key), Some(1));
    }
    false
}

#[inline(always)]
fn port_guarded(protocol: u8, end: End, port: u16) -> bool {
    match port_bit(protocol, end, port) {
        Some((word, bit)) => matches!(GUARD_PORTS.get(word), Some(bits) if *bits & bit != 0),
        None => false,
    }
}

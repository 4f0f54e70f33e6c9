//! Later fragments have no ports; they take those of their first fragment.

use chaos_ebpf_common::{
    abi::{FragmentKey, protocol, stat},
    frame::{Fragment, Packet},
};

use crate::maps::{FRAGMENTS, NETNS_INDEX, count};

/// Notes the ports of a first fragment, or gives a later one its own.
#[inline(always)]
pub fn remember_or_recall(packet: &mut Packet) {
    if packet.protocol != protocol::TCP && packet.protocol != protocol::UDP {
        return;
    }
    let key = FragmentKey {
        source: packet.source,
        destination: packet.destination,
        id: packet.fragment_id,
        netns_protocol: NETNS_INDEX.load() | (packet.protocol as u32) << 24,
    };
    if packet.fragment as u32 == Fragment::First as u32 {
        let ports = (packet.source_port as u32) << 16 | packet.destination_port as u32;
        let _ = FRAGMENTS.insert(&key, &ports, 0);
        return;
    }
    match FRAGMENTS.get_ptr(&key) {
        // SAFETY: a map value, copied; an entry that is reused just now gives wrong ports once.
        Some(ports) => unsafe {
            packet.source_port = (*ports >> 16) as u16;
            packet.destination_port = *ports as u16;
        },
        None => count(stat::ORPHAN_FRAGMENTS),
    }
}

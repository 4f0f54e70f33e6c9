//! The guard list into its maps.

use aya::maps::lpm_trie::Key;
use chaos_ebpf_common::{
    abi::{AddressKey, control, protocol, trie_bits},
    guard::{End, PORT_WORDS, hint, port_bit},
};
use ipnet::{IpNet, Ipv4Net};

use super::{DatapathError, object::Maps};
use crate::{
    plan::{address, holds_v4},
    safety::guard::{GuardList, GuardProtocol, GuardWhat},
};

/// BPF_NOEXIST: leave an entry that is there.
const NO_REPLACE: u64 = 1;

fn key(net: &IpNet) -> Key<AddressKey> {
    let bits = u32::from(net.prefix_len()) + if matches!(net, IpNet::V4(_)) { 96 } else { 0 };
    Key::new(trie_bits(bits), AddressKey::new(0, address(net.network())))
}

/// Writes the whole list. Called before anything is armed.
pub fn write(maps: &mut Maps, guard: &GuardList) -> Result<(), DatapathError> {
    let mut words = vec![0u64; PORT_WORDS as usize];
    let (mut nets, mut hints) = (0u64, 0u64);
    for entry in &guard.entries {
        match &entry.what {
            GuardWhat::Ports { protocol, ports } => {
                let protocol = match protocol {
                    GuardProtocol::Tcp => protocol::TCP,
                    GuardProtocol::Udp => protocol::UDP,
                };
                for port in ports.clone() {
                    for end in [End::Local, End::Remote] {
                        if let Some((word, bit)) = port_bit(protocol, end, port) {
                            words[word as usize] |= bit;
                            hints |= hint(port);
                        }
                    }
                }
            }
            GuardWhat::Net(net) => {
                if holds_v4(net) {
                    // Unless IPv4 is guarded as a whole by another entry, whichever comes first: then this one fails.
                    let v4 = IpNet::from(Ipv4Net::default());
                    let _ = maps.guard_nets.insert(&key(&v4), 0, NO_REPLACE);
                }
                maps.guard_nets
                    .insert(&key(net), 1, 0)
                    .map_err(|e| DatapathError::map("GUARD_NETS", e))?;
                nets += 1;
            }
        }
    }
    for (word, bits) in (0u32..).zip(words).filter(|(_, bits)| *bits != 0) {
        maps.guard_ports
            .set(word, bits, 0)
            .map_err(|e| DatapathError::map("GUARD_PORTS", e))?;
    }
    maps.control.store(control::GUARD_PORTS, hints);
    maps.control.store(control::GUARD_NETS, nets);
    Ok(())
}

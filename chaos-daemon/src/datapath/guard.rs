//! The guard list into its maps.

use std::collections::{BTreeMap, HashMap};

use aya::maps::lpm_trie::Key;
use chaos_ebpf_common::{
    abi::{AddressKey, control, protocol, trie_bits},
    guard::{End, address_hint, hint, port_slot},
};
use ipnet::{IpNet, Ipv4Net};

use super::{DatapathError, object::Maps};
use crate::{
    plan::{address, holds_v4},
    safety::guard::{GuardList, GuardProtocol, GuardWhat},
};

fn key(net: &IpNet) -> Key<AddressKey> {
    let bits = u32::from(net.prefix_len()) + if matches!(net, IpNet::V4(_)) { 96 } else { 0 };
    Key::new(trie_bits(bits), AddressKey::new(0, address(net.network())))
}

/// What is in the maps now.
#[derive(Default)]
pub struct Guards {
    /// Bits by name, for rules that lift some.
    list: GuardList,
    ports: HashMap<u32, u64>,
    nets: BTreeMap<IpNet, u64>,
}

impl Guards {
    /// The bits of these names; one that is not known lifts nothing.
    pub fn lifted(&self, names: &[String]) -> u64 {
        names
            .iter()
            .filter_map(|name| self.list.bit(name))
            .fold(0, |bits, bit| bits | bit)
    }

    /// Puts a list into force in place of the one before. What both hold is guarded all the while.
    pub fn write(&mut self, maps: &mut Maps, list: &GuardList) -> Result<(), DatapathError> {
        let (ports, nets) = (ports(list), networks(list));
        let mut hints = (0, 0);
        for (slot, bits) in &ports {
            // The low half is the port.
            hints.0 |= hint(*slot as u16);
            if self.ports.get(slot) != Some(bits) {
                set_port(maps, *slot, *bits)?;
            }
        }
        for (net, bits) in &nets {
            let single = net.prefix_len() == net.max_prefix_len();
            hints.1 |= if single {
                address_hint(address(net.network()))
            } else {
                u64::MAX
            };
            maps.guard_nets
                .insert(&key(net), *bits, 0)
                .map_err(|e| DatapathError::map("GUARD_NETS", e))?;
        }
        maps.control.store(control::GUARD_PORTS, hints.0);
        maps.control.store(control::GUARD_NETS, hints.1);
        for slot in self.ports.keys().filter(|slot| !ports.contains_key(slot)) {
            set_port(maps, *slot, 0)?;
        }
        for net in self.nets.keys().filter(|net| !nets.contains_key(net)) {
            maps.guard_nets
                .remove(&key(net))
                .map_err(|e| DatapathError::map("GUARD_NETS", e))?;
        }
        *self = Self {
            list: list.clone(),
            ports,
            nets,
        };
        Ok(())
    }
}

fn set_port(maps: &mut Maps, slot: u32, bits: u64) -> Result<(), DatapathError> {
    maps.guard_ports
        .set(slot, bits, 0)
        .map_err(|e| DatapathError::map("GUARD_PORTS", e))
}

fn ports(list: &GuardList) -> HashMap<u32, u64> {
    let mut slots: HashMap<u32, u64> = HashMap::new();
    for entry in &list.entries {
        let GuardWhat::Ports { protocol, ports } = &entry.what else {
            continue;
        };
        let protocol = match protocol {
            GuardProtocol::Tcp => protocol::TCP,
            GuardProtocol::Udp => protocol::UDP,
        };
        let bit = list.bit(&entry.name).unwrap_or(0);
        for port in ports.clone() {
            for end in [End::Local, End::Remote] {
                if let Some(slot) = port_slot(protocol, end, port) {
                    *slots.entry(slot).or_default() |= bit;
                }
            }
        }
    }
    slots
}

/// The longest prefix decides in the kernel, so each network has the bits of those around it, too.
fn networks(list: &GuardList) -> BTreeMap<IpNet, u64> {
    let written: Vec<(IpNet, u64)> = list
        .entries
        .iter()
        .filter_map(|entry| match &entry.what {
            GuardWhat::Net(net) => Some((*net, list.bit(&entry.name).unwrap_or(0))),
            GuardWhat::Ports { .. } => None,
        })
        .collect();
    let mut nets: BTreeMap<IpNet, u64> = BTreeMap::new();
    for (net, _) in &written {
        let around = written.iter().filter(|(other, _)| other.contains(net));
        nets.insert(*net, around.fold(0, |bits, (_, bit)| bits | bit));
    }
    if written.iter().any(|(net, _)| holds_v4(net)) {
        // A prefix of IPv6 that the mapped IPv4 addresses lie in does not mean them.
        nets.entry(IpNet::from(Ipv4Net::default())).or_insert(0);
    }
    nets
}

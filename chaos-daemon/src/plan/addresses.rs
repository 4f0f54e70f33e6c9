//! Remote addresses: exact ones go into the index, a few prefixes into the rule, more into the trie.

use std::net::IpAddr;

use chaos_ebpf_common::{
    abi::{PREFIXES, Rule, remote},
    address::{Address, Prefix},
};
use chaos_spec::Remote;
use ipnet::IpNet;

use super::address;

/// What the remote end may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remotes {
    /// Anything.
    Any,
    /// These addresses, all exact.
    Exact(Vec<IpAddr>),
    /// The longest prefix that holds the address decides: `true` includes.
    Prefixes(Vec<(IpNet, bool)>),
}

/// One entry of the `ADDRS` trie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TriePrefix {
    /// Leading bits of the address, 0..=128.
    pub bits: u32,
    /// The network.
    pub network: Address,
    /// Whether it includes or excludes.
    pub includes: bool,
}

/// What `remote` says about addresses; `None` when it names hosts and none of them has an address.
pub(super) fn remotes(spec: &Remote, resolved: &[IpNet]) -> Option<Remotes> {
    let except: Vec<IpNet> = IpNet::aggregate(&spec.except.iter().map(|cidr| cidr.net()).collect());
    let named: Vec<IpNet> = spec
        .cidrs
        .iter()
        .map(|cidr| cidr.net())
        .chain(resolved.iter().copied())
        .collect();
    if spec.cidrs.is_empty() && spec.hosts.is_empty() {
        if except.is_empty() {
            return Some(Remotes::Any);
        }
        let everything = [IpNet::V4(Default::default()), IpNet::V6(Default::default())];
        return Some(prefixes(&everything, except));
    }
    // `except` always wins: what lies inside it includes nothing.
    let include: Vec<IpNet> = named
        .into_iter()
        .filter(|net| !except.iter().any(|out| out.contains(net)))
        .collect();
    if include.is_empty() {
        return None;
    }
    if except.is_empty() && include.iter().all(|net| net.prefix_len() == net.max_prefix_len()) {
        let mut exact: Vec<IpAddr> = include.iter().map(IpNet::addr).collect();
        exact.sort_unstable();
        exact.dedup();
        return Some(Remotes::Exact(exact));
    }
    Some(prefixes(&IpNet::aggregate(&include), except))
}

fn prefixes(include: &[IpNet], except: Vec<IpNet>) -> Remotes {
    let out = except.into_iter().map(|net| (net, false));
    Remotes::Prefixes(include.iter().map(|net| (*net, true)).chain(out).collect())
}

/// Writes the addresses into the rule; what does not fit comes back for the trie. `filed`: the index
/// cell has found the address already.
pub(super) fn write(remotes: &Remotes, filed: bool, rule: &mut Rule) -> Vec<TriePrefix> {
    match remotes {
        Remotes::Any => {
            rule.remote = remote::ANY;
            Vec::new()
        }
        Remotes::Exact(_) if filed => {
            rule.remote = remote::CELL;
            Vec::new()
        }
        Remotes::Exact(addresses) => {
            let nets: Vec<(IpNet, bool)> = addresses.iter().map(|ip| (IpNet::from(*ip), true)).collect();
            write_prefixes(&nets, rule)
        }
        Remotes::Prefixes(nets) => write_prefixes(nets, rule),
    }
}

fn write_prefixes(nets: &[(IpNet, bool)], rule: &mut Rule) -> Vec<TriePrefix> {
    if nets.len() <= PREFIXES && nets.iter().all(|(_, includes)| *includes) {
        rule.remote = remote::INLINE;
        rule.prefix_count = nets.len() as u8;
        for (slot, (net, _)) in rule.prefixes.iter_mut().zip(nets) {
            *slot = Prefix::new(address(net.network()), bits(net));
        }
        return Vec::new();
    }
    rule.remote = remote::TRIE;
    nets.iter()
        .map(|(net, includes)| TriePrefix {
            bits: bits(net),
            network: address(net.network()),
            includes: *includes,
        })
        .collect()
}

/// IPv4 lives in the last 32 of 128 bits.
fn bits(net: &IpNet) -> u32 {
    u32::from(net.prefix_len()) + if net.addr().is_ipv4() { 96 } else { 0 }
}

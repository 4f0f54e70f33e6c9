//! Remote addresses: exact ones go into the index, a few prefixes into the rule, more into the trie.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use chaos_ebpf_common::{
    abi::{PREFIXES, Rule, remote},
    address::{Address, Prefix},
};
use chaos_spec::Remote;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

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
    let anybody = spec.cidrs.is_empty() && spec.hosts.is_empty();
    if anybody && except.is_empty() {
        return Some(Remotes::Any);
    }
    let named: Vec<IpNet> = if anybody {
        vec![ALL_V4, ALL_V6]
    } else {
        spec.cidrs
            .iter()
            .map(|cidr| cidr.net())
            .chain(resolved.iter().copied())
            .collect()
    };
    // `except` always wins: what lies inside it includes nothing.
    let except = Disjoint::of(except);
    let include: Vec<IpNet> = named.into_iter().filter(|net| !except.hold(net)).collect();
    if include.is_empty() {
        return None;
    }
    if except.0.is_empty() && include.iter().all(|net| net.prefix_len() == net.max_prefix_len()) {
        let mut exact: Vec<IpAddr> = include.iter().map(IpNet::addr).collect();
        exact.sort_unstable();
        exact.dedup();
        return Some(Remotes::Exact(exact));
    }
    let include = IpNet::aggregate(&include);
    let mut out = except.0;
    if include.iter().any(holds_v4) && !include.contains(&ALL_V4) {
        out.push(ALL_V4);
    }
    let (include, out) = (
        include.into_iter().map(|net| (net, true)),
        out.into_iter().map(|net| (net, false)),
    );
    Some(Remotes::Prefixes(include.chain(out).collect()))
}

/// Networks in order, none in another: 65,536 are looked through in moments.
struct Disjoint(Vec<IpNet>);

impl Disjoint {
    /// `aggregated` as [`IpNet::aggregate`] leaves them.
    fn of(mut aggregated: Vec<IpNet>) -> Self {
        aggregated.sort_unstable_by_key(IpNet::network);
        Self(aggregated)
    }

    /// Whether one of them holds all of `net`: only the last that begins no later can.
    fn hold(&self, net: &IpNet) -> bool {
        let after = self.0.partition_point(|out| out.network() <= net.network());
        after
            .checked_sub(1)
            .is_some_and(|last| self.0[last].contains(net))
    }
}

const ALL_V4: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0));
const ALL_V6: IpNet = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0));

/// Whether an IPv6 prefix is so short that it holds the corner of IPv6 in which the kernel programs keep IPv4
/// (`::ffff:0:0/96`). People who write `::/0` mean IPv6.
pub(crate) fn holds_v4(net: &IpNet) -> bool {
    matches!(net, IpNet::V6(net) if net.contains(&Ipv4Addr::UNSPECIFIED.to_ipv6_mapped()))
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

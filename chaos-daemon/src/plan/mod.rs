//! From what people write to what the kernel reads. Pure: no map, no file, no clock.

mod addresses;
mod application;
mod choice;
mod distribution;
mod faults;
mod filing;
mod line;
mod words;

use std::sync::Arc;

use chaos_ebpf_common::{
    abi::{CELL_RULES, Hook, PREFIXES, Ports, RANGES, Rule, fault, flags, protocol},
    address::{Address, Prefix},
    rng::CERTAIN,
};
use chaos_spec::{Connections, Dns, DnsTcp, FaultSpec, PortRange, Protocol, api::Line};
use ipnet::IpNet;
use thiserror::Error;

pub use addresses::TriePrefix;
pub(crate) use addresses::holds_v4;
pub use application::Application;
pub use choice::Choice;
pub use distribution::{Jitter, normal};
pub use faults::xdp_can_do;
pub use filing::{CellParts, Filing};
pub use line::{BandwidthPlan, DelayPlan, LinePlan, ReorderPlan};
pub use words::rule_text;

/// Most cells of the index that one fault may fill.
pub const CELLS_PER_FAULT: usize = 1 << 18;

/// Why a spec cannot become rules. All of these are about size: everything else was refused before.
#[derive(Debug, Error)]
pub enum PlanError {
    /// Too many addresses.
    #[error(
        "{count} remote addresses are more than one fault can hold ({most}); use prefixes, or split the fault"
    )]
    TooManyAddresses {
        /// How many were named.
        count: usize,
        /// The limit.
        most: usize,
    },
    /// Too many ranges of ports: every packet of the fault would have to be held against all of them.
    #[error(
        "{locals} ranges of local ports and {remotes} of remote ports make {count} rules, more than one fault can have \
         ({most}, of {RANGES} ranges each); name wider ranges, or split the fault"
    )]
    TooManyPorts {
        /// Ranges that touch are one.
        locals: usize,
        remotes: usize,
        /// Rules they make.
        count: usize,
        /// The limit.
        most: usize,
    },
}

/// A rule before it is given a place: everything but hook, scope, device and slot.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The rule; `from_epoch`, `fault`, `state`, `order`, `ifindex` and `address_set` are still 0.
    pub rule: Rule,
    /// Under which cells it is filed.
    pub filing: Arc<Filing>,
    /// Prefixes for the `ADDRS` trie.
    pub trie: Arc<[TriePrefix]>,
    /// What is carried out on the line.
    pub line: Option<Arc<LinePlan>>,
    /// What is looked for in payloads.
    pub application: Option<Arc<Application>>,
    /// Where it holds; everywhere, if nothing is said.
    pub only: Option<Hook>,
}

impl Draft {
    /// Whether it holds at a hook.
    pub fn holds_at(&self, hook: Hook) -> bool {
        self.only
            .is_none_or(|only| (only == Hook::Egress) == (hook == Hook::Egress))
    }

    /// Its rule at a hook. Super-packets that leave are cut there, those that arrive are not: what has arrived stands in
    /// a queue of the kernel, and pieces would have to go behind it. `cable`: its packets go by the kernel line.
    pub fn rule_at(&self, hook: Hook, cable: bool) -> Rule {
        let mut rule = self.rule;
        if !cable {
            rule.flags &= !flags::WAIT;
        }
        if hook != Hook::Egress {
            rule.flags &= !flags::CUT;
        } else if rule.flags & flags::CUT != 0 {
            rule.flags &= !flags::LINE_BULK;
        }
        rule
    }

    /// Whether its packets wait on the kernel line.
    pub fn waits(&self) -> bool {
        self.rule.flags & flags::WAIT != 0
    }

    /// Has them wait on the user line.
    pub fn use_thread(&mut self) {
        self.rule.flags &= !flags::WAIT;
    }

    /// What carries packets for it, at a hook, when the hook cannot treat them as they are.
    pub fn line_at(&self, hook: Hook) -> Option<Line> {
        match hook {
            Hook::Xdp => None,
            _ if self.waits() => Some(Line::Kernel),
            Hook::Egress if self.rule.flags & flags::CUT != 0 => Some(Line::Kernel),
            _ => (self.rule.flags & (flags::LINE | flags::LINE_BULK) != 0).then_some(Line::User),
        }
    }
}

const _: () = assert!(chaos_spec::MAX_FLOWS == chaos_ebpf_common::abi::MAX_FLOWS as u64);

/// What the spec leaves open and the engine knows.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// Seed, given or drawn.
    pub seed: u64,
    /// Addresses of `remote.hosts`, as resolved now.
    pub addresses: &'a [IpNet],
}

/// The rules of a fault. Several when a port list is longer than one rule holds; none when it names
/// hosts that have no address yet.
pub fn drafts(spec: &FaultSpec, context: &Context<'_>) -> Result<Vec<Draft>, PlanError> {
    let traffic = &spec.traffic;
    let local = merge(traffic.local.iter().flat_map(|local| &local.ports));
    let remote = merge(traffic.remote.iter().flat_map(|remote| &remote.ports));
    if spec.fault.dns.is_none() || !local.is_empty() || !remote.is_empty() {
        return drafts_of_ports(spec, context, &local, &remote, None);
    }
    // Look-ups that leave go to a server's port, those that arrive come to one.
    let server = [Ports {
        first: Dns::PORT,
        last: Dns::PORT,
    }];
    let mut drafts = Vec::new();
    if traffic.direction.has_egress() {
        drafts.extend(drafts_of_ports(spec, context, &[], &server, Some(Hook::Egress))?);
    }
    if traffic.direction.has_ingress() {
        drafts.extend(drafts_of_ports(spec, context, &server, &[], Some(Hook::Ingress))?);
    }
    Ok(drafts)
}

fn drafts_of_ports(
    spec: &FaultSpec,
    context: &Context<'_>,
    local_ports: &[Ports],
    remote_ports: &[Ports],
    only: Option<Hook>,
) -> Result<Vec<Draft>, PlanError> {
    let traffic = &spec.traffic;
    let remote = traffic.remote.clone().unwrap_or_default();
    let Some(remotes) = addresses::remotes(&remote, context.addresses) else {
        return Ok(Vec::new());
    };
    let filing = filing::file(local_ports, remote_ports, &remotes);
    if filing.cells() > CELLS_PER_FAULT {
        return Err(PlanError::TooManyAddresses {
            count: filing.cells(),
            most: CELLS_PER_FAULT,
        });
    }

    let locals_of_rules = filing.checked_locals(local_ports);
    let remotes_of_rules = filing.checked_remotes(remote_ports);
    // All of them stand in the same cells, which hold so many.
    let each = if spec
        .fault
        .dns
        .as_ref()
        .is_some_and(|dns| dns.tcp == DnsTcp::Reset)
    {
        2
    } else {
        1
    };
    let count = each * locals_of_rules.len() * remotes_of_rules.len();
    if count > CELL_RULES {
        return Err(PlanError::TooManyPorts {
            locals: local_ports.len(),
            remotes: remote_ports.len(),
            count,
            most: CELL_RULES,
        });
    }

    let mut rule = Rule {
        prefixes: [Prefix::NONE; PREFIXES],
        until_epoch: u64::MAX,
        seed: context.seed,
        budget: spec.safety.max_packets.unwrap_or(u64::MAX),
        max_flows: spec.safety.max_flows.unwrap_or(u64::MAX),
        flags: spec.safety.max_flows.map_or(0, |_| flags::MAX_FLOWS),
        flows: traffic.flows.map_or(CERTAIN, |share| share.threshold()),
        protocol: match traffic.protocol {
            Protocol::Any => protocol::ANY,
            Protocol::Tcp => protocol::TCP,
            Protocol::Udp => protocol::UDP,
            Protocol::Icmp => protocol::ICMP,
        },
        connections: match traffic.connections {
            Connections::Any => chaos_ebpf_common::abi::connections::ANY,
            Connections::New => chaos_ebpf_common::abi::connections::NEW,
            Connections::Established => chaos_ebpf_common::abi::connections::ESTABLISHED,
        },
        ..Rule::default()
    };
    faults::write(&spec.fault, &mut rule);
    let application = application::write(&spec.fault, &mut rule).map(Arc::new);
    let line = line::plan(&spec.fault, &mut rule).map(Arc::new);
    let beside = spec
        .fault
        .dns
        .as_ref()
        .and_then(|dns| application::over_tcp(dns, &rule));
    let trie: Arc<[TriePrefix]> = addresses::write(&remotes, filing.has_remote(), &mut rule).into();
    let filing = Arc::new(filing);

    let mut drafts = Vec::with_capacity(count);
    for local in &locals_of_rules {
        for remote in &remotes_of_rules {
            for mut rule in std::iter::once(rule).chain(beside) {
                (rule.local_ports, rule.local_ranges) = ranges(local);
                (rule.remote_ports, rule.remote_ranges) = ranges(remote);
                let asks = rule.faults & (fault::HTTP | fault::DNS) != 0;
                drafts.push(Draft {
                    rule,
                    filing: Arc::clone(&filing),
                    trie: Arc::clone(&trie),
                    line: line.clone().filter(|_| application.is_none() || asks),
                    application: application.clone().filter(|_| asks),
                    only,
                });
            }
        }
    }
    Ok(drafts)
}

/// Port ranges sorted and joined where they touch, so that no packet is in two of them.
fn merge<'a>(ranges: impl IntoIterator<Item = &'a PortRange>) -> Vec<Ports> {
    let mut sorted: Vec<Ports> = ranges
        .into_iter()
        .map(|range| Ports {
            first: range.first(),
            last: range.last(),
        })
        .collect();
    sorted.sort_by_key(|ports| ports.first);
    let mut merged: Vec<Ports> = Vec::new();
    for ports in sorted {
        match merged.last_mut() {
            Some(last) if u32::from(ports.first) <= u32::from(last.last) + 1 => {
                last.last = last.last.max(ports.last);
            }
            _ => merged.push(ports),
        }
    }
    merged
}

fn ranges(ports: &[Ports]) -> ([Ports; RANGES], u8) {
    let mut array = [Ports::NONE; RANGES];
    array[..ports.len()].copy_from_slice(ports);
    (array, ports.len() as u8)
}

/// An address in the shape of the ABI.
pub fn address(ip: std::net::IpAddr) -> Address {
    match ip {
        std::net::IpAddr::V4(v4) => Address::from_octets(v4.to_ipv6_mapped().octets()),
        std::net::IpAddr::V6(v6) => Address::from_octets(v6.octets()),
    }
}

#[cfg(test)]
mod tests;

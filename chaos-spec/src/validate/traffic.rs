use std::collections::HashSet;

use super::Errors;
use crate::path::SpecPath;
use crate::{Cidr, Connections, PortRange, Protocol, Remote, Traffic};

pub(super) fn check(traffic: &Traffic, errors: &mut Errors) {
    if let Some(remote) = &traffic.remote {
        check_remote(remote, errors);
        check_ports(
            "spec.traffic.remote.ports",
            &remote.ports,
            traffic.protocol,
            errors,
        );
    }
    if let Some(local) = &traffic.local {
        if local.is_empty() {
            errors.add(
                "spec.traffic.local",
                "it says nothing",
                "name `ports`, or leave `local` out",
            );
        }
        check_ports("spec.traffic.local.ports", &local.ports, traffic.protocol, errors);
    }
    if traffic.connections != Connections::Any && !traffic.protocol.has_tcp() {
        let message = format!(
            "`{}` speaks of TCP connections, and the protocol is {}",
            traffic.connections, traffic.protocol
        );
        errors.add(
            "spec.traffic.connections",
            message,
            "write `protocol: tcp`, or leave `connections` out",
        );
    }
}

fn check_ports(path: &str, ports: &[PortRange], protocol: Protocol, errors: &mut Errors) {
    if !ports.is_empty() && protocol == Protocol::Icmp {
        errors.add(
            path,
            "ICMP has no ports",
            "write `protocol: tcp` or `udp`, or leave `ports` out",
        );
    }
    let mut seen = HashSet::new();
    for (place, range) in ports.iter().enumerate() {
        if !seen.insert(range) {
            errors.at(
                SpecPath::of(path).index(place),
                format!("{range} is named twice"),
                "name it once",
            );
        }
    }
}

fn check_remote(remote: &Remote, errors: &mut Errors) {
    if remote.is_empty() {
        let remedy = "name `cidrs`, `hosts` or `ports`, or leave `remote` out";
        errors.add("spec.traffic.remote", "it says nothing", remedy);
    }
    check_except(remote, errors);
}

/// `except` takes away from what `cidrs` and `hosts` name; from everything when they name nothing.
fn check_except(remote: &Remote, errors: &mut Errors) {
    if remote.except.is_empty() {
        return;
    }
    let excepted = Sorted::new(&remote.except);
    for (place, cidr) in remote.cidrs.iter().enumerate() {
        if let Some(except) = excepted.covering(*cidr) {
            let path = SpecPath::of("spec.traffic.remote.cidrs").index(place);
            let message = format!("`except` takes all of {cidr} away ({except})");
            errors.at(path, message, "leave it out, or narrow `except`");
        }
    }
    if remote.cidrs.is_empty() || !remote.hosts.is_empty() {
        return;
    }
    let named = Sorted::new(&remote.cidrs);
    for (place, except) in remote.except.iter().enumerate() {
        if named.covering(*except).is_none() && !named.any_inside(*except) {
            let path = SpecPath::of("spec.traffic.remote.except").index(place);
            let remedy = "leave it out, or name a network that holds it in `cidrs`";
            errors.at(
                path,
                format!("{except} lies outside every network in `cidrs`"),
                remedy,
            );
        }
    }
}

/// Networks in order, so that 65,536 of each kind are compared in moments rather than minutes.
struct Sorted(Vec<Cidr>);

impl Sorted {
    fn new(cidrs: &[Cidr]) -> Self {
        let mut sorted = cidrs.to_vec();
        sorted.sort_by_key(|cidr| (cidr.address(), cidr.prefix_len()));
        Self(sorted)
    }

    /// One that holds all of `cidr`: it is found among the at most 129 networks that do, each by its own look-up.
    fn covering(&self, cidr: Cidr) -> Option<Cidr> {
        let mut wider = Some(cidr.net());
        while let Some(net) = wider {
            let wanted = Cidr::containing(net);
            let key = (wanted.address(), wanted.prefix_len());
            if self
                .0
                .binary_search_by_key(&key, |have| (have.address(), have.prefix_len()))
                .is_ok()
            {
                return Some(wanted);
            }
            wider = net.supernet();
        }
        None
    }

    /// Whether any of ours lies in `cidr`: then the first one from its first address on does.
    fn any_inside(&self, cidr: Cidr) -> bool {
        let from = self.0.partition_point(|have| have.address() < cidr.address());
        let wide_enough = |have: &&Cidr| have.prefix_len() >= cidr.prefix_len();
        self.0[from..]
            .iter()
            .find(wide_enough)
            .is_some_and(|have| cidr.contains(*have))
    }
}

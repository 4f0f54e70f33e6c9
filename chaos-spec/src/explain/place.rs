//! Where the commands of other tools are to be run, and for which address families.

use crate::{Direction, Remote, Target, TargetKind, Traffic};

/// What to put before a command, so that it acts in the target's network namespace.
pub(super) fn enter(target: &Target) -> String {
    match &target.kind {
        TargetKind::Cgroup(_) | TargetKind::Host => String::new(),
        TargetKind::Pid(pid) => format!("nsenter -t {pid} -n "),
        TargetKind::Netns(netns) => netns_prefix(netns),
        TargetKind::Container(id) => {
            format!("nsenter -t \"$(podman inspect -f '{{{{.State.Pid}}}}' {id})\" -n ")
        }
        TargetKind::Interface(interface) => interface.netns.as_deref().map(netns_prefix).unwrap_or_default(),
        TargetKind::Pods(_) => "kubectl exec … -- ".to_owned(),
    }
}

fn netns_prefix(netns: &str) -> String {
    let name = netns
        .strip_prefix("/run/netns/")
        .or_else(|| netns.strip_prefix("/var/run/netns/"))
        .unwrap_or(netns);
    if name.contains('/') {
        format!("nsenter --net={netns} ")
    } else {
        format!("ip netns exec {name} ")
    }
}

/// The interfaces; `$DEV` when every one is meant.
pub(super) fn devices(target: &Target) -> Vec<String> {
    match &target.kind {
        TargetKind::Interface(interface) => vec![interface.name.clone()],
        _ if target.interfaces.is_empty() => vec!["$DEV".to_owned()],
        _ => target.interfaces.clone(),
    }
}

/// The path as `-m cgroup --path` takes it.
pub(super) fn cgroup(target: &Target) -> Option<&str> {
    match &target.kind {
        TargetKind::Cgroup(path) => Some(path.trim_start_matches('/')),
        _ => None,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// The families that the remote end can have.
pub(super) fn families(remote: Option<&Remote>) -> Vec<Family> {
    let Some(remote) = remote.filter(|remote| !remote.cidrs.is_empty() && remote.hosts.is_empty()) else {
        return vec![Family::V4, Family::V6];
    };
    let mut families = Vec::new();
    if remote.cidrs.iter().any(|cidr| cidr.is_ipv4()) {
        families.push(Family::V4);
    }
    if remote.cidrs.iter().any(|cidr| !cidr.is_ipv4()) {
        families.push(Family::V6);
    }
    families
}

/// One direction after the other.
pub(super) fn directions(traffic: &Traffic) -> Vec<Direction> {
    match traffic.direction {
        Direction::Both => vec![Direction::Egress, Direction::Ingress],
        one => vec![one],
    }
}

/// Addresses and names of one family; empty: any.
pub(super) fn remotes(remote: Option<&Remote>, family: Family) -> Vec<String> {
    let Some(remote) = remote else {
        return Vec::new();
    };
    let ours = remote
        .cidrs
        .iter()
        .filter(|cidr| cidr.is_ipv4() == (family == Family::V4));
    ours.map(ToString::to_string)
        .chain(remote.hosts.iter().map(ToString::to_string))
        .collect()
}

/// `except` of one family.
pub(super) fn exceptions(remote: Option<&Remote>, family: Family) -> Vec<String> {
    let except = remote.into_iter().flat_map(|remote| &remote.except);
    except
        .filter(|cidr| cidr.is_ipv4() == (family == Family::V4))
        .map(ToString::to_string)
        .collect()
}

//! The nearest `tc netem` commands. netem sits under a whole interface: narrowing it takes a classful qdisc and
//! filters, ingress takes an ifb device.

use super::Equivalent;
use super::place::{Family, cgroup, devices, directions, enter, exceptions, families, remotes};
use crate::{
    Chance, Connections, Delay, Direction, Distribution, DistributionTable, DropModel, Fault, FaultSpec,
    PortRange, Protocol, Reorder,
};

/// Filters shown before the rest is summed up.
const SHOWN: usize = 4;

pub(super) fn commands(spec: &FaultSpec) -> Option<Equivalent> {
    let netem = netem(&spec.fault)?;
    let mut commands = Vec::new();
    for direction in directions(&spec.traffic) {
        for device in devices(&spec.target) {
            on_device(spec, direction, &device, &netem, &mut commands);
        }
    }
    Some(Equivalent {
        tool: "tc".to_owned(),
        commands,
    })
}

/// The arguments of netem; none when nothing of the fault is netem's business.
fn netem(fault: &Fault) -> Option<String> {
    let mut words = Vec::new();
    words.extend(fault.delay.as_ref().map(delay));
    words.extend(
        fault
            .drop
            .as_ref()
            .and_then(crate::Drop::model)
            .and_then(|model| match model {
                DropModel::Chance { chance, correlation } if correlation.is_never() => {
                    Some(format!("loss random {chance}"))
                }
                DropModel::Chance { chance, correlation } => {
                    Some(format!("loss random {chance} {correlation}"))
                }
                DropModel::GilbertElliott(model) => Some(format!(
                    "loss gemodel {} {} {} {}",
                    model.p,
                    model.r,
                    lost(model.h),
                    lost(model.k)
                )),
                DropModel::Every(_) => None,
            }),
    );
    words.extend(
        fault
            .duplicate
            .as_ref()
            .map(|duplicate| correlated("duplicate", duplicate.chance, duplicate.correlation)),
    );
    words.extend(
        fault
            .corrupt
            .as_ref()
            .map(|corrupt| correlated("corrupt", corrupt.chance, corrupt.correlation)),
    );
    words.extend(fault.reorder.as_ref().map(reorder));
    words.extend(
        fault
            .bandwidth
            .as_ref()
            .map(|bandwidth| format!("rate {}", bandwidth.rate)),
    );
    if words.is_empty() {
        None
    } else {
        Some(words.join(" "))
    }
}

fn correlated(word: &str, chance: Chance, correlation: Option<Chance>) -> String {
    match correlation.filter(|share| !share.is_never()) {
        Some(correlation) => format!("{word} {chance} {correlation}"),
        None => format!("{word} {chance}"),
    }
}

fn delay(delay: &Delay) -> String {
    let mut words = vec![format!("delay {}", delay.latency)];
    if let Some(jitter) = delay.jitter {
        words.push(jitter.to_string());
        words.extend(delay.correlation.map(|correlation| correlation.to_string()));
        let distribution = match &delay.distribution {
            // What netem does when it is told nothing.
            Some(Distribution::Uniform) => None,
            Some(Distribution::Table(DistributionTable { file: Some(file), .. })) => Some(file.as_str()),
            Some(Distribution::Table(_)) => Some("$TABLE"),
            Some(named) => Some(named.word()),
            None if delay.compat.is_some() => None,
            None => Some(Distribution::Normal.word()),
        };
        words.extend(distribution.map(|name| format!("distribution {name}")));
    }
    words.join(" ")
}

fn reorder(reorder: &Reorder) -> String {
    let word = correlated("reorder", reorder.chance, reorder.correlation);
    match reorder.gap {
        Some(gap) => format!("{word} gap {gap}"),
        None => word,
    }
}

/// netem takes the chances of loss, a spec those of delivery.
fn lost(delivered: Chance) -> Chance {
    delivered.complement()
}

fn on_device(spec: &FaultSpec, direction: Direction, device: &str, netem: &str, commands: &mut Vec<String>) {
    let enter = enter(&spec.target);
    let device = if direction == Direction::Ingress {
        commands.push(format!(
            "{enter}ip link add ifb0 type ifb && {enter}ip link set ifb0 up"
        ));
        commands.push(format!("{enter}tc qdisc add dev {device} handle ffff: ingress"));
        commands.push(format!(
            "{enter}tc filter add dev {device} parent ffff: matchall action mirred egress redirect dev ifb0"
        ));
        "ifb0"
    } else {
        device
    };
    let filters = filters(spec, direction);
    if filters.is_empty() {
        commands.push(format!("{enter}tc qdisc add dev {device} root netem {netem}"));
        return;
    }
    commands.push(format!(
        "{enter}tc qdisc add dev {device} root handle 1: prio bands 4 priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"
    ));
    commands.push(format!(
        "{enter}tc qdisc add dev {device} parent 1:4 handle 40: netem {netem}"
    ));
    for filter in filters.iter().take(SHOWN) {
        commands.push(filter.replace("$IFACE", device));
    }
    if filters.len() > SHOWN {
        commands.push(format!(
            "# … and {} more filters like these",
            filters.len() - SHOWN
        ));
    }
}

/// Which packets go to the netem band; none: all.
fn filters(spec: &FaultSpec, direction: Direction) -> Vec<String> {
    let traffic = &spec.traffic;
    if cgroup(&spec.target).is_some() {
        // The only classifier for a cgroup2 path is netfilter's, and it sits behind an ifb device.
        return match direction {
            Direction::Egress => super::iptables::classify(spec, "1:4"),
            _ => vec!["# no filter of tc knows which cgroup a packet that arrives is for".to_owned()],
        };
    }
    let remote = traffic.remote.as_ref();
    let local_ports = traffic.local.as_ref().map_or(&[][..], |local| &local.ports);
    let remote_ports = remote.map_or(&[][..], |remote| &remote.ports);
    let plain = remote.is_none()
        && local_ports.is_empty()
        && traffic.protocol == Protocol::Any
        && traffic.connections == Connections::Any;
    if plain {
        return Vec::new();
    }
    let enter = enter(&spec.target);
    let (remote_side, local_side) = if direction == Direction::Egress {
        ("dst", "src")
    } else {
        ("src", "dst")
    };
    let mut filters = Vec::new();
    for family in families(remote) {
        let ethertype = if family == Family::V4 { "ip" } else { "ipv6" };
        let add = format!("{enter}tc filter add dev $IFACE parent 1: protocol {ethertype}");
        for except in exceptions(remote, family) {
            filters.push(format!(
                "{add} prio 1 flower {remote_side}_ip {except} classid 1:1"
            ));
        }
        let protocol = match (traffic.protocol, family) {
            (Protocol::Any, _) if remote_ports.is_empty() && local_ports.is_empty() => String::new(),
            (Protocol::Any, _) => " ip_proto tcp".to_owned(),
            (Protocol::Icmp, Family::V6) => " ip_proto icmpv6".to_owned(),
            (protocol, _) => format!(" ip_proto {protocol}"),
        };
        let flags = match traffic.connections {
            Connections::Any => "",
            Connections::New => " tcp_flags 0x02/0x12",
            Connections::Established => " tcp_flags 0x10/0x10",
        };
        for address in or_any(
            remotes(remote, family)
                .into_iter()
                .map(|a| format!(" {remote_side}_ip {a}")),
        ) {
            for far in or_any(
                remote_ports
                    .iter()
                    .map(|range| format!(" {remote_side}_port {}", dashed(*range))),
            ) {
                for near in or_any(
                    local_ports
                        .iter()
                        .map(|range| format!(" {local_side}_port {}", dashed(*range))),
                ) {
                    filters.push(format!(
                        "{add} prio 2 flower{protocol}{flags}{address}{far}{near} classid 1:4"
                    ));
                    if filters.len() > 1000 {
                        return filters;
                    }
                }
            }
        }
    }
    filters
}

/// The clauses, or one empty clause when there are none.
fn or_any(clauses: impl Iterator<Item = String>) -> Vec<String> {
    let clauses: Vec<_> = clauses.collect();
    if clauses.is_empty() {
        vec![String::new()]
    } else {
        clauses
    }
}

fn dashed(range: PortRange) -> String {
    range.to_string()
}

//! The nearest iptables rules: for what netem cannot say (partition, reject, reset, every n-th).

use super::Equivalent;
use super::place::{Family, cgroup, directions, enter, exceptions, families, remotes};
use crate::{Connections, Direction, DropModel, FaultSpec, PortRange, Protocol, Reject, RejectWith};

pub(super) fn commands(spec: &FaultSpec) -> Option<Equivalent> {
    let actions = actions(spec);
    if actions.is_empty() {
        return None;
    }
    let mut commands = Vec::new();
    for direction in directions(&spec.traffic) {
        for family in families(spec.traffic.remote.as_ref()) {
            for action in &actions {
                commands.push(rule(spec, direction, family, action));
            }
        }
    }
    Some(Equivalent {
        tool: "iptables".to_owned(),
        commands,
    })
}

struct Action {
    /// The protocol that it is for, where it is not for all that match.
    only: Option<Protocol>,
    v4: String,
    v6: String,
}

impl Action {
    fn same(text: String) -> Self {
        Self {
            only: None,
            v4: text.clone(),
            v6: text,
        }
    }

    fn tcp_reset(chance: crate::Chance) -> Self {
        let text = format!("{}-j REJECT --reject-with tcp-reset", statistic(chance));
        Self {
            only: Some(Protocol::Tcp),
            ..Self::same(text)
        }
    }

    fn unreachable(chance: crate::Chance) -> Self {
        let statistic = statistic(chance);
        Self {
            only: None,
            v4: format!("{statistic}-j REJECT --reject-with icmp-port-unreachable"),
            v6: format!("{statistic}-j REJECT --reject-with icmp6-port-unreachable"),
        }
    }
}

fn actions(spec: &FaultSpec) -> Vec<Action> {
    let fault = &spec.fault;
    let mut actions = Vec::new();
    actions.extend(fault.partition.map(|_| Action::same("-j DROP".to_owned())));
    if let Some(reject) = &fault.reject {
        actions.extend(rejections(spec, reject));
    }
    actions.extend(fault.reset.as_ref().map(|reset| Action::tcp_reset(reset.chance)));
    if let Some(DropModel::Every(n)) = fault.drop.as_ref().and_then(crate::Drop::model) {
        actions.push(Action::same(format!(
            "-m statistic --mode nth --every {n} --packet 0 -j DROP"
        )));
    }
    actions
}

/// The reset is for TCP, and what is not TCP gets the ICMP message: two rules where both may come.
fn rejections(spec: &FaultSpec, reject: &Reject) -> Vec<Action> {
    let unreachable = Action::unreachable(reject.chance);
    if reject.with == RejectWith::Icmp {
        return vec![unreachable];
    }
    let mut actions = Vec::new();
    if spec.traffic.protocol.has_tcp() {
        actions.push(Action::tcp_reset(reject.chance));
    }
    let others = spec.traffic.protocol != Protocol::Tcp && spec.traffic.connections == Connections::Any;
    if others {
        // Ports need a protocol there, and the first rule has taken TCP.
        let only = (spec.traffic.protocol == Protocol::Any && has_ports(spec)).then_some(Protocol::Udp);
        // A second draw for TCP that the first rule spared would be one too many.
        let beside_tcp =
            spec.traffic.protocol == Protocol::Any && only.is_none() && !reject.chance.is_always();
        let but_tcp = if beside_tcp { "! -p tcp " } else { "" };
        actions.push(Action {
            only,
            v4: format!("{but_tcp}{}", unreachable.v4),
            v6: format!("{but_tcp}{}", unreachable.v6),
        });
    }
    actions
}

fn statistic(chance: crate::Chance) -> String {
    if chance.is_always() {
        return String::new();
    }
    format!("-m statistic --mode random --probability {} ", chance.as_ratio())
}

/// Rules that send what matches to a traffic class: how a netem band is narrowed to a cgroup.
pub(super) fn classify(spec: &FaultSpec, class: &str) -> Vec<String> {
    let action = Action::same(format!("-j CLASSIFY --set-class {class}"));
    let families = families(spec.traffic.remote.as_ref());
    let rules = families
        .into_iter()
        .map(|family| rule(spec, Direction::Egress, family, &action));
    rules
        .map(|rule| rule.replacen("tables -A", "tables -t mangle -A", 1))
        .collect()
}

fn rule(spec: &FaultSpec, direction: Direction, family: Family, action: &Action) -> String {
    let traffic = &spec.traffic;
    let egress = direction == Direction::Egress;
    let mut words: Vec<String> = Vec::new();
    let tool = if family == Family::V4 {
        "iptables"
    } else {
        "ip6tables"
    };
    words.push(format!(
        "{}{tool} -A {}",
        enter(&spec.target),
        if egress { "OUTPUT" } else { "INPUT" }
    ));
    words.extend(devices(spec, egress));
    words.extend(cgroup(&spec.target).map(|path| format!("-m cgroup --path {path}")));
    let protocol = match traffic.protocol {
        Protocol::Any if action.only.is_some() => action.only.map(Protocol::word),
        // Ports need a protocol there; the same rule with `-p udp` follows from this one.
        Protocol::Any if has_ports(spec) || traffic.connections != Connections::Any => Some("tcp"),
        Protocol::Any => None,
        Protocol::Icmp if family == Family::V6 => Some("icmpv6"),
        other => Some(other.word()),
    };
    words.extend(protocol.map(|protocol| format!("-p {protocol}")));
    match traffic.connections {
        Connections::Any => {}
        Connections::New => words.push("--syn".to_owned()),
        Connections::Established => words.push("! --syn".to_owned()),
    }
    let (remote_flag, local_flag) = if egress {
        ("-d", "--sports")
    } else {
        ("-s", "--dports")
    };
    let remote = traffic.remote.as_ref();
    let names = remotes(remote, family);
    let except = exceptions(remote, family);
    if !names.is_empty() {
        words.push(format!("{remote_flag} {}", names.join(",")));
    } else if let [one] = except.as_slice() {
        words.push(format!("! {remote_flag} {one}"));
    }
    let remote_ports = if egress { "--dports" } else { "--sports" };
    words.extend(ports(
        remote_ports,
        remote.map_or(&[][..], |remote| &remote.ports),
    ));
    words.extend(ports(
        local_flag,
        traffic.local.as_ref().map_or(&[][..], |local| &local.ports),
    ));
    words.push(if family == Family::V4 {
        action.v4.clone()
    } else {
        action.v6.clone()
    });
    let rule = words.join(" ");
    let said = except.is_empty() || (names.is_empty() && except.len() == 1);
    if said {
        return rule;
    }
    format!(
        "{rule}    # after `… {remote_flag} {} -j RETURN`",
        except.join(",")
    )
}

fn devices(spec: &FaultSpec, egress: bool) -> Option<String> {
    let devices = super::place::devices(&spec.target);
    let device = devices.first().filter(|device| *device != "$DEV")?;
    Some(format!("{} {device}", if egress { "-o" } else { "-i" }))
}

fn has_ports(spec: &FaultSpec) -> bool {
    spec.traffic.local.is_some()
        || spec
            .traffic
            .remote
            .as_ref()
            .is_some_and(|remote| !remote.ports.is_empty())
}

fn ports(flag: &str, ports: &[PortRange]) -> Option<String> {
    if ports.is_empty() {
        return None;
    }
    let listed: Vec<_> = ports
        .iter()
        .map(|range| {
            if range.first() == range.last() {
                range.first().to_string()
            } else {
                format!("{}:{}", range.first(), range.last())
            }
        })
        .collect();
    Some(format!("-m multiport {flag} {}", listed.join(",")))
}

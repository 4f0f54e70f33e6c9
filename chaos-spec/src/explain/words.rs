use std::fmt::Display;

use super::requests;
use super::summary::ordinal;
use crate::{
    Chance, Checksum, Connections, Delay, Direction, Distribution, DistributionTable, Drop, DropModel,
    DropSignal, FaultSpec, NetemCompat, Order, PortRange, Protocol, RejectWith, Remote, Reorder, Target,
    TargetKind,
};

/// Whose and which packets: `TCP that cgroup /a and everything below it sends to 10.0.0.0/8, port 5432`.
pub fn matching(spec: &FaultSpec) -> String {
    let traffic = &spec.traffic;
    let what = match traffic.protocol {
        Protocol::Any => "every packet",
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Icmp => "ICMP and ICMPv6",
    };
    let what = match traffic.connections {
        Connections::Any => what.to_owned(),
        Connections::New => format!("{what} (only the SYN and SYN-ACK segments that open a connection)"),
        Connections::Established => {
            format!("{what} (without the SYN and SYN-ACK segments that open a connection)")
        }
    };
    let (verb, preposition) = match traffic.direction {
        Direction::Egress => ("sends", "to"),
        Direction::Ingress => ("receives", "from"),
        Direction::Both => ("sends or receives", "to or from"),
    };
    let mut text = format!("{what} that {} {verb}", target(&spec.target));
    if let Some(local) = &traffic.local {
        text = format!("{text} on local {}", ports(&local.ports));
    }
    if let Some(remote) = &traffic.remote {
        text = format!("{text} {preposition} {}", remote_end(remote));
    }
    match traffic.flows {
        Some(flows) => format!("{text}, in {flows} of the flows"),
        None => text,
    }
}

fn target(target: &Target) -> String {
    let who = match &target.kind {
        TargetKind::Cgroup(path) => format!("cgroup {path} and everything below it"),
        TargetKind::Pid(pid) => format!("process {pid}"),
        TargetKind::Netns(netns) => format!("network namespace {netns}"),
        TargetKind::Container(id) => format!("container {id}"),
        TargetKind::Interface(interface) => match &interface.netns {
            Some(netns) => format!("interface {} in network namespace {netns}", interface.name),
            None => format!("interface {}", interface.name),
        },
        TargetKind::Host => "the host".to_owned(),
        TargetKind::Pods(pods) => format!("pods {} in namespace {}", pods.label_selector, pods.namespace),
    };
    if target.interfaces.is_empty() {
        who
    } else {
        format!("{who}, through {},", and(&target.interfaces))
    }
}

fn remote_end(remote: &Remote) -> String {
    let mut names: Vec<String> = remote.cidrs.iter().map(ToString::to_string).collect();
    names.extend(remote.hosts.iter().map(ToString::to_string));
    let mut text = if names.is_empty() {
        "anywhere".to_owned()
    } else {
        and(&names)
    };
    if !remote.except.is_empty() {
        text = format!("{text} but {}", and(&remote.except));
    }
    if remote.ports.is_empty() {
        text
    } else {
        format!("{text}, {}", ports(&remote.ports))
    }
}

fn ports(ports: &[PortRange]) -> String {
    let single = ports.len() == 1 && ports[0].first() == ports[0].last();
    format!("port{} {}", if single { "" } else { "s" }, and(ports))
}

/// `a, b and c`; long lists are cut.
pub(super) fn and<T: Display>(items: &[T]) -> String {
    const SHOWN: usize = 8;
    let mut shown: Vec<String> = items.iter().take(SHOWN).map(ToString::to_string).collect();
    if items.len() > SHOWN {
        shown.push(format!("{} more", items.len() - SHOWN));
    }
    match shown.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// What happens to the packets that match: one sentence part for each fault, in the order in which they act.
pub fn rules(spec: &FaultSpec) -> Vec<String> {
    let fault = &spec.fault;
    let mut rules = Vec::new();
    rules.extend(fault.partition.map(|_| "all are lost in silence".to_owned()));
    rules.extend(fault.reject.as_ref().map(|reject| match reject.with {
        RejectWith::Icmp => format!(
            "{} are lost, and their sender gets an ICMP port unreachable",
            reject.chance
        ),
        RejectWith::Reset => {
            format!(
                "{} are lost, and their sender gets a TCP reset (an ICMP port unreachable for what is not TCP)",
                reject.chance
            )
        }
    }));
    rules.extend(fault.reset.as_ref().map(|reset| {
        format!(
            "{} of the established TCP connections are reset at both ends",
            reset.chance
        )
    }));
    rules.extend(fault.drop.as_ref().map(drop));
    rules.extend(fault.duplicate.as_ref().map(|duplicate| {
        let runs = in_runs(duplicate.correlation, duplicate.compat);
        format!("{} arrive twice{runs}", duplicate.chance)
    }));
    rules.extend(fault.corrupt.as_ref().map(|corrupt| {
        let runs = in_runs(corrupt.correlation, corrupt.compat);
        match corrupt.checksum {
            Checksum::Fix => format!(
                "in {}{runs} one bit of the payload is flipped under a right checksum: the application reads it",
                corrupt.chance
            ),
            Checksum::Leave => format!(
                "in {}{runs} one bit is flipped under the old checksum: the receiver discards them",
                corrupt.chance
            ),
        }
    }));
    rules.extend(fault.delay.as_ref().map(delay));
    rules.extend(
        fault
            .reorder
            .as_ref()
            .map(|reorder| reordered(reorder, fault.delay.is_some())),
    );
    rules.extend(
        fault
            .bandwidth
            .as_ref()
            .map(|bandwidth| format!("no more than {} a second pass", bandwidth.rate)),
    );
    rules.extend(fault.http.as_ref().map(requests::http_rule));
    rules.extend(
        fault
            .dns
            .iter()
            .flat_map(|dns| requests::dns_rules(dns, &spec.traffic)),
    );
    rules
}

/// `, in runs (correlation 25%)`; nothing where each is drawn by itself.
fn in_runs(correlation: Option<Chance>, compat: Option<NetemCompat>) -> String {
    match correlation.filter(|share| !share.is_never()) {
        Some(share) => format!(", in runs (correlation {share}{})", like(compat)),
        None => String::new(),
    }
}

fn like(compat: Option<NetemCompat>) -> &'static str {
    match compat {
        Some(NetemCompat::Netem) => ", drawn as netem does",
        None => "",
    }
}

fn delay(delay: &Delay) -> String {
    let Some(jitter) = delay.jitter else {
        return format!("all come {} later, in their order", delay.latency);
    };
    let spread = match (&delay.distribution, delay.compat) {
        (Some(Distribution::Table(DistributionTable { file: Some(file), .. })), _) => format!("as in {file}"),
        (Some(Distribution::Table(table)), _) => {
            format!("as a table of {} offsets has it", table.table.len())
        }
        (Some(distribution), _) => distribution.word().to_owned(),
        (None, Some(NetemCompat::Netem)) => Distribution::Uniform.word().to_owned(),
        (None, None) => Distribution::Normal.word().to_owned(),
    };
    let correlation = match delay.correlation.filter(|share| !share.is_never()) {
        Some(share) => format!(", correlation {share}"),
        None => String::new(),
    };
    let order = match delay.order {
        Order::Keep => "a packet that would overtake one of its flow waits for it",
        Order::Free => "packets may overtake one another",
    };
    format!(
        "all come {} ± {jitter} later ({spread}{correlation}{}); {order}",
        delay.latency,
        like(delay.compat)
    )
}

fn reordered(reorder: &Reorder, others_wait: bool) -> String {
    let which = match reorder.gap {
        Some(gap) if gap > 1 => format!(
            "{} of those that come after {} that waited",
            reorder.chance,
            gap - 1
        ),
        _ => reorder.chance.to_string(),
    };
    let runs = in_runs(reorder.correlation, reorder.compat);
    if others_wait {
        format!("{which}{runs} do not wait, and so overtake others")
    } else {
        format!("{which}{runs} are held back for 10ms, and so overtaken by others")
    }
}

fn drop(drop: &Drop) -> String {
    let which = match drop.model() {
        Some(DropModel::Chance { chance, correlation }) if correlation.is_never() => {
            format!("{chance} are lost, each by itself")
        }
        Some(DropModel::Chance { chance, correlation }) => {
            format!("{chance} are lost{}", in_runs(Some(correlation), drop.compat))
        }
        Some(DropModel::Every(1)) => "every one is lost".to_owned(),
        Some(DropModel::Every(n)) => format!("every {} is lost", ordinal(n)),
        Some(DropModel::GilbertElliott(model)) => format!(
            "they are lost in bursts: a burst begins with {} and ends with {} a packet; delivered are {} inside and {} \
             outside",
            model.p, model.r, model.h, model.k
        ),
        None => "some are lost".to_owned(),
    };
    match drop.signal {
        DropSignal::None => format!("{which}, in silence"),
        DropSignal::Local => format!("{which}, and the sender is told as by a full queue of its own"),
    }
}

/// How the fault ends.
pub(super) fn ending(spec: &FaultSpec) -> String {
    let budget = match spec.safety.max_packets {
        Some(packets) => format!(", or after {packets} packets"),
        None => String::new(),
    };
    let flows = match spec.safety.max_flows {
        Some(1) => " It acts on the first flow that it meets, and on no other.".to_owned(),
        Some(flows) => format!(" It acts on the first {flows} flows that it meets, and on no other."),
        None => String::new(),
    };
    format!("It ends by itself after {}{budget}.{flows}", spec.duration)
}

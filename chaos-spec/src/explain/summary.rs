use std::fmt::Display;

use super::requests;
use crate::{
    Chance, Connections, Direction, Drop, DropModel, Fault, FaultSpec, NetemCompat, Protocol, RejectWith,
    Remote, Traffic,
};

/// One line for tables: `drop 30% · egress tcp → 10.0.0.0/8:5432`. The target is not in it.
pub fn summary(spec: &FaultSpec) -> String {
    format!("{} · {}", faults(&spec.fault), traffic(&spec.traffic))
}

fn faults(fault: &Fault) -> String {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(fault.partition.map(|_| "partition".to_owned()));
    parts.extend(fault.reject.as_ref().map(|reject| {
        let with = if reject.with == RejectWith::Reset {
            "reset"
        } else {
            "icmp"
        };
        format!("reject {} with {with}", reject.chance)
    }));
    parts.extend(
        fault
            .reset
            .as_ref()
            .map(|reset| format!("reset {}", reset.chance)),
    );
    parts.extend(fault.drop.as_ref().map(drop));
    parts.extend(fault.duplicate.as_ref().map(|duplicate| {
        format!(
            "duplicate {}{}",
            duplicate.chance,
            alike(duplicate.correlation, duplicate.compat)
        )
    }));
    parts.extend(fault.corrupt.as_ref().map(|corrupt| {
        format!(
            "corrupt {}{}",
            corrupt.chance,
            alike(corrupt.correlation, corrupt.compat)
        )
    }));
    parts.extend(fault.delay.as_ref().map(|delay| match delay.jitter {
        Some(jitter) => format!("delay {} ± {jitter}{}", delay.latency, alike(None, delay.compat)),
        None => format!("delay {}", delay.latency),
    }));
    parts.extend(fault.reorder.as_ref().map(|reorder| {
        format!(
            "reorder {}{}",
            reorder.chance,
            alike(reorder.correlation, reorder.compat)
        )
    }));
    parts.extend(
        fault
            .bandwidth
            .as_ref()
            .map(|bandwidth| format!("bandwidth {}", bandwidth.rate)),
    );
    parts.extend(fault.http.as_ref().map(requests::http_summary));
    parts.extend(fault.dns.as_ref().map(requests::dns_summary));
    if parts.is_empty() {
        "nothing".to_owned()
    } else {
        parts.join(" + ")
    }
}

fn drop(drop: &Drop) -> String {
    match drop.model() {
        Some(DropModel::Chance { chance, correlation }) => {
            format!("drop {chance}{}", alike(Some(correlation), drop.compat))
        }
        Some(DropModel::Every(n)) => format!("drop every {}", ordinal(n)),
        Some(DropModel::GilbertElliott(model)) => format!("drop in bursts (p {}, r {})", model.p, model.r),
        None => "drop".to_owned(),
    }
}

/// ` (correlation 25%, as netem)`; nothing where nothing is correlated.
fn alike(correlation: Option<Chance>, compat: Option<NetemCompat>) -> String {
    let mut words = Vec::new();
    words.extend(
        correlation
            .filter(|share| !share.is_never())
            .map(|share| format!("correlation {share}")),
    );
    words.extend(compat.map(|NetemCompat::Netem| "as netem".to_owned()));
    if words.is_empty() {
        String::new()
    } else {
        format!(" ({})", words.join(", "))
    }
}

/// `1st`, `2nd`, `3rd`, `4th`, `11th`.
pub(super) fn ordinal(n: u32) -> String {
    let ending = match (n % 100, n % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{n}{ending}")
}

fn traffic(traffic: &Traffic) -> String {
    let mut text = traffic.direction.to_string();
    if traffic.protocol != Protocol::Any {
        text = format!("{text} {}", traffic.protocol);
    }
    if let Some(local) = &traffic.local {
        text = format!("{text} local :{}", few(&local.ports));
    }
    if let Some(remote) = &traffic.remote {
        let arrow = match traffic.direction {
            Direction::Egress => "→",
            Direction::Ingress => "←",
            Direction::Both => "↔",
        };
        text = format!("{text} {arrow} {}", remote_end(remote));
    }
    if traffic.connections != Connections::Any {
        text = format!("{text} · {} connections", traffic.connections);
    }
    if let Some(flows) = traffic.flows {
        text = format!("{text} · {flows} of flows");
    }
    text
}

fn remote_end(remote: &Remote) -> String {
    let mut names: Vec<String> = remote.cidrs.iter().map(ToString::to_string).collect();
    names.extend(remote.hosts.iter().map(ToString::to_string));
    let mut text = if names.is_empty() {
        "*".to_owned()
    } else {
        few(&names)
    };
    if !remote.ports.is_empty() {
        // A bare IPv6 address would run into the colon.
        if names.len() == 1 && text.contains(':') {
            text = format!("[{text}]");
        }
        text = format!("{text}:{}", few(&remote.ports));
    }
    if remote.except.is_empty() {
        text
    } else {
        format!("{text} except {}", few(&remote.except))
    }
}

/// The first two, and how many more.
pub(super) fn few<T: Display>(items: &[T]) -> String {
    const SHOWN: usize = 2;
    let shown: Vec<_> = items.iter().take(SHOWN).map(ToString::to_string).collect();
    let shown = shown.join(",");
    match items.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown},+{more}"),
    }
}

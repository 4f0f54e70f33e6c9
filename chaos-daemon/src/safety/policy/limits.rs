//! What can be told from the fault alone: how much, how long, when, which kinds, which ports.

use chaos_spec::policy::{LocatedPolicy, TargetWord};
use chaos_spec::{Chance, FaultSpec, PortRange, Protocol};
use jiff::{SignedDuration, Timestamp};

use super::{Findings, Violation, chance, dotted};

/// Everything that the policy does not allow of this fault, whatever its target turns out to be.
pub fn check_spec(policy: &LocatedPolicy, spec: &FaultSpec, now: Timestamp) -> Vec<Violation> {
    let mut findings = Findings::new(policy);
    amounts(&mut findings, spec);
    kinds(&mut findings, spec);
    ports(&mut findings, spec);
    windows(&mut findings, spec, now);
    unguarded(&mut findings, spec);
    findings.found
}

fn amounts(findings: &mut Findings<'_>, spec: &FaultSpec) {
    let limits = findings.policy.policy.limits.clone();
    if let Some(most) = limits.duration
        && spec.duration > most
    {
        let message = format!("{} is longer than the {most} that are allowed", spec.duration);
        findings.add(
            "spec.duration",
            dotted("limits.duration"),
            message,
            format!("write at most `{most}`"),
        );
    }
    if let Some(most) = limits.flow_share {
        let asked = spec.traffic.flows.unwrap_or(Chance::ALWAYS);
        if asked > most {
            let message = format!("{asked} of the flows are more than the {most} that are allowed");
            let remedy = format!("write `flows: {most}` or less");
            findings.add("spec.traffic.flows", dotted("limits.flowShare"), message, remedy);
        }
    }
    let safety = &spec.safety;
    for (most, asked, field, rule, what) in [
        (
            limits.packets,
            safety.max_packets,
            "maxPackets",
            "packets",
            "packets",
        ),
        (limits.flows, safety.max_flows, "maxFlows", "flows", "flows"),
    ] {
        let Some(most) = most else { continue };
        if asked.is_none_or(|asked| asked > most) {
            let message = match asked {
                Some(asked) => format!("{asked} {what} are more than the {most} that are allowed"),
                None => format!("it has no budget of {what}, and {most} are allowed"),
            };
            let remedy = format!("write `safety: {{{field}: {most}}}` or less");
            let rule = dotted("limits").field(rule);
            findings.add(&format!("spec.safety.{field}"), rule, message, remedy);
        }
    }
    if let (Some(most), Some(delay)) = (limits.delay, &spec.fault.delay) {
        let asked = delay.latency.as_std().saturating_add(
            delay
                .jitter
                .map_or_else(Default::default, |jitter| jitter.as_std()),
        );
        let asked = chaos_spec::Duration::from(asked);
        if asked > most {
            let message = format!("latency and jitter are {asked}, more than the {most} that are allowed");
            findings.add(
                "spec.fault.delay",
                dotted("limits.delay"),
                message,
                format!("write at most `{most}`"),
            );
        }
    }
    let fault = &spec.fault;
    let waits = [
        (
            "spec.fault.http.delay",
            fault.http.as_ref().and_then(|http| http.delay),
        ),
        (
            "spec.fault.dns.delay",
            fault.dns.as_ref().and_then(|dns| dns.delay),
        ),
    ];
    for (path, asked) in waits {
        if let (Some(most), Some(asked)) = (limits.delay, asked)
            && asked > most
        {
            let message = format!("{asked} is more than the {most} that are allowed");
            let remedy = format!("write at most `{most}`");
            findings.add(path, dotted("limits.delay"), message, remedy);
        }
    }
    if let (Some(least), Some(bandwidth)) = (limits.least_rate, &spec.fault.bandwidth)
        && bandwidth.rate < least
    {
        let message = format!("{} is less than the {least} that must remain", bandwidth.rate);
        let remedy = format!("write at least `{least}`");
        findings.add(
            "spec.fault.bandwidth.rate",
            dotted("limits.leastRate"),
            message,
            remedy,
        );
    }
}

fn kinds(findings: &mut Findings<'_>, spec: &FaultSpec) {
    let policy = findings.policy.policy.clone();
    for kind in spec.fault.kinds() {
        let field = format!("spec.fault.{kind}");
        if let Some(most) = policy.limits.chance.get(&kind) {
            let asked = chance::of(&spec.fault, kind);
            // Shares that are written the same compare as the same.
            if asked > most.as_ratio() + 1e-12 {
                let rule = dotted("limits.chance").field(kind.word());
                let (message, remedy) = if most.is_never() {
                    (format!("`{kind}` is not allowed"), "leave it out".to_owned())
                } else {
                    let percent = (asked * 1e5).round() / 1e3;
                    let message = format!("it acts on {percent}% of the packets, and {most} are allowed");
                    (message, format!("write at most {most}"))
                };
                findings.add(&field, rule, message, remedy);
            }
        }
        if let Some(index) = policy.deny.faults.iter().position(|denied| *denied == kind) {
            let rule = dotted("deny.faults").index(index);
            findings.add(
                &field,
                rule,
                format!("`{kind}` is denied"),
                "leave it out".to_owned(),
            );
        }
        if !policy.allow.faults.is_empty() && !policy.allow.faults.contains(&kind) {
            let allowed: Vec<_> = policy.allow.faults.iter().map(|kind| kind.word()).collect();
            let remedy = format!("write {}", allowed.join(" or "));
            findings.add(
                &field,
                dotted("allow.faults"),
                format!("`{kind}` is not among what is allowed"),
                remedy,
            );
        }
    }
    let word = TargetWord::of(&spec.target.kind);
    if let Some(index) = policy.deny.targets.iter().position(|denied| *denied == word) {
        let rule = dotted("deny.targets").index(index);
        let message = format!("targets of the kind `{word}` are denied");
        findings.add(
            "spec.target",
            rule,
            message,
            "aim at something narrower".to_owned(),
        );
    }
    if !policy.allow.targets.is_empty() && !policy.allow.targets.contains(&word) {
        let allowed: Vec<_> = policy.allow.targets.iter().map(|word| word.word()).collect();
        let message = format!("targets of the kind `{word}` are not among what is allowed");
        let remedy = format!("aim at a {}", allowed.join(" or a "));
        findings.add("spec.target", dotted("allow.targets"), message, remedy);
    }
}

/// Ports that the fault names. One that names none is not refused for denied ones.
fn ports(findings: &mut Findings<'_>, spec: &FaultSpec) {
    let policy = findings.policy.policy.clone();
    let traffic = &spec.traffic;
    let remote = traffic.remote.as_ref().map_or(&[][..], |remote| &remote.ports);
    let local = traffic.local.as_ref().map_or(&[][..], |local| &local.ports);
    let ends = [
        ("spec.traffic.remote.ports", remote),
        ("spec.traffic.local.ports", local),
    ];
    for (field, named) in ends {
        for (index, denied) in policy.deny.ports.iter().enumerate() {
            if let Some(asked) = named.iter().find(|asked| overlap(**asked, *denied)) {
                let rule = dotted("deny.ports").index(index);
                let message = format!("{asked} lies in the denied {denied}");
                findings.add(field, rule, message, "name other ports".to_owned());
            }
        }
    }
    let allowed = &policy.allow.ports;
    if allowed.is_empty() || traffic.protocol == Protocol::Icmp {
        return;
    }
    let list: Vec<_> = allowed.iter().map(ToString::to_string).collect();
    let remedy = format!("name ports out of {}", list.join(", "));
    let within = |asked: &PortRange| {
        asked
            .ports()
            .all(|port| allowed.iter().any(|allowed| allowed.contains(port)))
    };
    if remote.is_empty() && local.is_empty() {
        let message = "it names no ports, and only some are allowed".to_owned();
        findings.add("spec.traffic", dotted("allow.ports"), message, remedy);
        return;
    }
    // Either end is enough to tell the service: the other one has whatever port it was given.
    if !ends
        .iter()
        .any(|(_, named)| !named.is_empty() && named.iter().all(within))
    {
        let named = remote
            .iter()
            .chain(local)
            .map(ToString::to_string)
            .collect::<Vec<_>>();
        let message = format!("{} are not all among the allowed ports", named.join(", "));
        let field = if remote.is_empty() { ends[1].0 } else { ends[0].0 };
        findings.add(field, dotted("allow.ports"), message, remedy);
    }
}

fn overlap(one: PortRange, other: PortRange) -> bool {
    one.first() <= other.last() && other.first() <= one.last()
}

fn windows(findings: &mut Findings<'_>, spec: &FaultSpec, now: Timestamp) {
    let windows = findings.policy.policy.windows.clone();
    if windows.is_empty() {
        return;
    }
    let rule = dotted("windows");
    let list: Vec<_> = windows.iter().map(ToString::to_string).collect();
    let Some(left) = windows.iter().filter_map(|window| window.left(now)).max() else {
        let remedy = format!("come back in one of: {}", list.join("; "));
        findings.add("spec", rule, format!("at {now} no window is open"), remedy);
        return;
    };
    let asked = SignedDuration::try_from(spec.duration.as_std()).unwrap_or(SignedDuration::MAX);
    if asked > left {
        let left = chaos_spec::Duration::from_secs(left.as_secs().unsigned_abs());
        let message = format!("{} is longer than the window is open ({left})", spec.duration);
        findings.add("spec.duration", rule, message, format!("write at most `{left}`"));
    }
}

fn unguarded(findings: &mut Findings<'_>, spec: &FaultSpec) {
    let policy = findings.policy.policy.clone();
    for name in &spec.safety.unguard {
        if let Some(index) = policy.deny.unguard.iter().position(|denied| denied == name) {
            let rule = dotted("deny.unguard").index(index);
            let message = format!("the guard `{name}` may not be lifted");
            findings.add("spec.safety.unguard", rule, message, "leave it out".to_owned());
        } else if !policy.allow.unguard.is_empty() && !policy.allow.unguard.contains(name) {
            let message = format!("`{name}` is not among the guards that may be lifted");
            findings.add(
                "spec.safety.unguard",
                dotted("allow.unguard"),
                message,
                "leave it out".to_owned(),
            );
        }
    }
}

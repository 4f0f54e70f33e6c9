use super::recurrence;
use crate::{
    Chance, Delay, Direction, Distribution, DropModel, Fault, FaultKind, FaultSpec, NetemCompat, Protocol,
    TargetKind, WarningKind,
};

/// What the spec alone gives reason to warn about; the daemon adds what it finds on its host.
pub fn advice(spec: &FaultSpec) -> Vec<WarningKind> {
    let mut warnings = Vec::new();
    if spec.target.kind == TargetKind::Host {
        warnings.push(WarningKind::HostTarget);
    }
    if !spec.safety.unguard.is_empty() {
        warnings.push(WarningKind::Unguarded {
            names: spec.safety.unguard.clone(),
        });
    }
    let icmp_may_arrive = spec.traffic.direction != Direction::Egress
        && matches!(spec.traffic.protocol, Protocol::Any | Protocol::Icmp);
    let has_ports = spec.traffic.local.is_some()
        || spec
            .traffic
            .remote
            .as_ref()
            .is_some_and(|remote| !remote.ports.is_empty());
    if matches!(spec.target.kind, TargetKind::Cgroup(_)) && icmp_may_arrive && !has_ports {
        warnings.push(WarningKind::IcmpIngressNotAttributable);
    }
    if spec.fault.reset.is_some() && spec.traffic.protocol == Protocol::Any {
        warnings.push(WarningKind::OnlyTcpIsReset {
            fault: "reset".to_owned(),
        });
    }
    warnings.extend(
        spec.fault
            .http
            .as_ref()
            .and_then(|http| http.warns(&spec.traffic)),
    );
    warnings.extend(never_acts(spec).map(|what| WarningKind::NeverActs {
        what: what.to_owned(),
    }));
    warnings.extend(
        netem(&spec.fault)
            .into_iter()
            .map(|what| WarningKind::NetemCompat { what }),
    );
    warnings
}

/// What netem's arithmetic costs, where it was asked for and does cost something.
fn netem(fault: &Fault) -> Vec<String> {
    let mut costs = Vec::new();
    let mut share = |kind: FaultKind, verb: &str, chance, correlation, compat: Option<NetemCompat>| {
        if let (Some(chance), Some(correlation), Some(NetemCompat::Netem)) = (chance, correlation, compat) {
            costs.extend(share_of(kind, verb, chance, correlation));
        }
    };
    if let Some(drop) = &fault.drop {
        share(
            FaultKind::Drop,
            "loses",
            drop.chance,
            drop.correlation,
            drop.compat,
        );
    }
    if let Some(copy) = &fault.duplicate {
        share(
            FaultKind::Duplicate,
            "doubles",
            Some(copy.chance),
            copy.correlation,
            copy.compat,
        );
    }
    if let Some(flip) = &fault.corrupt {
        share(
            FaultKind::Corrupt,
            "hits",
            Some(flip.chance),
            flip.correlation,
            flip.compat,
        );
    }
    if let Some(reorder) = &fault.reorder {
        share(
            FaultKind::Reorder,
            "lets overtake",
            Some(reorder.chance),
            reorder.correlation,
            reorder.compat,
        );
    }
    costs.extend(
        fault
            .delay
            .as_ref()
            .filter(|delay| delay.compat.is_some())
            .and_then(jitter),
    );
    costs
}

fn share_of(kind: FaultKind, verb: &str, chance: Chance, correlation: Chance) -> Option<String> {
    if correlation.is_never() {
        return None;
    }
    let share = recurrence::percent(recurrence::share(chance, correlation));
    Some(format!(
        "`{kind}` of {chance} with a correlation of {correlation} {verb} {share}"
    ))
}

fn jitter(delay: &Delay) -> Option<String> {
    let long = matches!(
        delay.distribution,
        Some(Distribution::Pareto | Distribution::ParetoNormal)
    );
    let lost = delay
        .correlation
        .filter(|correlation| !correlation.is_never())
        .map(|correlation| format!("the correlation of {correlation} between delays is lost"));
    let cut = long.then(|| "the long tail is cut off at four jitters".to_owned());
    let costs: Vec<String> = [lost, cut].into_iter().flatten().collect();
    (!costs.is_empty()).then(|| costs.join(", and "))
}

fn never_acts(spec: &FaultSpec) -> Option<&'static str> {
    let fault = &spec.fault;
    if spec.traffic.flows.is_some_and(crate::Chance::is_never) {
        return Some("`flows` is 0%");
    }
    let mut chances = Vec::new();
    chances.extend(fault.partition.map(|_| false));
    chances.extend(fault.reject.as_ref().map(|reject| reject.chance.is_never()));
    chances.extend(fault.reset.as_ref().map(|reset| reset.chance.is_never()));
    chances.extend(
        fault
            .duplicate
            .as_ref()
            .map(|duplicate| duplicate.chance.is_never()),
    );
    chances.extend(fault.corrupt.as_ref().map(|corrupt| corrupt.chance.is_never()));
    chances.extend(fault.drop.as_ref().map(|drop| match drop.model() {
        Some(DropModel::Chance { chance, .. }) => chance.is_never(),
        Some(DropModel::GilbertElliott(model)) => {
            model.k.is_always() && (model.p.is_never() || model.h.is_always())
        }
        _ => false,
    }));
    chances.extend(fault.http.as_ref().map(|http| http.chance.is_never()));
    chances.extend(fault.dns.as_ref().map(|dns| dns.chance.is_never()));
    let others = [fault.delay.is_some(), fault.bandwidth.is_some()];
    let never = !chances.is_empty() && chances.iter().all(|never| *never) && !others.contains(&true);
    never.then_some("the chance is 0%")
}

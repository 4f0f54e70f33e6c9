use crate::{Direction, DropModel, FaultSpec, Protocol, TargetKind, WarningKind};

/// What the spec alone gives reason to warn about; the daemon adds what it finds on its host.
pub fn advice(spec: &FaultSpec) -> Vec<WarningKind> {
    let mut warnings = Vec::new();
    if spec.target.kind == TargetKind::Host {
        warnings.push(WarningKind::HostTarget);
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
    warnings.extend(never_acts(spec).map(|what| WarningKind::NeverActs {
        what: what.to_owned(),
    }));
    warnings
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
    let others = [
        fault.delay.is_some(),
        fault.bandwidth.is_some(),
        fault.http.is_some(),
        fault.dns.is_some(),
    ];
    let never = !chances.is_empty() && chances.iter().all(|never| *never) && !others.contains(&true);
    never.then_some("the chance is 0%")
}

use super::{Errors, line};
use crate::path::SpecPath;
use crate::{Direction, Drop, DropSignal, FaultKind, FaultSpec, Protocol};

pub(super) fn check(spec: &FaultSpec, errors: &mut Errors) {
    let kinds = spec.fault.kinds();
    if kinds.is_empty() {
        errors.add(
            "spec.fault",
            "no fault is named",
            "write at least one, such as `drop: {chance: 30%}` or `partition: {}`",
        );
    }
    check_left_over(spec, &kinds, errors);
    check_tcp(spec, errors);
    if let Some(drop) = &spec.fault.drop {
        check_drop(drop, spec.traffic.direction, errors);
    }
    line::check(&spec.fault, errors);
}

/// What comes after a fault that lets nothing through never sees a packet.
fn check_left_over(spec: &FaultSpec, kinds: &[FaultKind], errors: &mut Errors) {
    let rejects_all = spec
        .fault
        .reject
        .as_ref()
        .is_some_and(|reject| reject.chance.is_always());
    let (swallows, why) = if spec.fault.partition.is_some() {
        (FaultKind::Partition, "`partition` loses every packet")
    } else if rejects_all {
        (FaultKind::Reject, "`reject` answers every packet")
    } else {
        return;
    };
    for later in kinds.iter().filter(|kind| **kind > swallows) {
        let path = SpecPath::of("spec.fault").field(later.word());
        let message = format!("{why} before `{later}` sees one");
        errors.at(path, message, format!("keep either `{swallows}` or `{later}`"));
    }
}

fn check_tcp(spec: &FaultSpec, errors: &mut Errors) {
    let protocol = spec.traffic.protocol;
    if protocol.has_tcp() {
        return;
    }
    let name = if protocol == Protocol::Udp { "UDP" } else { "ICMP" };
    if spec.fault.reset.is_some() {
        let message = format!("{name} has no connections to reset");
        errors.add(
            "spec.fault.reset",
            message,
            "write `protocol: tcp`, or `reject` or `drop`",
        );
    }
}

fn check_drop(drop: &Drop, direction: Direction, errors: &mut Errors) {
    const FIELD: &str = "spec.fault.drop";
    let mut models = Vec::new();
    models.extend(drop.chance.map(|_| "`chance`"));
    models.extend(drop.every.map(|_| "`every`"));
    models.extend(drop.gilbert_elliott.map(|_| "`gilbertElliott`"));
    match models.len() {
        0 => errors.add(
            FIELD,
            "it does not say which packets",
            "write `chance: 30%`, `every: 5` or `gilbertElliott: {p: 1%, r: 10%}`",
        ),
        1 => {}
        _ => {
            let message = format!("{} are given together", models.join(" and "));
            errors.add(FIELD, message, "keep exactly one of them");
        }
    }
    if drop.every == Some(0) {
        errors.add(
            "spec.fault.drop.every",
            "there is no 0th packet",
            "write 1 for every packet, 5 for every fifth",
        );
    }
    if let Some(correlation) = drop.correlation {
        if drop.chance.is_none() {
            let remedy = "leave it out; `gilbertElliott` makes bursts by itself";
            errors.add(
                "spec.fault.drop.correlation",
                "it goes with `chance` only",
                remedy,
            );
        } else if correlation.is_always() {
            let message = "with 100% the first packet decides over all others";
            errors.add("spec.fault.drop.correlation", message, "write less than 100%");
        }
    }
    if drop.signal == DropSignal::Local && direction == Direction::Ingress {
        let message = "nobody on this side sent what arrives, so nobody can be told";
        errors.add(
            "spec.fault.drop.signal",
            message,
            "leave it out, or write `direction: egress`",
        );
    }
}

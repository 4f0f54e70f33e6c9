use super::{Errors, dns, http, line};
use crate::path::SpecPath;
use crate::{Chance, Checksum, Direction, Drop, DropSignal, Fault, FaultKind, FaultSpec, Protocol};

pub(super) fn check(spec: &FaultSpec, errors: &mut Errors) {
    let kinds = spec.fault.kinds();
    if kinds.is_empty() {
        errors.add(
            "spec.fault",
            "no fault is named",
            "write at least one, such as `drop: {chance: 30%}` or `partition: {}`",
        );
    }
    check_alone(&kinds, errors);
    check_left_over(spec, &kinds, errors);
    check_tcp(spec, errors);
    if let Some(drop) = &spec.fault.drop {
        check_drop(drop, spec.traffic.direction, errors);
        check_signal(drop, &spec.fault, errors);
    }
    line::check(&spec.fault, errors);
    http::check(spec, errors);
    dns::check(spec, errors);
    check_correlations(&spec.fault, errors);
}

/// On the line nobody can tell the sender any more.
fn check_signal(drop: &Drop, fault: &Fault, errors: &mut Errors) {
    let runs = |correlation: Option<Chance>| correlation.is_some_and(|share| !share.is_never());
    let lined = [
        fault.delay.as_ref().map(|_| FaultKind::Delay),
        fault.reorder.as_ref().map(|_| FaultKind::Reorder),
        fault.bandwidth.as_ref().map(|_| FaultKind::Bandwidth),
        fault
            .duplicate
            .as_ref()
            .filter(|copy| runs(copy.correlation))
            .map(|_| FaultKind::Duplicate),
        fault
            .corrupt
            .as_ref()
            .filter(|flip| flip.checksum == Checksum::Leave || runs(flip.correlation))
            .map(|_| FaultKind::Corrupt),
    ];
    if drop.signal == DropSignal::Local
        && let Some(kind) = lined.into_iter().flatten().next()
    {
        let message = format!("`{kind}` takes packets away from their sender before they are lost");
        let remedy = format!("leave it out, or make `{kind}` a fault of its own, created after this one");
        errors.add("spec.fault.drop.signal", message, remedy);
    }
}

/// With a certain resemblance nothing would ever be drawn again.
fn check_correlations(fault: &Fault, errors: &mut Errors) {
    let of = |kind: FaultKind, correlation: Option<Chance>| correlation.map(|share| (kind, share));
    let asked = [
        of(
            FaultKind::Drop,
            fault.drop.as_ref().and_then(|drop| drop.correlation),
        ),
        of(
            FaultKind::Duplicate,
            fault.duplicate.as_ref().and_then(|copy| copy.correlation),
        ),
        of(
            FaultKind::Corrupt,
            fault.corrupt.as_ref().and_then(|flip| flip.correlation),
        ),
        of(
            FaultKind::Delay,
            fault.delay.as_ref().and_then(|delay| delay.correlation),
        ),
        of(
            FaultKind::Reorder,
            fault.reorder.as_ref().and_then(|reorder| reorder.correlation),
        ),
    ];
    for (kind, correlation) in asked.into_iter().flatten() {
        if correlation.is_always() {
            errors.at(
                SpecPath::of("spec.fault").field(kind.word()).field("correlation"),
                "with 100% the first packet decides over all others",
                "write less than 100%",
            );
        }
    }
}

/// These look at what a packet says, and take whole requests and look-ups: they have no place in the order of the others.
const ALONE: [FaultKind; 2] = [FaultKind::Http, FaultKind::Dns];

fn check_alone(kinds: &[FaultKind], errors: &mut Errors) {
    for kind in kinds.iter().filter(|kind| ALONE.contains(kind)) {
        if let Some(other) = kinds.iter().find(|other| *other != kind) {
            let path = SpecPath::of("spec.fault").field(kind.word());
            let message = format!("`{kind}` stands alone, and `{other}` is written beside it");
            errors.at(path, message, "make it a fault of its own");
        }
    }
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
    for later in kinds
        .iter()
        .filter(|kind| **kind > swallows && !ALONE.contains(kind))
    {
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
    if drop.correlation.is_some() && drop.chance.is_none() {
        errors.add(
            "spec.fault.drop.correlation",
            "it goes with `chance` only",
            "leave it out; `gilbertElliott` makes bursts by itself",
        );
    }
    if drop.compat.is_some() && drop.chance.is_none() {
        let (message, remedy) = if drop.every.is_some() {
            ("netem cannot lose every n-th packet", "leave it out")
        } else {
            (
                "netem's `gemodel` is this model: there is nothing to imitate",
                "leave it out",
            )
        };
        errors.add("spec.fault.drop.compat", message, remedy);
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

//! How likely a fault is to hit a packet, for comparing with a limit.

use chaos_spec::{DropModel, Fault, FaultKind, GilbertElliott};

/// The share of packets, 0.0 to 1.0, that this kind of the fault acts on. What does not throw dice acts on all.
pub(super) fn of(fault: &Fault, kind: FaultKind) -> f64 {
    let chance = match kind {
        FaultKind::Partition | FaultKind::Delay | FaultKind::Bandwidth => None,
        FaultKind::Reject => fault.reject.as_ref().map(|reject| reject.chance),
        FaultKind::Reset => fault.reset.as_ref().map(|reset| reset.chance),
        FaultKind::Duplicate => fault.duplicate.as_ref().map(|duplicate| duplicate.chance),
        FaultKind::Corrupt => fault.corrupt.as_ref().map(|corrupt| corrupt.chance),
        FaultKind::Reorder => fault.reorder.as_ref().map(|reorder| reorder.chance),
        FaultKind::Http => fault.http.as_ref().map(|http| http.chance),
        FaultKind::Dns => fault.dns.as_ref().map(|dns| dns.chance),
        FaultKind::Drop => {
            return fault
                .drop
                .as_ref()
                .and_then(|drop| drop.model())
                .map_or(1.0, loss);
        }
    };
    chance.map_or(1.0, |chance| chance.as_ratio())
}

/// In the long run.
fn loss(model: DropModel) -> f64 {
    match model {
        DropModel::Chance { chance, .. } => chance.as_ratio(),
        DropModel::Every(n) => 1.0 / f64::from(n.max(1)),
        DropModel::GilbertElliott(GilbertElliott { p, r, h, k }) => {
            let (good, bad) = (k.complement().as_ratio(), h.complement().as_ratio());
            let (p, r) = (p.as_ratio(), r.as_ratio());
            if p + r == 0.0 {
                // Never leaves the state it begins in, which may be either.
                return good.max(bad);
            }
            let in_bad = p / (p + r);
            in_bad * bad + (1.0 - in_bad) * good
        }
    }
}

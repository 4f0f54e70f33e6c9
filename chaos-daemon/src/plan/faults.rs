//! The fault itself: thresholds and models.

use chaos_ebpf_common::{
    abi::{Loss, Rule, fault, flags, loss},
    loss::{as_netem, correlated},
    rng::CERTAIN,
};
use chaos_spec::{Chance, Drop, DropModel, DropSignal, Fault, NetemCompat, RejectWith};

/// Writes every fault that is named.
pub(super) fn write(spec: &Fault, rule: &mut Rule) {
    if spec.partition.is_some() {
        rule.faults |= fault::PARTITION;
    }
    if let Some(reject) = &spec.reject {
        rule.faults |= fault::REJECT;
        rule.reject = reject.chance.threshold();
        if matches!(reject.with, RejectWith::Icmp) {
            rule.flags |= flags::REJECT_ICMP;
        }
    }
    if let Some(reset) = &spec.reset {
        rule.faults |= fault::RESET;
        rule.reset = reset.chance.threshold();
    }
    if let Some(drop) = &spec.drop {
        rule.drop = model(drop);
        // What loses everything needs no dice.
        let certain = rule.drop.model == loss::CHANCE && rule.drop.chance >= CERTAIN;
        rule.faults |= if certain { fault::PARTITION } else { fault::DROP };
        if matches!(drop.signal, DropSignal::Local) {
            rule.flags |= flags::SIGNAL_LOCAL;
        }
    }
    if let Some(duplicate) = &spec.duplicate {
        rule.faults |= fault::DUPLICATE;
        rule.duplicate = duplicate.chance.threshold();
    }
    if let Some(corrupt) = &spec.corrupt {
        rule.faults |= fault::CORRUPT;
        rule.corrupt = corrupt.chance.threshold();
    }
}

fn model(drop: &Drop) -> Loss {
    let complement = |chance: Chance| CERTAIN - chance.threshold();
    match drop.model() {
        Some(DropModel::Chance { chance, correlation }) if !correlation.is_never() => match drop.compat {
            Some(NetemCompat::Netem) => as_netem(chance.threshold(), correlation.threshold()),
            None => correlated(chance.threshold(), correlation.threshold()),
        },
        Some(DropModel::Chance { chance, .. }) => Loss {
            chance: chance.threshold(),
            ..Loss::default()
        },
        Some(DropModel::Every(every)) => Loss {
            every,
            model: loss::EVERY,
            ..Loss::default()
        },
        Some(DropModel::GilbertElliott(ge)) => Loss {
            chance: ge.p.threshold(),
            leave: ge.r.threshold(),
            bad: complement(ge.h),
            good: complement(ge.k),
            model: loss::GILBERT_ELLIOTT,
            ..Loss::default()
        },
        // Validation lets exactly one model through; nothing is the harmless reading of anything else.
        None => Loss::default(),
    }
}

/// Whether XDP can carry the fault out: it can lose packets, not answer, copy or change them.
pub fn xdp_can_do(spec: &Fault) -> bool {
    let mut rule = Rule::default();
    write(spec, &mut rule);
    let only_loses = rule.faults & !(fault::PARTITION | fault::DROP) == 0;
    let waits = spec.delay.is_some() || spec.reorder.is_some() || spec.bandwidth.is_some();
    let looks = spec.http.is_some() || spec.dns.is_some();
    only_loses && !waits && !looks && rule.flags & flags::SIGNAL_LOCAL == 0
}

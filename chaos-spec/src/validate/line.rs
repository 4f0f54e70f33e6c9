//! `delay`, `reorder`, `bandwidth`.

use super::Errors;
use crate::path::SpecPath;
use crate::{Bandwidth, Delay, Distribution, DistributionTable, Duration, Fault};

/// Packets that wait are kept in memory.
pub(super) const LONGEST: Duration = Duration::from_secs(3600);

pub(super) fn check(fault: &Fault, errors: &mut Errors) {
    if let Some(delay) = &fault.delay {
        check_delay(delay, errors);
    }
    if fault
        .reorder
        .as_ref()
        .is_some_and(|reorder| reorder.gap == Some(0))
    {
        errors.add(
            "spec.fault.reorder.gap",
            "there is no 0th packet",
            "write 1 for any packet, 5 for every fifth",
        );
    }
    let waits = fault.delay.as_ref().is_some_and(|delay| !delay.latency.is_zero());
    if !waits
        && fault
            .reorder
            .as_ref()
            .is_some_and(|reorder| reorder.compat.is_some())
    {
        errors.add(
            "spec.fault.reorder.compat",
            "netem reorders delayed packets only",
            "add a `delay`, or leave `compat` out: packets are then held back to be overtaken",
        );
    }
    if let Some(bandwidth) = &fault.bandwidth {
        check_bandwidth(bandwidth, errors);
    }
}

fn check_delay(delay: &Delay, errors: &mut Errors) {
    for (path, asked) in [
        ("spec.fault.delay.latency", Some(delay.latency)),
        ("spec.fault.delay.jitter", delay.jitter),
    ] {
        if asked.is_some_and(|asked| asked > LONGEST) {
            errors.add(
                path,
                "packets would wait for more than an hour",
                "write less, or `partition` to lose them",
            );
        }
    }
    let still = delay.jitter.is_none_or(|jitter| jitter == Duration::ZERO);
    if still && delay.distribution.is_some() {
        errors.add(
            "spec.fault.delay.distribution",
            "it spreads the jitter, and there is none",
            "write a `jitter`, such as `jitter: 20ms`",
        );
    }
    if still && delay.correlation.is_some() {
        errors.add(
            "spec.fault.delay.correlation",
            "it is that of the jitter, and there is none",
            "write a `jitter`, such as `jitter: 20ms`",
        );
    }
    if let Some(Distribution::Table(table)) = &delay.distribution {
        check_table(table, delay.compat.is_some(), errors);
    }
}

fn check_table(source: &DistributionTable, as_netem: bool, errors: &mut Errors) {
    const FIELD: &str = "spec.fault.delay.distribution";
    match (source.table.is_empty(), &source.file) {
        (true, None) => errors.add(
            FIELD,
            "the table has no offsets",
            "write `table: [-1, 0, 1]`, in units of the jitter, or `file: measured.txt`",
        ),
        (false, Some(_)) => errors.add(FIELD, "`table` and `file` are given together", "keep one of them"),
        _ => {}
    }
    let most = DistributionTable::MOST;
    if source.table.len() > most {
        let message = format!(
            "{} offsets are more than the {most} that a table may have",
            source.table.len()
        );
        errors.add(FIELD, message, "leave some out");
    }
    let largest = if as_netem { 4.0 } else { DistributionTable::LARGEST };
    let wild = |offset: &f64| !DistributionTable::may_be(*offset) || offset.abs() > largest;
    if let Some(index) = source.table.iter().position(wild) {
        let path = SpecPath::of(FIELD).field("table").index(index);
        let (message, remedy) = if as_netem {
            (
                "netem's tables reach four jitters either way",
                "write at most 4, or leave `compat` out",
            )
        } else {
            (
                "no offset is more than a thousand jitters",
                "offsets are in units of the jitter",
            )
        };
        errors.at(path, message, remedy);
    }
}

fn check_bandwidth(bandwidth: &Bandwidth, errors: &mut Errors) {
    if bandwidth.rate.bits_per_second() == 0 {
        errors.add(
            "spec.fault.bandwidth.rate",
            "nothing would ever pass",
            "write `partition` to lose everything, or a rate such as `10mbit`",
        );
    }
    if bandwidth.burst.is_some_and(|burst| burst.bytes() == 0) {
        errors.add(
            "spec.fault.bandwidth.burst",
            "no packet fits into it",
            "leave it out, or write at least `2KiB`",
        );
    }
}

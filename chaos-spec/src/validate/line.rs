//! `delay`, `reorder`, `bandwidth`.

use super::Errors;
use crate::{Bandwidth, Delay, Duration, Fault};

/// Packets that wait are kept in memory.
const LONGEST: Duration = Duration::from_secs(3600);

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
    if let Some(correlation) = delay.correlation {
        if still {
            errors.add(
                "spec.fault.delay.correlation",
                "it is that of the jitter, and there is none",
                "write a `jitter`, such as `jitter: 20ms`",
            );
        } else if correlation.is_always() {
            let message = "with 100% the first packet decides over all others";
            errors.add("spec.fault.delay.correlation", message, "write less than 100%");
        }
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

//! What one value cannot tell on its own. One set of rules for files and for the API; every error names the field
//! and what to write instead.

mod count;
mod dns;
mod fault;
mod health;
mod http;
mod line;
mod metadata;
mod not_yet;
mod target;
mod traffic;

pub use health::validate_health;

use crate::path::SpecPath;
use crate::{Duration, NetworkFault, SpecError};

/// The longest that a fault may last.
pub const MAX_DURATION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The largest budget of flows.
pub const MAX_FLOWS: u64 = 65_536;

/// Everything that is wrong with the meaning of a fault; empty when the daemon may try it.
pub fn validate(fault: &NetworkFault) -> Vec<SpecError> {
    let mut errors = Errors::default();
    metadata::check(fault, &mut errors);
    target::check(&fault.spec.target, &mut errors);
    traffic::check(&fault.spec.traffic, &mut errors);
    fault::check(&fault.spec, &mut errors);
    check_duration(fault.spec.duration, &mut errors);
    if fault.spec.safety.max_packets == Some(0) {
        errors.add(
            "spec.safety.maxPackets",
            "a budget of 0 packets lets nothing happen",
            "write at least 1",
        );
    }
    check_flows(fault.spec.safety.max_flows, &mut errors);
    check_health(fault, &mut errors);
    not_yet::check(fault, &mut errors);
    errors.0
}

/// What is wrong with `metadata.name`.
pub(crate) fn validate_name(name: &str) -> Vec<SpecError> {
    let mut errors = Errors::default();
    metadata::check_name(name, &mut errors);
    errors.0
}

fn check_flows(budget: Option<u64>, errors: &mut Errors) {
    let remedy =
        format!("write 1 to {MAX_FLOWS}, or leave it out; `traffic.flows` bounds the share of flows");
    match budget {
        Some(0) => errors.add(
            "spec.safety.maxFlows",
            "a budget of 0 flows lets nothing happen",
            remedy,
        ),
        Some(flows) if flows > MAX_FLOWS => errors.add(
            "spec.safety.maxFlows",
            format!("{flows} flows are more than the {MAX_FLOWS} that can be told apart"),
            remedy,
        ),
        _ => {}
    }
}

fn check_duration(duration: Duration, errors: &mut Errors) {
    if duration.is_zero() {
        errors.add(
            "spec.duration",
            "a fault of no length does nothing",
            "write how long it lasts, such as `5m`",
        );
    }
    if duration > MAX_DURATION {
        let message = format!("{duration} is longer than the 30 days that a fault may last");
        errors.add("spec.duration", message, "write at most `30days`");
    }
}

fn check_health(fault: &NetworkFault, errors: &mut Errors) {
    let place = SpecPath::of("spec.safety.health");
    let checks = &fault.spec.safety.health;
    health::check_all(checks, &place, errors);
    for (index, check) in checks.iter().enumerate() {
        for (field, time) in [("initialGrace", check.initial_grace), ("for", check.sustained)] {
            if time >= fault.spec.duration {
                let message = format!("{time} is longer than the fault lasts");
                let remedy = "write less, or a longer `duration`";
                errors.at(place.clone().index(index).field(field), message, remedy);
            }
        }
    }
}

/// Errors of one fault that are told: a list of a hundred thousand wrong ports is wrong in one way.
const MOST_ERRORS: usize = 1000;

#[derive(Default)]
struct Errors(Vec<SpecError>);

impl Errors {
    /// Whether one more would not be told.
    fn is_full(&self) -> bool {
        self.0.len() >= MOST_ERRORS
    }

    fn add(&mut self, path: &str, message: impl Into<String>, remedy: impl Into<String>) {
        self.at(SpecPath::of(path), message, remedy);
    }

    fn at(&mut self, path: SpecPath, message: impl Into<String>, remedy: impl Into<String>) {
        if self.is_full() {
            return;
        }
        self.0.push(SpecError::new(path, message, remedy));
    }
}

//! The daemon: does it answer, and what does it say about the node.

use chaos_spec::api::NodeInfo;
use jiff::Timestamp;

use super::{Check, Health, process};
use crate::daemon::Place;
use crate::failure::Failure;
use crate::output::ago;

/// The way to the daemon, and its own state.
pub(super) fn checks(place: &Place, node: &Result<NodeInfo, Failure>) -> Vec<Check> {
    match node {
        Ok(node) => answering(place, node),
        Err(failure) => {
            let text = failure.to_string();
            let (detail, advice) = chaos_spec::units::split_remedy(&text);
            let mut checks = vec![Check::new("daemon", Health::Missing, detail, advice)];
            checks.extend(process::check());
            checks
        }
    }
}

fn answering(place: &Place, node: &NodeInfo) -> Vec<Check> {
    let now = Timestamp::now();
    let up = ago(node.started_at, now);
    let detail = format!("chaos-daemon {} answers at {place}, up {up}", node.version);
    let mut checks = vec![Check::ok("daemon", detail)];
    let ours = env!("CARGO_PKG_VERSION");
    if node.version != ours {
        let detail = format!("chaosctl is {ours}, the daemon {}", node.version);
        checks.push(Check::new(
            "version",
            Health::Warning,
            detail,
            "install both from one release",
        ));
    }
    checks.push(if node.halt.halted {
        let by = node
            .halt
            .by
            .as_ref()
            .map(|by| format!(" by {by}"))
            .unwrap_or_default();
        let reason = node
            .halt
            .reason
            .as_ref()
            .map(|reason| format!(": {reason}"))
            .unwrap_or_default();
        let since = node
            .halt
            .since
            .map(|since| format!(" {} ago", ago(since, now)))
            .unwrap_or_default();
        let advice = "release with `chaosctl halt --release` when it is safe again";
        Check::new(
            "halt",
            Health::Warning,
            format!("halted{since}{by}{reason}; new faults are refused"),
            advice,
        )
    } else {
        Check::ok("halt", "not halted: faults are accepted")
    });
    let counts = node.counts;
    checks.push(Check::ok(
        "faults",
        format!("{} active, {} pending", counts.active, counts.pending),
    ));
    checks
}

/// What the daemon found out by trying. `why` may carry its own advice.
pub(super) fn capabilities(node: &NodeInfo) -> Vec<Check> {
    let check = |capability: &chaos_spec::api::Capability| {
        let (detail, advice) = chaos_spec::units::split_remedy(&capability.why);
        let health = if capability.available {
            Health::Ok
        } else {
            Health::Missing
        };
        Check::new(capability.name.as_str(), health, detail, advice)
    };
    node.capabilities.iter().map(check).collect()
}

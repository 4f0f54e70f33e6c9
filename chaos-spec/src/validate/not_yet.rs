//! What has its form settled, but is not carried out by this version. The one place that says so: whoever makes
//! one of these work deletes its entry here.

use super::Errors;
use crate::{NetworkFault, TargetKind};

struct NotYet {
    path: &'static str,
    asked_for: fn(&NetworkFault) -> bool,
    what: &'static str,
    instead: &'static str,
}

const NOT_YET: &[NotYet] = &[NotYet {
    path: "spec.target.pods",
    asked_for: |fault| matches!(fault.spec.target.kind, TargetKind::Pods(_)),
    what: "pods",
    instead: "name a `container`, `pid` or `netns` on the node itself",
}];

pub(super) fn check(fault: &NetworkFault, errors: &mut Errors) {
    for entry in NOT_YET.iter().filter(|entry| (entry.asked_for)(fault)) {
        errors.add(
            entry.path,
            format!("not in this version: {}", entry.what),
            entry.instead,
        );
    }
}

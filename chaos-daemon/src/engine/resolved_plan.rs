//! What a request comes to on this host, as one hash: whoever approves it approves these faults on these targets.

use chaos_spec::NetworkFault;
use chaos_spec::audit::{AuditedFault, hash_of};
use serde::Serialize;

use super::command::Prepared;

#[derive(Serialize)]
struct Part<'a> {
    fault: &'a NetworkFault,
    target: Vec<String>,
}

/// SHA-256, in hex, over the faults as they were asked for and their targets as they were found. The addresses behind
/// host names are left out, for they change by themselves; so are seeds that nobody wrote.
pub(super) fn hash(faults: &[Prepared]) -> String {
    let parts: Vec<_> = faults
        .iter()
        .map(|prepared| Part {
            fault: &prepared.fault,
            target: prepared.target.outline(),
        })
        .collect();
    // Plain data: always JSON. Were it not, the hash of nothing would approve nothing.
    hash_of(&serde_json::to_vec(&parts).unwrap_or_default())
}

/// For the audit log.
pub(super) fn audited(faults: &[Prepared]) -> Vec<AuditedFault> {
    faults
        .iter()
        .map(|prepared| AuditedFault {
            name: prepared.fault.name().to_owned(),
            what: chaos_spec::explain::summary(&prepared.fault.spec),
            target: prepared.fault.spec.target.to_string(),
            resolved: prepared.target.outline(),
        })
        .collect()
}

//! Running faults whose target or names have changed under them.

use std::net::IpAddr;
use std::sync::Arc;

use chaos_spec::api::EventKind;
use chaos_spec::{Hostname, Warning};

use super::super::kernel::Kernel;
use super::super::registry::Active;
use super::super::watch::TargetKey;
use super::{Worker, add_warnings};
use crate::datapath::{Arm, Ends, FaultId};
use crate::safety::policy::check_reach;
use crate::target::Resolved;

impl<K: Kernel> Worker<K> {
    /// The target has other places: the same faults, there.
    pub(super) fn moved(&mut self, key: &TargetKey, resolved: &Arc<Resolved>) {
        let ids = self.faults.on_target(key);
        let mut faults = self.copies(&ids);
        let Some(first) = faults.first() else { return };
        let before = (first.spec.target.clone(), Arc::clone(&first.target));
        let why = "its target has other network namespaces or interfaces now";
        faults.retain(|fault| self.may_follow(fault, resolved, why));
        if faults.is_empty() {
            return;
        }
        for fault in &mut faults {
            fault.target = Arc::clone(resolved);
        }
        if self.rearm(faults, why).is_err() {
            // Compared with what is armed, the target is still another: it will be reported again.
            self.parts.watch.follow(key, &before.0, &before.1);
        }
    }

    /// Whether the policy lets a fault act where its target is now. One that may not stays where it was.
    fn may_follow(&self, fault: &Active, resolved: &Resolved, why: &str) -> bool {
        let Some(policy) = self.parts.policy.current() else {
            return true;
        };
        let addresses: Vec<IpAddr> = fault.names.values().flatten().copied().collect();
        let violations = check_reach(&policy, &fault.spec, resolved, &addresses);
        if let Some(first) = violations.first() {
            self.could_not_follow(&fault.metadata.name, why, first);
        }
        violations.is_empty()
    }

    fn could_not_follow(&self, name: &str, why: &str, error: &dyn std::error::Error) {
        tracing::warn!(fault = name, %error, "{why}, but it could not follow");
        let message = format!("{why}, but it could not follow: {error}");
        self.parts.events.publish(EventKind::Warning, Some(name), message);
    }

    /// A host that some faults name has other addresses.
    pub(super) fn named(&mut self, host: &Hostname, addresses: &[IpAddr]) {
        let mut faults = Vec::new();
        for id in self.faults.naming(host) {
            let Some(mut fault) = self.faults.get(id).cloned() else {
                continue;
            };
            let known = fault.names.insert(host.clone(), addresses.to_vec());
            if known.is_none_or(|known| known != addresses) {
                faults.push(fault);
            }
        }
        if !faults.is_empty() {
            let why = format!("{host} has {} addresses now", addresses.len());
            // A refusal is reported; the next change of the name tries again.
            let _ = self.rearm(faults, &why);
        }
    }

    /// Their packets take another way from now on.
    pub(super) fn refit(&mut self, ids: &[FaultId]) {
        let faults = self.copies(ids);
        if !faults.is_empty() {
            // A refusal is reported; at the next such packet they stay where they are.
            let _ = self.rearm(faults, "it met super-packets that only the user line can carry");
        }
    }

    /// Those of these that are active, to be armed again.
    fn copies(&self, ids: &[FaultId]) -> Vec<Active> {
        ids.iter()
            .filter_map(|id| self.faults.get(*id).cloned())
            .collect()
    }

    fn rearm(&mut self, faults: Vec<Active>, why: &str) -> Result<(), ()> {
        let arms: Vec<Arm> = faults
            .iter()
            .map(|fault| fault.arm(Ends::At(fault.deadline)))
            .collect();
        let armed = match self.arm(&arms) {
            Ok(armed) => armed,
            Err(error) => {
                for fault in &faults {
                    self.could_not_follow(&fault.metadata.name, why, &error);
                }
                return Err(());
            }
        };
        for (mut fault, armed) in faults.into_iter().zip(armed) {
            fault.attachments = armed.attachments;
            add_warnings(&mut fault.warnings, armed.warnings.into_iter().map(Warning::from));
            tracing::info!(fault = fault.metadata.name, "follows: {why}");
            self.parts
                .events
                .publish(EventKind::FaultChanged, Some(&fault.metadata.name), why);
            self.faults.put(fault);
        }
        Ok(())
    }
}

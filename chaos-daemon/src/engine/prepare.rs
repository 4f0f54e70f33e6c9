//! Everything about a request that can be found out before the engine's thread is asked.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use chaos_spec::{Hostname, NetworkFault, SpecError, SpecPath};
use futures_util::future::join_all;
use jiff::Timestamp;

use super::command::Prepared;
use super::error::{Refused, Why};
use super::kernel::Resolve;
use super::watch::{self, TargetKey};
use super::{EngineError, blocking};
use crate::safety::policy::{Violation, check_reach, check_spec};
use crate::safety::{GuardList, PolicyKeeper};
use crate::target::names::NameWatcher;
use crate::target::{Resolved, TargetError};

pub(super) struct Preparer {
    resolve: Arc<dyn Resolve>,
    names: NameWatcher,
    policy: Arc<PolicyKeeper>,
    guards: GuardList,
}

impl Preparer {
    pub(super) fn new(
        resolve: Arc<dyn Resolve>,
        names: NameWatcher,
        policy: Arc<PolicyKeeper>,
        guards: GuardList,
    ) -> Self {
        Self {
            resolve,
            names,
            policy,
            guards,
        }
    }

    /// Validates, finds the targets (each once, however many faults name it) and the addresses of host names.
    ///
    /// # Errors
    /// Everything that is wrong with any of the faults, or that the policy does not allow of them.
    pub(super) async fn prepare(&self, faults: Vec<NetworkFault>) -> Result<Vec<Prepared>, EngineError> {
        let refused = validate(&faults, &self.guards);
        if !refused.is_empty() {
            return Err(EngineError::Invalid(refused));
        }
        let policy = self.policy.current();
        if let Some(policy) = &policy {
            let now = Timestamp::now();
            let refused = violations(faults.iter(), |fault| check_spec(policy, &fault.spec, now));
            if !refused.is_empty() {
                return Err(EngineError::Policy(refused));
            }
        }
        let resolve = Arc::clone(&self.resolve);
        let mut prepared = blocking(move || find_targets(&*resolve, faults)).await??;
        // All look-ups run at once: many faults with names wait no longer than one.
        let lookups = prepared
            .iter_mut()
            .filter(|prepared| !hosts(&prepared.fault).is_empty())
            .map(async |prepared| {
                let watched = self.names.watch(hosts(&prepared.fault)).await;
                prepared.warnings.extend(watched.warnings.iter().cloned());
                prepared.names = Some(Arc::new(watched));
            });
        join_all(lookups).await;
        let Some(policy) = policy else {
            return Ok(prepared);
        };
        blocking(move || {
            let reach = |prepared: &Prepared| {
                let addresses = prepared
                    .names
                    .as_ref()
                    .map(|names| names.addresses.values().flatten().copied());
                let addresses: Vec<IpAddr> = addresses.into_iter().flatten().collect();
                check_reach(&policy, &prepared.fault.spec, &prepared.target, &addresses)
            };
            let mut refused = Vec::new();
            for (index, one) in prepared.iter().enumerate() {
                refused.extend(refusals(index, &one.fault, reach(one)));
            }
            if refused.is_empty() {
                Ok(prepared)
            } else {
                Err(EngineError::Policy(refused))
            }
        })
        .await?
    }

    /// What is known now of a host that is watched.
    pub(super) fn addresses(&self, host: &Hostname) -> Option<Vec<IpAddr>> {
        self.names.addresses(host)
    }
}

/// The hosts that a fault names.
pub(super) fn hosts(fault: &NetworkFault) -> &[Hostname] {
    fault
        .spec
        .traffic
        .remote
        .as_ref()
        .map_or(&[], |remote| remote.hosts.as_slice())
}

fn validate(faults: &[NetworkFault], guards: &GuardList) -> Vec<Refused> {
    let mut names = HashSet::new();
    let mut refused = Vec::new();
    for (index, fault) in faults.iter().enumerate() {
        let mut errors = chaos_spec::validate(fault);
        for (place, name) in fault.spec.safety.unguard.iter().enumerate() {
            if !guards.names().contains(&name.as_str()) {
                let path = ["spec", "safety", "unguard"]
                    .into_iter()
                    .fold(SpecPath::root(), SpecPath::field);
                let message = format!("`{name}` is no guard that can be lifted");
                let remedy = format!("write one of {}", guards.names().join(", "));
                errors.push(SpecError::new(path.index(place), message, remedy));
            }
        }
        if !names.insert(fault.name()) {
            let path = SpecPath::root().field("metadata").field("name");
            let message = format!("the name `{}` is there twice", fault.name());
            errors.push(SpecError::new(path, message, "give each fault a name of its own"));
        }
        let name = fault.name().to_owned();
        refused.extend(errors.into_iter().map(|error| Refused {
            index,
            name: name.clone(),
            why: Why::Spec(error),
        }));
    }
    refused
}

fn violations<'a>(
    faults: impl Iterator<Item = &'a NetworkFault>,
    check: impl Fn(&NetworkFault) -> Vec<Violation>,
) -> Vec<Refused> {
    let each = faults.enumerate();
    each.flat_map(|(index, fault)| refusals(index, fault, check(fault)))
        .collect()
}

/// What the policy says against the fault in place `index` of a request.
pub(super) fn refusals(index: usize, fault: &NetworkFault, violations: Vec<Violation>) -> Vec<Refused> {
    let refuse = |violation| Refused {
        index,
        name: fault.name().to_owned(),
        why: Why::Policy(violation),
    };
    violations.into_iter().map(refuse).collect()
}

fn find_targets(resolve: &dyn Resolve, faults: Vec<NetworkFault>) -> Result<Vec<Prepared>, EngineError> {
    let mut found: HashMap<TargetKey, Arc<Resolved>> = HashMap::new();
    let mut refused = Vec::new();
    let mut prepared = Vec::with_capacity(faults.len());
    for (index, fault) in faults.into_iter().enumerate() {
        let key = watch::key(&fault.spec.target);
        let target = match found.get(&key) {
            Some(target) => Arc::clone(target),
            None => match resolve.resolve(&fault.spec.target) {
                Ok(target) => {
                    let target = Arc::new(target);
                    found.insert(Arc::clone(&key), Arc::clone(&target));
                    target
                }
                Err(error) => {
                    refused.push(refuse(index, &fault, error));
                    continue;
                }
            },
        };
        let mut warnings = target.warnings.clone();
        let advice = chaos_spec::explain::advice(&fault.spec);
        warnings.extend(
            advice
                .into_iter()
                .filter(|warning| !target.warnings.contains(warning)),
        );
        prepared.push(Prepared {
            fault,
            key,
            target,
            names: None,
            warnings,
            health: None,
            node: None,
        });
    }
    if refused.is_empty() {
        Ok(prepared)
    } else {
        Err(EngineError::Invalid(refused))
    }
}

fn refuse(index: usize, fault: &NetworkFault, error: TargetError) -> Refused {
    Refused {
        index,
        name: fault.name().to_owned(),
        why: Why::Target(error),
    }
}

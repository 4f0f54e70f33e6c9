//! New and changed faults.

use std::sync::Arc;

use chaos_spec::api::{EventKind, FaultView, Packets, Plan};
use chaos_spec::{FaultSpec, SpecPath, Warning};
use jiff::Timestamp;

use super::super::EngineError;
use super::super::command::Prepared;
use super::super::kernel::Kernel;
use super::super::prepare::refusals;
use super::super::registry::Active;
use super::super::watch::TargetKey;
use super::{Worker, add_warnings};
use crate::datapath::{Arm, Ends, FaultId};
use crate::safety::Caller;
use crate::safety::clock::boot_ns;
use crate::safety::policy::{Caps, Load};
use crate::target::Resolved;

impl<K: Kernel> Worker<K> {
    pub(super) fn apply(
        &mut self,
        faults: Vec<Prepared>,
        caller: &Caller,
    ) -> Result<Vec<FaultView>, EngineError> {
        // Halted since the caller was let in? Then the halt came first.
        self.parts.halt.check()?;
        let node = faults.iter().filter_map(|prepared| prepared.node.as_ref());
        if node.into_iter().any(|checks| checks.has_failed()) {
            let policy = self.parts.policy.current();
            let rule = policy.map(|policy| policy.place(&SpecPath::root().field("health")));
            return Err(EngineError::NodeUnsteady {
                rule: rule.unwrap_or_else(|| "health".to_owned()),
                why: "a health check of the node has failed in the meantime".to_owned(),
            });
        }
        self.within_caps(&faults)?;
        let mut due = Vec::new();
        let mut names = Vec::with_capacity(faults.len());
        let mut fresh = 0;
        for mut prepared in faults {
            names.push(prepared.fault.metadata.name.clone());
            let running = self.faults.named(prepared.fault.name());
            if running.is_some_and(|running| is_same(running, &prepared)) {
                continue;
            }
            let changed = running.is_some();
            let health = prepared.health.take();
            let mut fault = self.candidate(prepared, fresh);
            let checks = self.health_of(&mut fault, health)?;
            if !changed {
                fresh += 1;
            }
            due.push((fault, changed, checks));
        }
        let running = self.faults.len();
        if running + fresh as usize > self.parts.max_faults {
            let limit = self.parts.max_faults;
            return Err(EngineError::TooMany {
                running,
                asked: fresh as usize,
                limit,
            });
        }
        if !due.is_empty() {
            let arms: Vec<Arm> = due
                .iter()
                .map(|(fault, ..)| fault.arm(Ends::After(fault.spec.duration.as_nanos())))
                .collect();
            let armed = self.arm(&arms)?;
            self.next_id += u64::from(fresh);
            self.next_order += fresh;
            let began = due.iter().filter(|(_, changed, _)| !changed);
            self.parts
                .roster
                .began(began.map(|(fault, ..)| fault.metadata.name.clone()).collect());
            let now = (boot_ns(), Timestamp::now());
            for ((mut fault, changed, checks), armed) in due.into_iter().zip(armed) {
                fault.set_clock(armed.deadline_boot_ns, changed, now);
                fault.attachments = armed.attachments;
                add_warnings(&mut fault.warnings, armed.warnings.into_iter().map(Warning::from));
                if let Some(checks) = checks {
                    fault.health = Some(self.watch(fault.id, checks));
                }
                self.adopt(fault, changed, caller);
            }
        }
        Ok(names.iter().filter_map(|name| self.get(name)).collect())
    }

    /// The fault as it would be; `fresh` counts the new ones of the same request before it.
    fn candidate(&self, prepared: Prepared, fresh: u32) -> Active {
        let Prepared {
            fault,
            key,
            target,
            names,
            warnings,
            health: _,
            node,
        } = prepared;
        let running = self.faults.named(fault.name());
        let seed = fault.spec.seed.unwrap_or_else(|| match running {
            // A change of something else must not change the dice.
            Some(running) if running.spec.seed.is_none() => running.seed,
            _ => draw_seed(),
        });
        Active {
            id: running.map_or(FaultId(self.next_id + u64::from(fresh)), |running| running.id),
            order: running.map_or(self.next_order + fresh, |running| running.order),
            metadata: fault.metadata,
            seed,
            // Known when it acts.
            deadline: 0,
            started_at: running.map_or(Timestamp::MAX, |running| running.started_at),
            ends_at: Timestamp::MAX,
            spec: Arc::new(fault.spec),
            key,
            target,
            names: names
                .as_ref()
                .map(|names| names.addresses.clone())
                .unwrap_or_default(),
            _watched: names,
            attachments: Vec::new(),
            warnings: warnings.into_iter().map(Warning::from).collect(),
            health: None,
            node,
        }
    }

    fn adopt(&mut self, fault: Active, changed: bool, caller: &Caller) {
        let name = fault.metadata.name.clone();
        let (kind, verb) = if changed {
            (EventKind::FaultChanged, "changed")
        } else {
            (EventKind::FaultActive, "applied")
        };
        let what = describe(&fault.spec);
        tracing::info!(fault = name, seed = fault.seed, "{verb} by {caller}: {what}");
        for warning in &fault.warnings {
            tracing::debug!(fault = name, code = warning.code, "{}", warning.message);
        }
        self.parts
            .watch
            .follow(&fault.key, &fault.spec.target, &fault.target);
        let view = fault.view(Packets::default());
        if changed {
            self.parts.history.changed(view);
        } else {
            self.parts.history.began(view, caller.to_string());
        }
        let before = self.faults.get(fault.id).map(|before| Arc::clone(&before.key));
        self.parts.events.publish(
            kind,
            Some(&name),
            format!("{verb} by {caller}: {what}, until {}", fault.ends_at),
        );
        self.parts.brakes.acts(&fault);
        self.faults.put(fault);
        if let Some(key) = before {
            self.forget_if_unused(&key);
        }
    }

    /// Whether the policy has room for these beside what runs.
    fn within_caps(&self, faults: &[Prepared]) -> Result<(), EngineError> {
        let Some(policy) = self.parts.policy.current() else {
            return Ok(());
        };
        let load = |key: &TargetKey, target: &Resolved| Load {
            target: Arc::clone(key),
            netns: target
                .places
                .iter()
                .map(|place| (place.netns.dev, place.netns.inode))
                .collect(),
        };
        let running = self.faults.active();
        let mut caps = Caps::new(running.map(|fault| {
            let name = fault.metadata.name.clone();
            (name, load(&fault.key, &fault.target))
        }));
        let mut refused = Vec::new();
        for (index, prepared) in faults.iter().enumerate() {
            let name = prepared.fault.name().to_owned();
            let violations = caps.add(&policy, name, load(&prepared.key, &prepared.target));
            refused.extend(refusals(index, &prepared.fault, violations));
        }
        if refused.is_empty() {
            Ok(())
        } else {
            Err(EngineError::Policy(refused))
        }
    }

    pub(super) fn plan(&self, faults: Vec<Prepared>) -> Result<Plan, EngineError> {
        self.within_caps(&faults)?;
        let mut plan = Plan::default();
        let mut fresh = 0;
        for prepared in faults {
            let is_new = self.faults.named(prepared.fault.name()).is_none();
            let fault = self.candidate(prepared, fresh);
            fresh += u32::from(is_new);
            let mut planned = self
                .kernel
                .plan(&fault.arm(Ends::After(fault.spec.duration.as_nanos())))?;
            add_warnings(&mut planned.warnings, fault.warnings);
            plan.faults.push(planned);
        }
        Ok(plan)
    }
}

/// Whether applying this would change nothing.
fn is_same(running: &Active, asked: &Prepared) -> bool {
    *running.spec == asked.fault.spec && running.metadata == asked.fault.metadata
}

/// `drop on cgroup /shop (egress) for 5m`
fn describe(spec: &FaultSpec) -> String {
    let kinds: Vec<_> = spec.fault.kinds().iter().map(|kind| kind.word()).collect();
    let mut text = format!(
        "{} on {} ({}) for {}",
        kinds.join(" and "),
        spec.target,
        spec.traffic.direction,
        spec.duration
    );
    let lifted = &spec.safety.unguard;
    if !lifted.is_empty() {
        text.push_str(&format!(", guards lifted: {}", lifted.join(", ")));
    }
    text
}

/// A drawn seed fits in the 53 bits that every reader of JSON keeps exactly.
const EXACT: u64 = (1 << 53) - 1;

fn draw_seed() -> u64 {
    // The clock takes over on a host so young that it has no randomness yet: a seed need not be secret, only other.
    getrandom::u64().unwrap_or_else(|_| boot_ns()) & EXACT
}

//! Plans that need a second person.

use chaos_spec::api::{Approval, ApprovalList, PlanApproval};
use chaos_spec::audit::{Entry, Kind};
use chaos_spec::diagnostic::cut;
use chaos_spec::{SpecPath, policy};
use jiff::SignedDuration;

use super::command::Prepared;
use super::{Engine, EngineError, blocking, resolved_plan};
use crate::safety::Caller;
use crate::safety::approvals::NeedsApproval;
use crate::safety::policy::severity;

/// Faults of a plan that are told to whoever is asked for a yes. The hash is of all of them.
const MOST_LINES: usize = 50;
const LONGEST_LINE: usize = 400;
/// Characters of a reason that are kept.
const LONGEST_REASON: usize = 1000;

/// What a request comes to.
pub(super) struct Weighed {
    pub(super) plan: String,
    severity: policy::Severity,
    faults: Vec<String>,
}

impl Weighed {
    pub(super) fn of(faults: &[Prepared]) -> Self {
        let summary = |prepared: &Prepared| {
            let spec = &prepared.fault.spec;
            format!(
                "{}: {}",
                prepared.fault.name(),
                chaos_spec::explain::summary(spec)
            )
        };
        Self {
            plan: resolved_plan::hash(faults),
            severity: severity(faults.iter().map(|prepared| &prepared.fault.spec)),
            faults: in_short(faults.len(), faults.iter().map(summary)),
        }
    }
}

/// The first lines, and how many more there are: a thousand plans are remembered, of whoever may look.
fn in_short(count: usize, lines: impl Iterator<Item = String>) -> Vec<String> {
    let more = count.saturating_sub(MOST_LINES);
    let mut kept: Vec<_> = lines
        .take(MOST_LINES)
        .map(|line| cut(line, LONGEST_LINE))
        .collect();
    if more > 0 {
        kept.push(format!("… and {more} more"));
    }
    kept
}

impl Engine {
    /// What the policy makes of a plan, for whoever looks at it.
    pub(super) fn weigh(&self, weighed: &Weighed) -> PlanApproval {
        let Weighed {
            plan,
            severity,
            faults,
        } = weighed;
        let is_needed = self.rule().is_some_and(|(above, _)| *severity > above);
        if is_needed {
            self.shared.approvals.seen(plan, *severity, || faults.clone());
        }
        PlanApproval {
            plan: plan.clone(),
            severity: *severity,
            needed: is_needed,
        }
    }

    /// Whether `caller` may go ahead with this, as far as second persons are concerned.
    pub(super) fn check_approval(&self, weighed: &Weighed, caller: &Caller) -> Result<(), NeedsApproval> {
        let Some((above, rule)) = self.rule().filter(|(above, _)| weighed.severity > *above) else {
            return Ok(());
        };
        let faults = || weighed.faults.clone();
        let checked = self
            .shared
            .approvals
            .check(&weighed.plan, weighed.severity, faults, caller);
        checked.map_err(|why| NeedsApproval {
            plan: weighed.plan.clone(),
            severity: weighed.severity,
            above,
            rule,
            why,
        })
    }

    /// Says yes to a plan that was looked at or asked for.
    ///
    /// # Errors
    /// The plan is not known, it is the caller's own, or the yes cannot be kept or taken down.
    pub async fn approve(
        &self,
        plan: String,
        caller: Caller,
        reason: Option<String>,
    ) -> Result<Approval, EngineError> {
        let policy = self.shared.options.policy.current();
        let lasts = policy
            .as_ref()
            .and_then(|policy| policy.policy.approval.as_ref())
            .and_then(|approval| SignedDuration::try_from(approval.expires.as_std()).ok())
            .unwrap_or(SignedDuration::from_hours(1));
        let reason = reason.map(|reason| cut(reason, LONGEST_REASON));
        let shared = std::sync::Arc::clone(&self.shared);
        let (hash, by, why) = (plan.clone(), caller.clone(), reason.clone());
        let approval = blocking(move || shared.approvals.approve(&hash, &by, why, lasts)).await??;
        tracing::info!(plan, "approved by {caller}");
        self.audit().note(Entry {
            kind: Kind::Approved,
            who: Some(caller.who()),
            plan: Some(plan),
            message: reason.unwrap_or_default(),
            ..Entry::default()
        });
        Ok(approval)
    }

    pub fn approvals(&self) -> ApprovalList {
        ApprovalList {
            items: self.shared.approvals.list(),
        }
    }

    /// Above which severity a second person is needed, and where that is written.
    fn rule(&self) -> Option<(policy::Severity, String)> {
        let policy = self.shared.options.policy.current()?;
        let above = policy.policy.approval.as_ref()?.above;
        let rule = SpecPath::root().field("approval").field("above");
        Some((above, format!("{}: {rule}", policy.place(&rule))))
    }
}

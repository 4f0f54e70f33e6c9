//! The yes of a second person, over the hash of a resolved plan. Kept in a file, so that a restart does not forget it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chaos_spec::api::Approval;
use chaos_spec::policy::Severity;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Caller, durable};

/// Plans that are remembered while they wait.
const MOST_WAITING: usize = 1000;

/// A plan that was looked at or asked for.
#[derive(Clone, Debug)]
struct Waiting {
    severity: Severity,
    faults: Vec<String>,
    /// Identities that were refused for lack of an approval, and how they are told to people.
    requested: BTreeMap<String, String>,
    /// The order of arrival: the oldest are forgotten first.
    number: u64,
}

/// A yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Granted {
    plan: String,
    severity: Severity,
    faults: Vec<String>,
    identity: String,
    by: String,
    at: Timestamp,
    expires: Timestamp,
    reason: Option<String>,
}

#[derive(Debug, Default)]
struct Known {
    waiting: BTreeMap<String, Waiting>,
    granted: Vec<Granted>,
    numbers: u64,
}

/// All approvals of this node.
#[derive(Debug)]
pub struct Approvals {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    #[error(
        "no plan with the hash {0} was looked at or asked for since the daemon started – `chaosctl plan -f FILE` tells \
         the hash of a plan; one that changed has another"
    )]
    Unknown(String),
    #[error("you asked for this plan yourself: the second person has to be another one")]
    Own,
    #[error(
        "the approval could not be kept in {path} ({source}), so it does not count – free space or make it writable"
    )]
    NotKept { path: PathBuf, source: io::Error },
}

/// Why a plan does not go ahead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this plan is {severity}, and needs the yes of a second person above {above} ({rule}); {why} – somebody else, who \
     is approver, says yes with `chaosctl approve {plan}`"
)]
pub struct NeedsApproval {
    pub plan: String,
    pub severity: Severity,
    pub above: Severity,
    /// Where the policy says so.
    pub rule: String,
    pub why: &'static str,
}

impl Approvals {
    /// What was approved before a restart and has not expired. A file that cannot be read approves nothing.
    pub fn open(state_dir: &Path) -> Self {
        let path = state_dir.join("approvals.json");
        let granted = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!(%error, path = %path.display(), "approvals are forgotten: their file is damaged");
                Vec::new()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "approvals are forgotten: their file cannot be read");
                Vec::new()
            }
        };
        let known = Known {
            granted,
            ..Known::default()
        };
        Self {
            path,
            known: Mutex::new(known),
        }
    }

    /// Remembers a plan that somebody has looked at, so that it can be approved.
    pub fn seen(&self, plan: &str, severity: Severity, faults: impl FnOnce() -> Vec<String>) {
        self.lock().wait_for(plan, severity, faults);
    }

    /// Whether `caller` may go ahead with `plan`: somebody else has approved it. Who may not is remembered as asking.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn check(
        &self,
        plan: &str,
        severity: Severity,
        faults: impl FnOnce() -> Vec<String>,
        caller: &Caller,
    ) -> Result<(), &'static str> {
        let mut known = self.lock();
        let (now, identity) = (Timestamp::now(), caller.identity());
        let mut why = "nobody has approved it";
        for granted in known.granted.iter().filter(|granted| granted.plan == plan) {
            if !granted.is_good(now) {
                why = "its approval has expired";
            } else if granted.identity == identity {
                why = "you approved it yourself, and the second person has to be another one";
            } else {
                return Ok(());
            }
        }
        let waiting = known.wait_for(plan, severity, faults);
        waiting.requested.insert(identity, caller.to_string());
        Err(why)
    }

    /// Says yes, durably, for as long as `lasts`.
    ///
    /// # Errors
    /// Every [`ApprovalError`]: nothing is approved.
    pub fn approve(
        &self,
        plan: &str,
        caller: &Caller,
        reason: Option<String>,
        lasts: SignedDuration,
    ) -> Result<Approval, ApprovalError> {
        let mut known = self.lock();
        let waiting = known
            .waiting
            .get(plan)
            .ok_or_else(|| ApprovalError::Unknown(plan.to_owned()))?;
        let (identity, now) = (caller.identity(), Timestamp::now());
        if waiting.requested.len() == 1 && waiting.requested.contains_key(&identity) {
            return Err(ApprovalError::Own);
        }
        let granted = Granted {
            plan: plan.to_owned(),
            severity: waiting.severity,
            faults: waiting.faults.clone(),
            identity,
            by: caller.to_string(),
            at: now,
            expires: now.saturating_add(lasts).unwrap_or(Timestamp::MAX),
            reason,
        };
        let mut all: Vec<_> = known
            .granted
            .iter()
            .filter(|other| other.is_good(now) && !(other.plan == plan && other.identity == granted.identity))
            .cloned()
            .collect();
        all.push(granted.clone());
        serde_json::to_vec_pretty(&all)
            .map_err(io::Error::other)
            .and_then(|text| durable::replace(&self.path, &text))
            .map_err(|source| ApprovalError::NotKept {
                path: self.path.clone(),
                source,
            })?;
        known.granted = all;
        Ok(granted.view())
    }

    /// Those that wait, then those that hold.
    pub fn list(&self) -> Vec<Approval> {
        let known = self.lock();
        let now = Timestamp::now();
        let granted = known.granted.iter().filter(|granted| granted.is_good(now));
        let waiting = known.waiting.iter().map(|(plan, waiting)| Approval {
            plan: plan.clone(),
            severity: waiting.severity,
            faults: waiting.faults.clone(),
            requested_by: waiting.requested.values().cloned().collect(),
            approved_by: None,
            approved_at: None,
            expires_at: None,
            reason: None,
        });
        let is_granted = |plan: &str| granted.clone().any(|granted| granted.plan == plan);
        let waiting: Vec<_> = waiting.filter(|waiting| !is_granted(&waiting.plan)).collect();
        waiting.into_iter().chain(granted.map(Granted::view)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn wait_for(
        &mut self,
        plan: &str,
        severity: Severity,
        faults: impl FnOnce() -> Vec<String>,
    ) -> &mut Waiting {
        if self.waiting.len() >= MOST_WAITING && !self.waiting.contains_key(plan) {
            let oldest = self.waiting.iter().min_by_key(|(_, waiting)| waiting.number);
            if let Some(oldest) = oldest.map(|(plan, _)| plan.clone()) {
                self.waiting.remove(&oldest);
            }
        }
        self.numbers += 1;
        let number = self.numbers;
        self.waiting.entry(plan.to_owned()).or_insert_with(|| Waiting {
            severity,
            faults: faults(),
            requested: BTreeMap::new(),
            number,
        })
    }
}

impl Granted {
    /// One from the future was given before the clock was set back: how long ago cannot be told.
    fn is_good(&self, now: Timestamp) -> bool {
        self.at <= now && now < self.expires
    }

    fn view(&self) -> Approval {
        Approval {
            plan: self.plan.clone(),
            severity: self.severity,
            faults: self.faults.clone(),
            requested_by: Vec::new(),
            approved_by: Some(self.by.clone()),
            approved_at: Some(self.at),
            expires_at: Some(self.expires),
            reason: self.reason.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::UnixPeer;
    use super::*;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    fn user(uid: u32) -> Caller {
        Caller::Unix(UnixPeer {
            uid,
            ..UnixPeer::default()
        })
    }

    fn check(approvals: &Approvals, plan: &str, uid: u32) -> Result<(), &'static str> {
        approvals.check(plan, Severity::High, || vec!["all of it".to_owned()], &user(uid))
    }

    #[test]
    fn a_second_person_and_only_a_second_person_lets_a_plan_go_ahead() {
        let dir = tempfile::tempdir().unwrap();
        let approvals = Approvals::open(dir.path());
        assert!(matches!(
            approvals.approve("p", &user(2), None, HOUR),
            Err(ApprovalError::Unknown(_))
        ));
        assert!(check(&approvals, "p", 1).is_err());
        assert!(matches!(
            approvals.approve("p", &user(1), None, HOUR),
            Err(ApprovalError::Own)
        ));
        approvals.approve("p", &user(2), None, HOUR).unwrap();
        assert_eq!(check(&approvals, "p", 1), Ok(()));
        assert!(check(&approvals, "p", 2).unwrap_err().contains("yourself"));
        assert!(check(&approvals, "q", 1).is_err(), "another plan");
        // After a restart.
        let approvals = Approvals::open(dir.path());
        assert_eq!(check(&approvals, "p", 1), Ok(()));
        assert_eq!(approvals.list().len(), 1);
    }

    #[test]
    fn an_approval_expires() {
        let dir = tempfile::tempdir().unwrap();
        let approvals = Approvals::open(dir.path());
        approvals.seen("p", Severity::High, Vec::new);
        approvals
            .approve("p", &user(2), None, SignedDuration::ZERO)
            .unwrap();
        assert!(check(&approvals, "p", 1).unwrap_err().contains("expired"));
        assert!(
            approvals
                .list()
                .iter()
                .all(|approval| approval.approved_by.is_none())
        );
    }

    #[test]
    fn a_damaged_file_approves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("approvals.json"), "[{").unwrap();
        assert!(check(&Approvals::open(dir.path()), "p", 1).is_err());
    }

    #[test]
    fn waiting_plans_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let approvals = Approvals::open(dir.path());
        for number in 0..=MOST_WAITING {
            approvals.seen(&format!("p{number}"), Severity::High, Vec::new);
        }
        assert_eq!(approvals.list().len(), MOST_WAITING);
        assert!(approvals.list().iter().all(|approval| approval.plan != "p0"));
    }
}

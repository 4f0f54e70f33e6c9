//! The node's policy: what its owner allows. Enforced here, whatever the caller says.

mod caps;
mod chance;
mod file;
mod limits;
mod reach;
mod severity;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use super::GuardList;
use chaos_spec::SpecPath;
use chaos_spec::policy::LocatedPolicy;

pub use caps::{Caps, Load};
pub use file::PolicyError;
pub use limits::check_spec;
pub use reach::check_reach;
pub use severity::severity;

/// The policy in force, and the file it is read from.
#[derive(Debug, Default)]
pub struct PolicyKeeper {
    path: Option<PathBuf>,
    current: RwLock<Option<Arc<LocatedPolicy>>>,
}

/// One thing that a policy does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message} (policy {at}: {rule}) – {remedy}")]
pub struct Violation {
    /// Where in the fault.
    pub path: SpecPath,
    pub message: String,
    pub remedy: String,
    /// The rule of the policy: `limits.duration`.
    pub rule: SpecPath,
    /// Where it is written: `/etc/chaos-daemon/policy.yaml:7:13`.
    pub at: String,
}

impl PolicyKeeper {
    /// Reads the policy; without a path everything is allowed.
    ///
    /// # Errors
    /// It cannot be read, others could have written it, or it is malformed.
    pub fn load(path: Option<PathBuf>) -> Result<Self, PolicyError> {
        let current = path.as_deref().map(file::read).transpose()?.map(Arc::new);
        Ok(Self {
            path,
            current: RwLock::new(current),
        })
    }

    /// The policy as it is now; `None`: there is none.
    pub fn current(&self) -> Option<Arc<LocatedPolicy>> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What is guarded: the daemon's own list, and what the policy denies.
    pub fn guards(&self, own: &GuardList) -> GuardList {
        match self.current() {
            Some(policy) => own.and_denied(&policy.policy),
            None => own.clone(),
        }
    }

    /// Reads the file again. Returns its path; `None` when there is no policy to read.
    ///
    /// # Errors
    /// As [`PolicyKeeper::load`]; the old policy stays in force.
    pub fn reload(&self) -> Result<Option<PathBuf>, PolicyError> {
        let Some(path) = &self.path else { return Ok(None) };
        let fresh = Arc::new(file::read(path)?);
        // The socket's mode, and with it who counts without roles, was decided at the start.
        let has_roles = |policy: &LocatedPolicy| policy.policy.roles.is_some();
        if self
            .current()
            .is_some_and(|current| has_roles(&current) != has_roles(&fresh))
        {
            return Err(PolicyError::RolesNeedRestart { path: path.clone() });
        }
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(fresh);
        Ok(Some(path.clone()))
    }
}

/// Gathers violations of one policy.
struct Findings<'a> {
    policy: &'a LocatedPolicy,
    found: Vec<Violation>,
}

impl<'a> Findings<'a> {
    fn new(policy: &'a LocatedPolicy) -> Self {
        Self {
            policy,
            found: Vec::new(),
        }
    }

    /// `field` of the fault breaks `rule`; both are dotted.
    fn add(&mut self, field: &str, rule: SpecPath, message: String, remedy: String) {
        let at = self.policy.place(&rule);
        self.found.push(Violation {
            path: dotted(field),
            message,
            remedy,
            rule,
            at,
        });
    }
}

/// `limits.duration` as a path; no indexes.
fn dotted(text: &str) -> SpecPath {
    text.split('.').fold(SpecPath::root(), SpecPath::field)
}

#[cfg(test)]
mod tests;

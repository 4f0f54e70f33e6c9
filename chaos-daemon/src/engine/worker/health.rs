//! Faults and their health checks.

use std::sync::{Arc, Weak};

use chaos_spec::Duration;
use chaos_spec::api::Reason;

use super::super::EngineError;
use super::super::command::{Command, Readied};
use super::super::health::watch;
use super::super::kernel::Kernel;
use super::super::registry::Active;
use super::{Parts, Worker};
use crate::datapath::FaultId;
use crate::safety::health::{Checks, Watching};

impl<K: Kernel> Worker<K> {
    /// Gives a fault that is about to be changed the checks that run already; or returns those that are to run.
    pub(super) fn health_of(
        &self,
        fault: &mut Active,
        health: Option<Readied>,
    ) -> Result<Option<Arc<Checks>>, EngineError> {
        match health {
            None => Ok(None),
            Some(Readied::Fresh(checks)) => Ok(Some(checks)),
            Some(Readied::Running) => {
                let running = self
                    .faults
                    .get(fault.id)
                    .and_then(|running| running.health.clone());
                let same = |health: &Arc<Watching>| health.checks().specs() == fault.spec.safety.health;
                match running.filter(same) {
                    Some(health) => {
                        fault.health = Some(health);
                        Ok(None)
                    }
                    // What has just ended must not start again unseen.
                    None => Err(EngineError::EndedMeanwhile(fault.metadata.name.clone())),
                }
            }
        }
    }

    pub(super) fn watch(&self, id: FaultId, checks: Arc<Checks>) -> Arc<Watching> {
        let unhealthy = move |checks, message| Command::Unhealthy { id, checks, message };
        let Parts {
            runtime,
            commands,
            brakes,
            ..
        } = &self.parts;
        Arc::new(watch(checks, runtime, commands, brakes, unhealthy))
    }

    pub(super) fn unhealthy(&mut self, id: FaultId, checks: &Weak<Checks>, message: &str) {
        let running = self.faults.get(id).and_then(|fault| fault.health.as_ref());
        // A change may have given it other checks since.
        if running.is_some_and(|running| std::ptr::eq(running.checks(), checks.as_ptr())) {
            self.end(&[id], Reason::Health, message);
        }
    }

    /// Every fault that was started under these checks ends.
    pub(super) fn node_unhealthy(&mut self, checks: &Weak<Checks>, message: &str) {
        let is_under = |fault: &&Active| {
            let node = fault.node.as_ref();
            node.is_some_and(|node| std::ptr::eq(node.checks(), checks.as_ptr()))
        };
        let ids: Vec<_> = self
            .faults
            .active()
            .filter(is_under)
            .map(|fault| fault.id)
            .collect();
        self.end(&ids, Reason::Health, &format!("on this node, {message}"));
    }

    /// Takes the time at which these end.
    pub(super) fn note_end(&self, ids: &[FaultId]) {
        let faults = ids.iter().filter_map(|id| self.faults.get(*id));
        for watch in faults.flat_map(Active::watches) {
            watch.checks().ended();
        }
    }

    /// Adds the time that the end took.
    pub(super) fn tell_how_soon(&self, id: FaultId, message: &mut String) {
        let fault = self.faults.get(id);
        if let Some(took) = fault.and_then(|fault| fault.watches().find_map(|watch| watch.checks().ended())) {
            // To the microsecond: more is noise.
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            let took = Duration::from(std::time::Duration::from_micros(micros));
            message.push_str(&format!("; the fault ended {took} after that"));
        }
    }
}

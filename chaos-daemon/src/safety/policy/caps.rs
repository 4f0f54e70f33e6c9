//! How many faults there may be at the same time. Counted where faults begin, one request after another, so that two
//! callers never both get the last place.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use chaos_spec::policy::LocatedPolicy;

use super::{Findings, Violation, dotted};

/// What one fault weighs: its target, and the network namespaces it acts in.
#[derive(Clone, Debug)]
pub struct Load<T, N> {
    pub target: T,
    pub netns: Vec<N>,
}

/// The faults there would be.
#[derive(Debug)]
pub struct Caps<I, T, N> {
    faults: HashMap<I, Load<T, N>>,
}

impl<I: Eq + Hash, T: Clone + Eq + Hash, N: Clone + Eq + Hash> Caps<I, T, N> {
    /// Faults that run.
    pub fn new(running: impl IntoIterator<Item = (I, Load<T, N>)>) -> Self {
        Self {
            faults: running.into_iter().collect(),
        }
    }

    /// Adds a fault, or changes the one of this id, and says which caps that breaks. A cap that is broken already, for
    /// instance because it was lowered, is no reason to refuse a change that adds nothing to it.
    pub fn add(&mut self, policy: &LocatedPolicy, id: I, load: Load<T, N>) -> Vec<Violation> {
        let limits = policy.policy.limits.clone();
        let mut findings = Findings::new(policy);
        let before = self.faults.get(&id);
        let is_new = before.is_none();
        let new_netns: Vec<N> = load
            .netns
            .iter()
            .filter(|netns| before.is_none_or(|before| !before.netns.contains(netns)))
            .cloned()
            .collect();
        // Counting is for those limits that there are: a request may bring thousands of faults.
        let new_target =
            limits.targets.is_some() && !self.faults.values().any(|fault| fault.target == load.target);
        self.faults.insert(id, load);
        let over = |most: Option<u32>, now: usize| most.filter(|most| now > *most as usize);
        if is_new && let Some(most) = over(limits.faults, self.faults.len()) {
            let message = format!(
                "this would be fault {} at the same time, and {most} are allowed",
                self.faults.len()
            );
            findings.add(
                "spec",
                dotted("limits.faults"),
                message,
                "end another one first".to_owned(),
            );
        }
        let targets = if new_target { self.targets().len() } else { 0 };
        if let Some(most) = over(limits.targets, targets) {
            let message = format!("this would be target {targets} at the same time, and {most} are allowed");
            let remedy = "end the faults of another target first".to_owned();
            findings.add("spec.target", dotted("limits.targets"), message, remedy);
        }
        for netns in new_netns
            .into_iter()
            .filter(|_| limits.faults_per_netns.is_some())
        {
            let there = self
                .faults
                .values()
                .filter(|fault| fault.netns.contains(&netns))
                .count();
            if let Some(most) = over(limits.faults_per_netns, there) {
                let message =
                    format!("this would be fault {there} in its network namespace, and {most} are allowed");
                let remedy = "end another one there first".to_owned();
                findings.add("spec.target", dotted("limits.faultsPerNetns"), message, remedy);
                break;
            }
        }
        findings.found
    }

    fn targets(&self) -> HashSet<&T> {
        self.faults.values().map(|fault| &fault.target).collect()
    }
}

//! What the engine needs from the data path, and from the rooms that look at the host. Behind traits, so that the
//! engine's own logic is tested without root.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use chaos_spec::api::{Capability, Packets, PlannedFault};
use chaos_spec::{Target, WarningKind};

use crate::datapath::{Arm, Armed, DatapathError, FaultId, Leaving};
use crate::safety::GuardList;
use crate::safety::health::Guardian;
use crate::target::{Liveness, Resolved, TargetError};

/// The kernel side. Owned by the engine's thread, which is the only one to call it; every call may block.
pub trait Kernel: Send + 'static {
    /// What the host can do, as it was found out when the data path was opened.
    fn capabilities(&self) -> Vec<Capability>;

    /// Makes all of these faults act, or none, at one instant. An id that is armed already is changed in place and
    /// keeps its counters.
    ///
    /// # Errors
    /// Nothing has changed.
    fn arm(&mut self, arms: &[Arm]) -> Result<Vec<Armed>, DatapathError>;

    /// Ends all of these at one instant; their counters stand still from then on, and can be read until
    /// [`Kernel::disarm`].
    ///
    /// # Errors
    /// They act as before.
    fn quiet(&mut self, ids: &[FaultId]) -> Result<(), DatapathError>;

    /// Ends all of these at one instant, then takes away what nobody needs any more.
    ///
    /// # Errors
    /// They act as before.
    fn disarm(&mut self, ids: &[FaultId]) -> Result<(), DatapathError>;

    /// The devices that the last call to [`Kernel::arm`] or [`Kernel::disarm`] has begun to take away.
    fn leaving(&mut self) -> Leaving;

    /// The way to end faults while [`Kernel::arm`] is at work.
    fn brake(&self) -> Box<dyn Brake>;

    /// What [`Kernel::arm`] would do.
    ///
    /// # Errors
    /// What [`Kernel::arm`] would refuse.
    fn plan(&self, arm: &Arm) -> Result<PlannedFault, DatapathError>;

    /// Wire packets so far, of a fault that is armed.
    ///
    /// # Errors
    /// The fault is not armed, or its counters cannot be read.
    fn counters(&self, id: FaultId) -> Result<Packets, DatapathError>;

    /// What is to be known about a fault that only its traffic could tell.
    fn notices(&self, id: FaultId) -> Vec<WarningKind>;

    /// Puts a guard list into force, for all faults.
    ///
    /// # Errors
    /// The kernel refuses: what both lists hold is guarded.
    fn guard(&mut self, list: &GuardList) -> Result<(), DatapathError>;

    /// Active faults that have lost their last device, and why.
    fn gone(&mut self) -> Vec<(FaultId, String)>;

    /// Active faults that have met packets which the way they take does not suit, since this was last asked: armed again as
    /// they are, they take another.
    fn unfit(&mut self) -> Vec<FaultId>;

    /// Becomes readable when there are [`Kernel::newcomers`]. None: they are found by asking only.
    fn newcomer_signal(&self) -> Option<OwnedFd>;

    /// Processes of targets that opened a socket in a namespace where nothing is attached yet.
    fn newcomers(&mut self) -> Vec<u32>;

    /// Packets that concern no single fault, by what happened to them.
    fn statistics(&self) -> Vec<(&'static str, u64)>;

    /// What guards connections of health checks. Asked for once.
    ///
    /// # Errors
    /// It was asked for before.
    fn guardian(&mut self) -> Result<Arc<dyn Guardian>, DatapathError>;

    /// Called about ten times a second while faults are active.
    fn breathe(&mut self);
}

/// Ends faults from whatever thread.
pub trait Brake: Send + Sync + 'static {
    /// A fault acts on no packet when this returns. [`Kernel::disarm`] is still to be called; one that is not armed is left
    /// alone.
    ///
    /// # Errors
    /// It acts as before.
    fn pull(&self, id: FaultId) -> Result<(), String>;
}

/// The room that turns a target into cgroups, namespaces and devices. Called off the engine's thread.
pub trait Resolve: Send + Sync + 'static {
    /// # Errors
    /// There is no such thing on this host, or it cannot be hit.
    fn resolve(&self, target: &Target) -> Result<Resolved, TargetError>;

    /// Looks again at something that was resolved.
    fn still_there(&self, target: &Target, resolved: &Resolved) -> Liveness;
}

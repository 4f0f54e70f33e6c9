//! What the engine's thread is asked to do. Each comes with the way to answer it.

use std::net::IpAddr;
use std::sync::{Arc, Weak};

use chaos_spec::api::{Counts, FaultView, Packets, Plan, Reason};
use chaos_spec::{Hostname, NetworkFault, WarningKind};
use tokio::sync::oneshot;

use super::EngineError;
use super::watch::TargetKey;
use crate::datapath::{FaultId, Leaving};
use crate::safety::health::{Checks, Watching};
use crate::safety::{Caller, GuardList};
use crate::target::Resolved;
use crate::target::names::Watched;

pub(super) type Reply<T> = oneshot::Sender<T>;

/// A fault whose target and names have been looked up, ready for the engine's thread.
pub(super) struct Prepared {
    pub fault: NetworkFault,
    pub key: TargetKey,
    pub target: Arc<Resolved>,
    /// What is known of `spec.traffic.remote.hosts`; keeps them watched.
    pub names: Option<Arc<Watched>>,
    pub warnings: Vec<WarningKind>,
    /// None: it has no checks.
    pub health: Option<Readied>,
    /// The checks of the node, while it has some.
    pub node: Option<Arc<Watching>>,
}

/// The health checks of a fault that is applied.
pub(super) enum Readied {
    /// Those of the fault that runs under this name.
    Running,
    /// New, and all well a moment ago.
    Fresh(Arc<Checks>),
}

/// Numbers for the metrics.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub counts: Counts,
    /// Active faults by name, oldest first, with their counters; no more than were asked for.
    pub packets: Vec<(String, Packets)>,
    /// Faults that ended since the start, by reason.
    pub endings: Vec<(Reason, u64)>,
    /// Packets that concern no single fault, by what happened to them.
    pub statistics: Vec<(&'static str, u64)>,
}

pub(super) enum Command {
    Apply {
        faults: Vec<Prepared>,
        caller: Caller,
        reply: Reply<(Result<Vec<FaultView>, EngineError>, Leaving)>,
    },
    Plan {
        faults: Vec<Prepared>,
        reply: Reply<Result<Plan, EngineError>>,
    },
    Get {
        name: String,
        reply: Reply<Option<FaultView>>,
    },
    List {
        reply: Reply<Vec<FaultView>>,
    },
    Snapshot {
        most: usize,
        reply: Reply<Snapshot>,
    },
    Delete {
        name: String,
        caller: Caller,
        reply: Reply<(Option<FaultView>, Leaving)>,
    },
    /// Ends all faults; the refusal of new ones is in force before this is sent.
    Halt {
        why: String,
        reply: Reply<(usize, Leaving)>,
    },
    /// Puts a guard list into force.
    Guard {
        list: GuardList,
        reply: Reply<Result<(), EngineError>>,
    },
    /// A target has opened a socket where nothing is attached yet.
    Newcomer,
    /// A target has other places than before.
    Moved {
        key: TargetKey,
        resolved: Arc<Resolved>,
    },
    /// A target is no more.
    Gone {
        key: TargetKey,
        why: String,
    },
    /// A host name has these addresses now, and no others.
    Named {
        host: Hostname,
        addresses: Vec<IpAddr>,
    },
    /// A check of the node has failed.
    NodeUnhealthy {
        checks: Weak<Checks>,
        message: String,
    },
    /// A check of a fault has failed, unless the fault has others by now.
    Unhealthy {
        id: FaultId,
        checks: Weak<Checks>,
        message: String,
    },
    Shutdown {
        reply: Reply<()>,
    },
}

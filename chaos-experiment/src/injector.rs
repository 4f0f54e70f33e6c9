//! Whoever makes faults so.

use chaos_spec::NetworkFault;
use chaos_spec::api::{Packets, Reason};
use futures_util::future::BoxFuture;

/// Why a fault is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A rule of the node or of the house; asking again does not help.
    #[error("{0}")]
    Policy(String),
    /// All faults are halted.
    #[error("{0}")]
    Halted(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// What has become of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    Active(Packets),
    Ended {
        reason: Option<Reason>,
        message: String,
        packets: Packets,
    },
    /// Nobody knows a fault of this name.
    Unknown,
}

/// Makes faults so. Each is known by its name, which no other fault of the daemon has.
pub trait Injector: Send + Sync + 'static {
    /// Whether these would be let in, each by itself. Nothing changes.
    fn check(&self, faults: Vec<NetworkFault>) -> BoxFuture<'_, Result<(), Refusal>>;

    /// Makes it so: starts the fault, or changes the one of that name. Gives its seed.
    fn apply(&self, fault: NetworkFault) -> BoxFuture<'_, Result<u64, Refusal>>;

    /// Ends it, if it is there; when this returns, it acts on no packet any more. Gives what it came to, if it was
    /// there.
    fn end<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Packets>, String>>;

    fn look<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Look, String>>;
}

//! What keeps a fault from outliving its welcome: the lease, the halt, the journal, the guard list, the policy, and the lock
//! that keeps two daemons from stepping on each other.
#![forbid(unsafe_code)]

pub mod approvals;
pub mod caller;
pub mod clock;
pub mod documents;
pub mod durable;
pub mod guard;
pub mod halt;
pub mod health;
#[cfg(test)]
mod hostile;
pub mod journal;
pub mod lease;
pub mod lock;
pub mod policy;
pub mod privileges;
pub mod roles;
pub mod roster;

pub use approvals::Approvals;
pub use caller::{Caller, CertificatePeer, UnixPeer};
pub use documents::Documents;
pub use guard::GuardList;
pub use halt::HaltFile;
pub use journal::Journal;
pub use lease::{Heart, Lease, LeaseKeeper, Pulse};
pub use lock::HostLock;
pub use policy::PolicyKeeper;
pub use roster::Roster;

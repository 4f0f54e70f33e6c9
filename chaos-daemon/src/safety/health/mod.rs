//! Health checks: a fault does not start unless all is well, and ends when one of its checks fails.
//!
//! Each check is a task of its own with one probe at a time, so that one that hangs delays no other.

mod check;
mod sockets;
mod watch;

pub use check::{Checks, NotReady, Unsteady};
pub use sockets::{Guardian, Sockets};
pub use watch::Watching;

//! What the end-to-end tests are made of: network namespaces, real programs, a real daemon, and exact counts.
//!
//! Everything a test makes is a guard: dropped in reverse order, it is gone again. Nothing waits by sleeping a
//! fixed time for something to have happened; see [`eventually`] and [`settled`].
//!
//! No helper takes a device of the machine's own namespace: a [`Device`] comes from a link that the test made, and
//! the daemon itself runs in a namespace of its own, so that not even `host: true` could mean the machine.
#![forbid(unsafe_code)]

mod api;
mod bpf;
pub mod bulk;
mod capture;
mod cgroup;
mod chaosctl;
mod container;
mod daemon;
mod disk;
pub mod dns;
mod fault;
mod link;
mod netns;
pub mod oneway;
pub mod packet;
mod process;
mod proxy;
pub mod rate;
pub mod raw;
mod skip;
mod snapshot;
mod stall;
mod stats;
mod ticker;
mod topology;
mod wait;
pub mod workload;

pub use api::{Answer, Api};
pub use bpf::{BpfObjects, ForeignTcx, count_runs, keep_running_without_tcx, require_tcx};
pub use capture::{Capture, Frame, Way};
pub use cgroup::Cgroup;
pub use chaosctl::{Chaosctl, Output, View};
pub use container::Container;
pub use daemon::{Daemon, DaemonBuilder, binary};
pub use disk::{FailingDisk, SmallDisk};
pub use fault::FaultFile;
pub use link::{Device, bond, bridge, ipvlan, macvlan, veth, vlan, vxlan};
pub use netns::Netns;
pub use process::{Process, run};
pub use proxy::Proxy;
pub use skip::{Since, Skip, require_feature, require_processors, require_program};
pub use snapshot::Snapshot;
pub use stall::{Stopwatch, moved, stalled, stalls, watch_for_stalls};
pub use stats::{Bounds, binomial_999, lag1_correlation};
pub use ticker::{Ticker, Ticks};
pub use topology::{Host, Pair, Router, require_fq};
pub use wait::{
    boot_nanos, eventually, eventually_some, is_emulated, is_full_run, monotonic_nanos, patience, settled,
    until, within,
};
pub use workload::{Workload, helper_binary};

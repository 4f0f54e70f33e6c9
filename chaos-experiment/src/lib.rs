//! Experiments: what is well, what is done to it, when to stop, and when it has to be well again.
//!
//! [`conduct`] carries one out: `Preparing → Baseline → Injecting → RollingBack → Recovering → Done`. It asks an
//! [`Injector`] for faults and knows nothing of how they come about; it takes samples by `chaos-probe`.
//!
//! * [`judge`]: what the samples of one probe say, one by one and all together.
//! * [`watch`]: takes the samples.
//! * [`method`]: carries out the steps.
//! * [`report`]: what came out, for people and for programs.
#![forbid(unsafe_code)]

pub mod conduct;
mod injector;
mod judge;
mod ledger;
mod method;
pub mod report;
mod seen;
#[cfg(test)]
mod tests;
mod watch;

pub use conduct::{Conductor, Nets, StopOrder, conduct};
pub use injector::{Injector, Look, Refusal};
pub use ledger::Ledger;

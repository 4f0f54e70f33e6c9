//! Probes: one look at something that should be well gives one [`Sample`].
//!
//! * [`Prober`]: takes samples of what a [`chaos_spec::Probe`] names, each with a hard timeout and bounded memory.
//! * [`Net`]: where its sockets and programs come from; [`Direct`] is the plain way.
//! * [`Window`]: what shares and percentiles say over the last samples; [`Streak`]: when failures add up.
//!
//! What cannot be evaluated (no answer in time, a refusal, a malformed answer, NaN, no series or two) is a failure
//! with a reason, never a pass. The crate needs no rights and knows no daemon.
#![forbid(unsafe_code)]

mod kind;
mod net;
mod prober;
mod sample;
mod streak;
mod window;

pub use net::{Connection, Datagrams, Direct, Net, Pass};
pub use prober::{ProbeError, Prober};
pub use sample::{Fail, Reading, Sample};
pub use streak::{Streak, Verdict};
pub use window::Window;

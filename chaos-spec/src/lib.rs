//! What people write, and what goes over the wire.
//!
//! * [`spec`]: `NetworkFault` as it stands in a file, in the API and in a catalog.
//! * [`units`]: the small values inside it: a [`Chance`], a [`Duration`], a [`PortRange`], a [`Cidr`].
//! * [`api`]: what the daemon answers: status, plans, node facts, problems.
//! * [`warning`]: what a person should know about a fault that is accepted all the same.
//!
//! The crate knows no Linux, no async and no unsafe code: it builds on a laptop of any kind.
#![forbid(unsafe_code)]

pub mod api;
pub mod diagnostic;
pub mod parse;
pub mod path;
pub mod spec;
pub mod units;
pub mod validate;
pub mod warning;

pub use diagnostic::{Diagnostic, Diagnostics, Mark, SpecError};
pub use parse::{Located, MAX_TEXT_BYTES, parse, parse_body};
pub use path::SpecPath;
pub use spec::*;
pub use units::{ByteSize, Chance, Cidr, Duration, Hostname, PortRange, Rate};
pub use validate::validate;
pub use warning::{Warning, WarningKind};

//! What people write, and what goes over the wire.
//!
//! * [`spec`]: `NetworkFault` as it stands in a file, in the API and in a catalog.
//! * [`units`]: the small values inside it: a [`Chance`], a [`Duration`], a [`PortRange`], a [`Cidr`].
//! * [`catalog`]: experiments with places left open, and missions that fill them.
//! * [`experiment`]: `Experiment`, its steps, and the faults that they make.
//! * [`schedule`]: when an experiment begins by itself.
//! * [`api`]: what the daemon answers: status, plans, node facts, problems.
//! * [`audit`]: the form of the audit log, and how it shows what was done to it.
//! * [`parse()`]: files and request bodies, with a place for every error; [`validate()`]: what they may not say.
//! * [`mod@explain`]: what a fault does, in words; [`render`]: back to YAML; [`mod@schema`]: for editors.
//! * [`policy`]: what a node allows.
//! * [`warning`]: what a person should know about a fault that is accepted all the same.
//!
//! The crate knows no Linux, no async and no unsafe code: it builds on a laptop of any kind.
#![forbid(unsafe_code)]

pub mod api;
pub mod audit;
pub mod catalog;
pub mod diagnostic;
pub mod experiment;
pub mod explain;
pub mod import;
pub mod parse;
pub mod path;
pub mod policy;
pub mod render;
pub mod schedule;
pub mod schema;
pub mod spec;
pub mod units;
pub mod validate;
pub mod warning;

pub use diagnostic::{Diagnostic, Diagnostics, Mark, SpecError};
pub use explain::{Explanation, explain, summary};
pub use parse::{Located, MAX_TEXT_BYTES, parse, parse_body};
pub use path::SpecPath;
pub use render::{RenderError, to_yaml};
pub use schema::schema;
pub use spec::*;
pub use units::{
    ByteSize, Chance, Cidr, Comparison, DnsName, DnsType, Duration, Endpoint, HostPattern, Hostname, HttpUrl,
    LatencyBound, LatencyTolerance, Method, PathPattern, PortRange, Rate, ShareBound, StatusRange,
    ValueBound, ValueTolerance,
};
pub use validate::{MAX_FLOWS, validate, validate_health};
pub use warning::{Warning, WarningKind};

//! A `NetworkFault`: who is hit, which packets, what happens to them, for how long.
//!
//! Parsing into these types checks what one value can tell on its own (units, ranges, exactly one target).
//! What needs two fields side by side is checked afterwards, in one place, for files and for the API alike.

mod distribution;
mod dns;
mod drop;
mod expect;
mod fault;
mod health;
mod http;
mod line;
mod lists;
mod network_fault;
mod probe;
mod safety;
mod short_form;
mod target;
mod traffic;

pub use distribution::{Distribution, DistributionTable};
pub use dns::{Dns, DnsAction, DnsAnswer, DnsRecords, DnsTcp};
pub use drop::{Drop, DropModel, DropSignal, GilbertElliott, NetemCompat};
pub use expect::{Body, Expect, Statuses, WindowExpect};
pub use fault::{Checksum, Corrupt, Duplicate, Fault, FaultKind, Partition, Reject, RejectWith, Reset};
pub use health::HealthCheck;
pub use http::{Http, HttpAction, HttpHeaders, HttpResponse, RESPONSE_MAX};
pub use line::{Bandwidth, Delay, Order, Reorder};
pub use network_fault::{API_VERSION, FaultSpec, KIND, Metadata, NetworkFault};
pub use probe::{
    DnsProbe, ExecProbe, GrpcProbe, HttpProbe, Probe, PrometheusProbe, RecordType, Server, ServerError,
    TcpProbe, Tls,
};
pub use safety::Safety;
pub(crate) use short_form::{ShortForm, text_or_fields};
pub use target::{InterfaceTarget, PodSelect, PodsTarget, Target, TargetKind, TargetTextError};
pub use traffic::{Connections, Direction, Local, Protocol, Remote, Traffic};

pub(crate) use lists::not_empty;
pub(crate) use probe::{OneProbe, ProbeChoiceError};

/// For serde: leaves out what has its default value, so that what is rendered is what a person would write.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

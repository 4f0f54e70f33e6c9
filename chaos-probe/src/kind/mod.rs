//! The kinds of probe, each ready to be taken any number of times.

mod connect;
mod dns;
mod drive;
mod exec;
mod grpc;
mod http;
mod prometheus;
mod tcp;
mod text;
mod tls;

use chaos_spec::{Expect, Probe};

use crate::prober::ProbeError;
use crate::{Fail, Net, Reading};

pub(crate) enum Kind {
    Http(http::Http),
    Tcp(tcp::Tcp),
    Grpc(grpc::Grpc),
    Dns(dns::Dns),
    Exec(exec::Exec),
    Prometheus(prometheus::Prometheus),
}

impl Kind {
    pub(crate) fn new(probe: &Probe, expect: &Expect) -> Result<Self, ProbeError> {
        Ok(match probe {
            Probe::Http(probe) => Self::Http(http::Http::new(probe, expect)?),
            Probe::Tcp(probe) => Self::Tcp(tcp::Tcp::new(probe)),
            Probe::Grpc(probe) => Self::Grpc(grpc::Grpc::new(probe)),
            Probe::Dns(probe) => Self::Dns(dns::Dns::new(probe)?),
            Probe::Exec(probe) => Self::Exec(exec::Exec::new(probe, expect)?),
            Probe::Prometheus(probe) => Self::Prometheus(prometheus::Prometheus::new(probe, expect)?),
        })
    }

    pub(crate) async fn take(&self, net: &dyn Net) -> Result<Reading, Fail> {
        match self {
            Self::Http(kind) => kind.take(net).await,
            Self::Tcp(kind) => kind.take(net).await,
            Self::Grpc(kind) => kind.take(net).await,
            Self::Dns(kind) => kind.take(net).await,
            Self::Exec(kind) => kind.take(net).await,
            Self::Prometheus(kind) => kind.take(net).await,
        }
    }
}

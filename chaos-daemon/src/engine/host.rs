//! The real rooms behind the engine's traits.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use chaos_probe::Pass;
use chaos_spec::api::{Capability, Packets, PlannedFault};
use chaos_spec::{Target, WarningKind};

use super::kernel::{Brake, Kernel, Resolve};
use crate::datapath::{self, Arm, Armed, Datapath, DatapathError, FaultId, Leaving, OwnFlows};
use crate::safety::GuardList;
use crate::safety::health::Guardian;
use crate::target::{self, Liveness, Resolved, TargetError};

/// The host this daemon runs on.
#[derive(Clone, Copy, Debug)]
pub struct Host;

impl Resolve for Host {
    fn resolve(&self, target: &Target) -> Result<Resolved, TargetError> {
        target::resolve(target, &[])
    }

    fn still_there(&self, target: &Target, resolved: &Resolved) -> Liveness {
        target::check(target, &[], resolved)
    }
}

impl Guardian for OwnFlows {
    fn guard(&self, protocol: u8, local: SocketAddr, remote: SocketAddr) -> Result<Pass, String> {
        match Self::guard(self, protocol, local, remote) {
            Ok(flow) => Ok(Box::new(flow)),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Brake for datapath::Brake {
    fn pull(&self, id: FaultId) -> Result<(), String> {
        Self::pull(self, id).map_err(|error| error.to_string())
    }
}

impl Kernel for Datapath {
    fn capabilities(&self) -> Vec<Capability> {
        Self::capabilities(self)
    }

    fn arm(&mut self, arms: &[Arm]) -> Result<Vec<Armed>, DatapathError> {
        Self::arm(self, arms)
    }

    fn quiet(&mut self, ids: &[FaultId]) -> Result<(), DatapathError> {
        Self::quiet(self, ids)
    }

    fn disarm(&mut self, ids: &[FaultId]) -> Result<(), DatapathError> {
        Self::disarm(self, ids)
    }

    fn leaving(&mut self) -> Leaving {
        Self::leaving(self)
    }

    fn brake(&self) -> Box<dyn Brake> {
        Box::new(Self::brake(self))
    }

    fn plan(&self, arm: &Arm) -> Result<PlannedFault, DatapathError> {
        Self::plan(self, arm)
    }

    fn counters(&self, id: FaultId) -> Result<Packets, DatapathError> {
        Self::counters(self, id)
    }

    fn notices(&self, id: FaultId) -> Vec<WarningKind> {
        let mut notices = Vec::new();
        let met = self.met(id).unwrap_or_default();
        if met.super_packets {
            notices.push(WarningKind::SuperPackets);
        }
        for (packets, notice) in [
            (met.tls, WarningKind::TlsUnseen { packets: met.tls }),
            (met.http2, WarningKind::Http2Unseen { packets: met.http2 }),
            (met.split, WarningKind::RequestSplit { packets: met.split }),
        ] {
            if packets > 0 {
                notices.push(notice);
            }
        }
        match self.line_lost(id) {
            0 => {}
            packets => notices.push(WarningKind::LineLost { packets }),
        }
        notices
    }

    fn guard(&mut self, list: &GuardList) -> Result<(), DatapathError> {
        Self::guard(self, list)
    }

    fn gone(&mut self) -> Vec<(FaultId, String)> {
        Self::gone(self)
    }

    fn unfit(&mut self) -> Vec<FaultId> {
        Self::unfit(self)
    }

    fn newcomer_signal(&self) -> Option<OwnedFd> {
        match Self::newcomer_signal(self) {
            Ok(signal) => Some(signal),
            Err(error) => {
                tracing::warn!(%error, "new processes of a target are looked for ten times a second only");
                None
            }
        }
    }

    fn newcomers(&mut self) -> Vec<u32> {
        Self::newcomers(self)
    }

    fn statistics(&self) -> Vec<(&'static str, u64)> {
        self.stats().unwrap_or_else(|error| {
            tracing::debug!(%error, "no statistics");
            Vec::new()
        })
    }

    fn guardian(&mut self) -> Result<Arc<dyn Guardian>, DatapathError> {
        Ok(Arc::new(self.own_flows()?))
    }

    fn breathe(&mut self) {
        self.tend();
    }
}

//! Connections of the daemon's own that no fault touches, wherever their packets pass.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use aya::maps::{HashMap as Map, MapData};
use chaos_ebpf_common::abi::{FlowKey, control};
use chaos_ebpf_common::flow::Flow;

use super::DatapathError;
use crate::plan::address;
use crate::sys::shared::Words;

/// The list of them. Clones are the same list.
#[derive(Clone)]
pub struct OwnFlows(Arc<Shared>);

struct Shared {
    list: Mutex<List>,
    control: Arc<Words>,
}

struct List {
    map: Map<MapData, FlowKey, u32>,
    /// A flow may be there twice: its next user may come before its last one has let go.
    users: HashMap<FlowKey, u32>,
}

/// Guards one connection until it is dropped.
pub struct OwnFlow {
    flows: OwnFlows,
    key: FlowKey,
}

impl OwnFlows {
    pub(super) fn new(map: Map<MapData, FlowKey, u32>, control: Arc<Words>) -> Self {
        let list = Mutex::new(List {
            map,
            users: HashMap::new(),
        });
        Self(Arc::new(Shared { list, control }))
    }

    /// Guards the packets between two ends from now on. `protocol`: 6 or 17.
    ///
    /// # Errors
    /// The map is full.
    pub fn guard(
        &self,
        protocol: u8,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<OwnFlow, DatapathError> {
        let key = FlowKey::of(&Flow {
            local: address(local.ip()),
            remote: address(remote.ip()),
            local_port: local.port(),
            remote_port: remote.port(),
            protocol,
        });
        let mut list = self.0.list.lock().unwrap_or_else(PoisonError::into_inner);
        let users = list.users.get(&key).copied().unwrap_or(0);
        if users == 0 {
            list.map
                .insert(key, 1, 0)
                .map_err(|e| DatapathError::map("OWN_FLOWS", e))?;
        }
        list.users.insert(key, users + 1);
        self.publish(&list);
        Ok(OwnFlow {
            flows: self.clone(),
            key,
        })
    }

    /// Programs look into the map only when it holds something.
    fn publish(&self, list: &List) {
        self.0.control.store(control::OWN_FLOWS, list.users.len() as u64);
    }
}

impl Drop for OwnFlow {
    fn drop(&mut self) {
        let mut list = self.flows.0.list.lock().unwrap_or_else(PoisonError::into_inner);
        let users = list.users.get(&self.key).copied().unwrap_or(0);
        if users > 1 {
            list.users.insert(self.key, users - 1);
            return;
        }
        list.users.remove(&self.key);
        if let Err(error) = list.map.remove(&self.key) {
            tracing::warn!(%error, "a connection of a health check stays guarded after its end");
        }
        self.flows.publish(&list);
    }
}

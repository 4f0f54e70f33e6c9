//! NetworkFaults as a user writes them.

use std::fmt;

use serde_json::{Value, json};

use crate::{Cgroup, Device, Netns};

/// One NetworkFault document. Printed as JSON, which is YAML.
#[derive(Clone, Debug)]
pub struct FaultFile(Value);

impl FaultFile {
    /// `target` and `fault` as in a spec; for a minute, unless [`FaultFile::lasting`] says otherwise.
    pub fn new(name: &str, target: Value, fault: Value) -> Self {
        assert!(target.get("host").is_none(), "no test aims at a host");
        Self(json!({
            "apiVersion": "chaos-daemon.dev/v1alpha1",
            "kind": "NetworkFault",
            "metadata": {"name": name},
            "spec": {"target": target, "fault": fault, "duration": "60s"},
        }))
    }

    pub fn on_netns(name: &str, netns: &Netns, fault: Value) -> Self {
        Self::new(name, json!({"netns": netns.path()}), fault)
    }

    pub fn on_cgroup(name: &str, cgroup: &Cgroup, fault: Value) -> Self {
        Self::new(name, json!({"cgroup": cgroup.path()}), fault)
    }

    pub fn on_device(name: &str, device: &Device, fault: Value) -> Self {
        let target = json!({"interface": {"name": device.name(), "netns": device.netns().path()}});
        Self::new(name, target, fault)
    }

    #[must_use]
    pub fn traffic(self, traffic: Value) -> Self {
        self.set("/spec", "traffic", traffic)
    }

    #[must_use]
    pub fn lasting(self, duration: &str) -> Self {
        self.set("/spec", "duration", json!(duration))
    }

    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.set("/spec", "seed", json!(seed))
    }

    #[must_use]
    pub fn max_packets(self, packets: u64) -> Self {
        self.set("/spec", "safety", json!({"maxPackets": packets}))
    }

    #[must_use]
    pub fn max_flows(self, flows: u64) -> Self {
        self.set("/spec", "safety", json!({"maxFlows": flows}))
    }

    /// Replaces `spec.fault`.
    #[must_use]
    pub fn fault(self, fault: Value) -> Self {
        self.set("/spec", "fault", fault)
    }

    /// Sets any field, also to something wrong; `pointer` names the object it is in.
    #[must_use]
    pub fn set(mut self, pointer: &str, field: &str, value: Value) -> Self {
        let object = self
            .0
            .pointer_mut(pointer)
            .unwrap_or_else(|| panic!("no {pointer} in the document"));
        object[field] = value;
        self
    }

    pub fn value(&self) -> &Value {
        &self.0
    }

    pub fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().expect("made with a name")
    }
}

impl fmt::Display for FaultFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

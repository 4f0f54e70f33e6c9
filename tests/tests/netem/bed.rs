//! A cable, and the two tools that make it worse.

use std::fs;
use std::time::Duration;

use chaos_tests::{Chaosctl, Daemon, FaultFile, Pair, run, settled};
use serde_json::Value;

/// Longer than the verifier takes over one program.
const CALM: Duration = Duration::from_secs(3);

/// One fault, said to both.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// After `tc qdisc add dev … root`.
    pub(crate) tc: String,
    pub(crate) ours: Value,
}

/// Client and server, and a daemon beside them.
pub(crate) struct Bed {
    ctl: Chaosctl,
    daemon: Daemon,
    pub(crate) net: Pair,
}

impl Bed {
    pub(crate) fn new() -> Self {
        let net = Pair::new();
        for end in [&net.client, &net.server] {
            // Room for what is on its way through 200 ms.
            for buffer in ["ipv4/tcp_rmem", "ipv4/tcp_wmem"] {
                end.netns.sysctl(buffer, "4096 262144 67108864");
            }
        }
        let daemon = Daemon::start();
        Self {
            ctl: daemon.ctl(),
            daemon,
            net,
        }
    }

    /// Measures with each tool in turn: netem, ours, and what ours warned of.
    pub(crate) fn both<T>(&self, case: &Case, mut measure: impl FnMut() -> T) -> (T, T, String) {
        let device = &self.net.client.device;
        let name = device.name();
        device
            .netns()
            .tc(&format!("qdisc add dev {name} root {}", case.tc));
        let netem = measure();
        device.netns().tc(&format!("qdisc del dev {name} root"));

        let fault = FaultFile::on_netns("worse", device.netns(), case.ours.clone()).lasting("600s");
        self.ctl.apply(&[fault.seed(1)]);
        // It loads programs for the next namespace ahead, and an emulated machine stands still while kernel code is
        // made.
        settled(CALM, || self.daemon.bpf_objects());
        let ours = measure();
        let warnings = self.ctl.fault("worse").warnings().join(" ");
        self.ctl.delete("worse");
        (netem, ours, warnings)
    }
}

/// Whether this kernel has netem: asks for one.
pub(crate) fn has_netem() -> bool {
    let net = Pair::new();
    let device = net.client.device.name().to_owned();
    net.client.netns.enter(|| {
        std::process::Command::new("tc")
            .args(["qdisc", "add", "dev", &device, "root", "netem", "delay", "1ms"])
            .stderr(std::process::Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })
}

/// Whether this kernel has a congestion control.
pub(crate) fn has_control(name: &str) -> bool {
    // The kernel loads it by itself for whoever has CAP_NET_ADMIN, but not inside a namespace.
    let _ = std::panic::catch_unwind(|| run(&["modprobe", &format!("tcp_{name}")]));
    fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control")
        .unwrap_or_default()
        .split_whitespace()
        .any(|word| word == name)
}

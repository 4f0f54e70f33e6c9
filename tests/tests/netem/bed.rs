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

/// What belongs to netem (or tbf), and what to us.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sides<T> {
    pub(crate) netem: T,
    pub(crate) ours: T,
}

/// Two cables, one for each tool, and a daemon beside them.
pub(crate) struct Bed {
    ctl: Chaosctl,
    daemon: Daemon,
    nets: Sides<Pair>,
}

impl Bed {
    /// With a daemon that gets these arguments.
    pub(crate) fn new(args: &[&str]) -> Self {
        let nets = Sides::of(|| {
            let net = Pair::new();
            for end in [&net.client, &net.server] {
                // Room for what is on its way through 200 ms.
                for buffer in ["ipv4/tcp_rmem", "ipv4/tcp_wmem"] {
                    end.netns.sysctl(buffer, "4096 262144 67108864");
                }
            }
            net
        });
        let daemon = Daemon::builder().args(args).start();
        Self {
            ctl: daemon.ctl(),
            daemon,
            nets,
        }
    }

    /// Measures both cables as they are.
    pub(crate) fn healthy<T>(&self, measure: impl Fn(&Pair) -> T) -> Sides<T> {
        Sides {
            netem: measure(&self.nets.netem),
            ours: measure(&self.nets.ours),
        }
    }

    /// Measures with the tools in turn, so many times, and tells what our fault warned of. In turn, since a machine that is
    /// shared is slower at one time than at another.
    pub(crate) fn both<T>(
        &self,
        case: &Case,
        rounds: usize,
        mut measure: impl FnMut(&Pair) -> T,
    ) -> (Sides<Vec<T>>, String) {
        let device = &self.nets.netem.client.device;
        let name = device.name();
        device
            .netns()
            .tc(&format!("qdisc add dev {name} root {}", case.tc));
        let netns = self.nets.ours.client.device.netns();
        let fault = FaultFile::on_netns("worse", netns, case.ours.clone()).lasting("1h");
        self.ctl.apply(&[fault.seed(1)]);
        // It loads programs for the next namespace ahead, and an emulated machine stands still while kernel code is
        // made.
        settled(CALM, || self.daemon.bpf_objects());

        let mut measured = Sides::of(Vec::new);
        for _ in 0..rounds {
            measured.netem.push(measure(&self.nets.netem));
            measured.ours.push(measure(&self.nets.ours));
        }
        let warnings = self.ctl.fault("worse").warnings().join(" ");
        self.ctl.delete("worse");
        device.netns().tc(&format!("qdisc del dev {name} root"));
        (measured, warnings)
    }

    /// The same, once.
    pub(crate) fn once<T>(&self, case: &Case, measure: impl FnMut(&Pair) -> T) -> (Sides<T>, String) {
        let (measured, warnings) = self.both(case, 1, measure);
        (measured.map(|mut one| one.remove(0)), warnings)
    }
}

impl<T> Sides<T> {
    fn of(mut make: impl FnMut() -> T) -> Self {
        Self {
            netem: make(),
            ours: make(),
        }
    }

    pub(crate) fn map<U>(self, mut change: impl FnMut(T) -> U) -> Sides<U> {
        Sides {
            netem: change(self.netem),
            ours: change(self.ours),
        }
    }

    pub(crate) const fn as_ref(&self) -> Sides<&T> {
        Sides {
            netem: &self.netem,
            ours: &self.ours,
        }
    }

    pub(crate) fn with<U>(self, other: Sides<U>) -> Sides<(T, U)> {
        Sides {
            netem: (self.netem, other.netem),
            ours: (self.ours, other.ours),
        }
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

//! Containers whose device is a share of one of the host's: macvlan, and ipvlan in its modes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use chaos_tests::{Daemon, Device, FaultFile, Netns, Pair, Skip, Workload, ipvlan, macvlan, need};
use serde_json::{Value, json};

use crate::bed::SOON;

const POD: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 50);
const PORT: u16 = 8000;

/// A container on a share of the client's device, and what it talks to.
struct Shared {
    pod: Netns,
    inside: Workload,
    outside: Workload,
    net: Pair,
}

impl Shared {
    fn new(share: impl FnOnce(&Device) -> Result<Device, Skip>) -> Result<Self, Skip> {
        let (net, pod) = (Pair::new(), Netns::new());
        let device = share(&net.client.device)?;
        let name = device.name();
        net.client
            .netns
            .ip(&format!("link set {name} netns {}", pod.name()));
        for command in [
            format!("link set {name} up"),
            format!("addr add {POD}/24 dev {name}"),
        ] {
            pod.ip(&command);
        }
        Ok(Self {
            inside: Workload::start(&pod, None),
            outside: Workload::start(&net.server.netns, None),
            pod,
            net,
        })
    }

    /// In layer 3 modes nobody answers for the container's address.
    fn known(self) -> Self {
        let mac = self
            .net
            .client
            .device
            .mac()
            .map(|byte| format!("{byte:02x}"))
            .join(":");
        let server = &self.net.server;
        server.netns.ip(&format!(
            "neigh replace {POD} lladdr {mac} dev {}",
            server.device.name()
        ));
        self
    }

    /// Milliseconds that a question of this many bytes takes, either way.
    fn asks(&self, bytes: usize) -> [f64; 2] {
        let server = self.net.server.at(PORT);
        let pod = SocketAddr::new(IpAddr::V4(POD), PORT);
        [(&self.inside, server), (&self.outside, pod)].map(|(from, to)| {
            let stream = from.tcp_open(None, to, SOON).stream();
            let exchanged = from.tcp_exchange(stream, bytes, Duration::from_secs(20));
            assert_eq!(exchanged.result, Ok(0), "to {to}");
            from.close(stream);
            exchanged.micros as f64 / 1e3
        })
    }
}

/// Every kind of fault acts both ways on what the container sends and gets, and leaves its connections whole.
fn all_faults(shared: &Shared) {
    let daemon = Daemon::start();
    let ctl = daemon.ctl();
    shared.outside.tcp_serve(shared.net.server.at(PORT));
    shared.inside.tcp_serve(SocketAddr::new(IpAddr::V4(POD), PORT));
    println!("healthy {:?}", shared.asks(1 << 18));
    for direction in ["egress", "ingress"] {
        let acts = |fault: Value, counter: &str, bytes: usize| {
            let file = FaultFile::on_netns("acts", &shared.pod, fault.clone()).seed(1);
            ctl.apply(&[file.traffic(json!({"direction": direction, "protocol": "tcp"}))]);
            let took = shared.asks(bytes);
            ctl.delete("acts");
            let view = ctl.wait_for_phase("acts", "Ended");
            println!(
                "{fault} {direction}: {took:?} ms, {} {counter}",
                view.packets(counter)
            );
            assert!(view.packets(counter) > 0, "{}", view.0);
            took
        };
        for fault in ["drop", "duplicate", "corrupt"] {
            let counter = match fault {
                "drop" => "dropped",
                "duplicate" => "duplicated",
                _ => "corrupted",
            };
            // What is not mended is seen by the receiver, and sent again.
            let mut how = json!({"chance": "2%"});
            if fault == "corrupt" {
                how["checksum"] = json!("leave");
            }
            acts(json!({fault: how}), counter, 1 << 20);
        }
        acts(json!({"bandwidth": {"rate": "20mbit"}}), "throttled", 1 << 18);
        for took in acts(json!({"delay": {"latency": "40ms"}}), "delayed", 100) {
            assert!(took >= 40.0, "{took}");
        }
    }
}

#[test]
fn of_a_macvlan() {
    all_faults(&need!(Shared::new(|device| macvlan(device, "pod0"))));
}

#[test]
fn of_an_ipvlan_by_addresses_of_layer_2() {
    all_faults(&need!(Shared::new(|device| ipvlan(device, "pod0", "l2"))));
}

#[test]
fn of_an_ipvlan_that_routes() {
    all_faults(&need!(Shared::new(|device| ipvlan(device, "pod0", "l3"))).known());
}

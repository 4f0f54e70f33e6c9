//! Every kind of way that a packet can go gives through a line what it gives without one.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use chaos_tests::{
    Capture, Daemon, FaultFile, Host, Pair, Router, Snapshot, Way, Workload, eventually, is_emulated, need,
    raw, vlan,
};
use serde_json::{Value, json};

use crate::bed::{Bed, SOON};

const LATENCY: u64 = 20_000;
/// What a busy machine may add.
fn busy() -> u64 {
    if is_emulated() { 300_000 } else { 30_000 }
}

fn late() -> Value {
    json!({"delay": {"latency": "20ms"}})
}

/// Datagrams of this size all arrive, whole and in order.
fn datagrams(client: &Workload, server: &Workload, to: SocketAddr, size: usize) {
    const COUNT: u64 = 200;
    let sink = server.udp_sink(to);
    let sent = client.udp_send_from(None, to, 0, COUNT, size);
    assert_eq!(
        (sent.accepted, sent.errors.len()),
        (COUNT, 0),
        "{to} {size}: {sent:?}"
    );
    eventually(SOON, &format!("all of {size} bytes arrive at {to}"), || {
        server.sink_report(sink).received() >= COUNT
    });
    let report = server.sink_report(sink);
    assert_eq!(report.received(), COUNT);
    assert!(
        report.in_order() && report.flipped.is_empty(),
        "{to} {size}: {report:?}"
    );
}

/// A connection takes the latency once, and a large exchange comes back whole.
pub(crate) fn stream(client: &Workload, server: &Workload, to: SocketAddr) {
    server.tcp_serve(to);
    let patience = Duration::from_secs(20);
    let opened = client.tcp_open(None, to, patience);
    assert!(
        (LATENCY..LATENCY + busy()).contains(&opened.micros),
        "{to}: connecting took {} µs",
        opened.micros
    );
    let exchanged = client.tcp_exchange(opened.stream(), 4 << 20, patience);
    assert_eq!(exchanged.result, Ok(0), "{to}: {exchanged:?}");
    client.close(opened.stream());
}

#[test]
fn every_mtu_and_both_families() {
    let net = Pair::new();
    let (client, server) = (
        Workload::start(&net.client.netns, None),
        Workload::start(&net.server.netns, None),
    );
    let daemon = Daemon::start();
    let ctl = daemon.ctl();
    let mut port = 7000;
    for mtu in [1280_usize, 1500, 9000] {
        for Host { device, netns, .. } in [&net.client, &net.server] {
            netns.ip(&format!("link set {} mtu {mtu}", device.name()));
        }
        let before = Snapshot::of_devices(&[&net.client.device, &net.server.device]);
        // By wire packets, too: the line cuts what the stack leaves to the device.
        for fault in [
            late(),
            json!({"delay": {"latency": "20ms"}, "drop": {"chance": "0%"}}),
        ] {
            ctl.apply(&[FaultFile::on_netns("late", &net.client.netns, fault)]);
            for to in [net.server.at(port), net.server.at6(port)] {
                let headers = if to.is_ipv4() { 28 } else { 48 };
                // The last in fragments.
                for size in [64, mtu - headers, mtu + 500] {
                    port += 1;
                    datagrams(&client, &server, SocketAddr::new(to.ip(), port), size);
                }
                stream(&client, &server, SocketAddr::new(to.ip(), port));
            }
            let view = ctl.fault("late");
            assert!(view.packets("delayed") > 1_000 && view.packets("dropped") == 0);
            ctl.delete("late");
            ctl.wait_for_phase("late", "Ended");
        }
        Snapshot::of_devices(&[&net.client.device, &net.server.device]).assert_same_as(&before);
    }
}

#[test]
fn vlan_devices_and_tagged_frames_below_them() {
    let net = Pair::new();
    let c7 = need!(vlan(&net.client.device, 7));
    let s7 = need!(vlan(&net.server.device, 7));
    for (device, n) in [(&c7, 1), (&s7, 2)] {
        device.add_v4(Ipv4Addr::new(10, 79, 0, n), 24);
        device.add_v6(Ipv6Addr::new(0xfd79, 0, 0, 0, 0, 0, 0, n.into()), 64);
    }
    let (client, server) = (
        Workload::start(&net.client.netns, None),
        Workload::start(&net.server.netns, None),
    );
    let daemon = Daemon::start();
    let ctl = daemon.ctl();
    let mut port = 7000;
    let check = |file: FaultFile, port: u16| {
        let name = file.name().to_owned();
        ctl.apply(&[file]);
        let v4 = SocketAddr::new(Ipv4Addr::new(10, 79, 0, 2).into(), port);
        let v6 = SocketAddr::new(Ipv6Addr::new(0xfd79, 0, 0, 0, 0, 0, 0, 2).into(), port);
        for to in [v4, v6] {
            datagrams(&client, &server, to, 1000);
            stream(&client, &server, to);
        }
        let view = ctl.fault(&name);
        assert!(view.packets("delayed") > 200, "{name}: {view:?}");
        assert_eq!(view.packets("dropped"), 0);
        ctl.delete(&name);
        ctl.wait_for_phase(&name, "Ended");
    };
    let wire = json!({"delay": {"latency": "20ms"}, "drop": {"chance": "0%"}});
    for (name, fault) in [("late", late()), ("wire", wire)] {
        // At the VLAN device frames have no tag; below it they have.
        for (where_, device) in [("vlan", &c7), ("below", &net.client.device)] {
            for direction in ["egress", "ingress"] {
                let file =
                    FaultFile::on_device(&format!("{name}-{where_}-{direction}"), device, fault.clone());
                check(file.traffic(json!({"direction": direction})), port);
                port += 1;
            }
        }
    }
}

/// As above where no VLAN device can be made: frames that have their tags already, and such whose tag the kernel has
/// taken off when they arrived.
#[test]
fn tags_come_out_of_the_line_as_they_went_in() {
    // The kernel line lets frames under two tags pass.
    let bed = Bed::with(&["--line", "user"]);
    let (client, server) = (&bed.net.client, &bed.net.server);
    for (name, hook, times) in [("leaving", "egress", 1), ("arriving", "ingress", 2)] {
        let file = if hook == "egress" {
            bed.on_client(name, late())
        } else {
            bed.on_server(name, late())
        };
        bed.ctl
            .apply(&[file.traffic(json!({"direction": hook, "protocol": "udp"}))]);
        let wire = Capture::start(&server.device, Way::In, "");
        let frames: Vec<Vec<u8>> = [&[][..], &[7], &[7, 8]]
            .into_iter()
            .map(|tags| {
                let mark = format!("<{tags:?} {name}>");
                let packet = raw::udp_v4(client, server, 9000, mark.as_bytes());
                raw::ethernet(client, server, tags, 0x0800, &packet)
            })
            .collect();
        raw::send_frames(&client.device, &frames);
        for frame in &frames {
            let seen = || -> Vec<u64> {
                let frames = wire.frames();
                let same = frames.iter().filter(|seen| seen.bytes == *frame);
                same.map(|seen| seen.nanos).collect()
            };
            eventually(SOON, &format!("{name}: {frame:x?}"), || seen().len() == times);
            if let [first, second] = seen()[..] {
                assert!(second - first >= 20_000_000, "{name}: {first} {second}");
            }
        }
        let view = bed.delete(name);
        assert_eq!(view.packets("delayed"), 3);
    }
}

#[test]
fn a_smaller_mtu_behind_a_router_is_found_out() {
    let net = Router::new();
    let [_, towards_server, _] = &net.ports;
    towards_server
        .netns()
        .ip(&format!("link set {} mtu 1300", towards_server.name()));
    // The server keeps to it, or a veth would lose the last segment of its answer, and says nothing of it to the client.
    for family in ["-4", "-6"] {
        let route = net.server.netns.ip(&format!("{family} route show default"));
        let route = route.split(" metric").next().expect("a first part").trim();
        net.server
            .netns
            .ip(&format!("{family} route replace {route} mtu 1300 advmss 1440"));
    }
    let (client, server) = (
        Workload::start(&net.client.netns, None),
        Workload::start(&net.server.netns, None),
    );
    let daemon = Daemon::start();
    let ctl = daemon.ctl();
    let wire = json!({"delay": {"latency": "10ms"}, "drop": {"chance": "0%"}});
    ctl.apply(&[FaultFile::on_netns("both", &net.client.netns, wire).traffic(json!({"direction": "both"}))]);
    for (to, family) in [(net.server.at(8080), "-4"), (net.server.at6(8081), "-6")] {
        stream(&client, &server, to);
        // The router's "too big" came through the line and was understood.
        let route = net.client.netns.ip(&format!("{family} route get {}", to.ip()));
        assert!(route.contains("mtu 1300"), "{to}: {route}");
    }
    let view = ctl.fault("both");
    assert_eq!(view.packets("dropped"), 0);
    assert_eq!(view.packets("delayed"), view.packets("matched"));
}

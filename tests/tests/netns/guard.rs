//! The guard list: what no fault touches, whatever it names.

use std::time::{Duration, Instant};

use chaos_tests::{Daemon, FaultFile, Host, Pair, Workload};
use serde_json::json;

use crate::bed::{BRIEF, SOON};

fn asks(client: &Workload, to: std::net::SocketAddr) -> bool {
    client
        .udp_ask(client.udp_open(None, Some(to)), BRIEF)
        .result
        .is_ok()
}

/// Lets neighbour entries run out within a test: in real life it takes half a minute.
pub(crate) fn hurry_neighbours(host: &Host) {
    for family in ["ipv4", "ipv6"] {
        for (key, value) in [
            ("base_reachable_time_ms", "200"),
            ("delay_first_probe_time", "1"),
            ("gc_stale_time", "1"),
        ] {
            let key = format!("{family}/neigh/{}/{key}", host.device.name());
            host.netns.sysctl(&key, value);
        }
    }
}

#[test]
fn ssh_and_the_neighbours_survive_a_partition_both_ways_and_nothing_else_does() {
    let net = Pair::new();
    for host in [&net.client, &net.server] {
        hurry_neighbours(host);
    }
    let daemon = Daemon::start();
    let ctl = daemon.ctl();
    let (client, server) = (
        Workload::start(&net.client.netns, None),
        Workload::start(&net.server.netns, None),
    );
    let (ssh, ssh6) = (net.server.at(22), net.server.at6(22));
    for to in [ssh, ssh6, net.server.at(23), net.server.at6(23)] {
        server.tcp_serve(to);
        server.udp_echo(to);
    }
    let streams = [ssh, ssh6].map(|to| client.tcp_open(None, to, SOON).stream());
    let cut = FaultFile::on_netns("island", &net.server.netns, json!({"partition": {}}));
    ctl.apply(&[cut.traffic(json!({"direction": "both"})).lasting("10m")]);

    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(4) {
        for (stream, to) in streams.iter().zip([ssh, ssh6]) {
            assert_eq!(
                client.tcp_exchange(*stream, 1000, SOON).result,
                Ok(0),
                "{to} after {:?}",
                start.elapsed()
            );
        }
        for host in [&net.client, &net.server] {
            host.netns.ip(&format!("neigh flush dev {}", host.device.name()));
        }
    }
    for to in [ssh, ssh6] {
        client.tcp_open(None, to, SOON).stream();
        assert!(!asks(&client, to), "udp 22 is not ssh");
    }
    for to in [net.server.at(23), net.server.at6(23)] {
        assert_eq!(client.tcp_open(None, to, BRIEF).error(), "timeout", "{to}");
    }
    // In the other direction: the target's own ssh client.
    client.tcp_serve(net.client.at(22));
    server.tcp_open(None, net.client.at(22), SOON).stream();
    for address in net.server.addresses() {
        let ping = ["ping", "-c", "3", "-i", "0.05", "-W", "1", &address.to_string()].map(str::to_owned);
        let argv: Vec<&str> = ping.iter().map(String::as_str).collect();
        let lost =
            chaos_tests::Process::spawn(&net.client.netns, None, &argv).finish(Duration::from_secs(10));
        assert!(lost.stdout.contains("100% packet loss"), "{}", lost.stdout);
    }
    ctl.delete("island");
    assert!(asks(&client, net.server.at(23)));
}

#[test]
fn configured_ports_and_addresses_are_guarded_too() {
    let net = Pair::new();
    net.server.device.add_v4("10.77.0.3".parse().expect("v4"), 24);
    net.server.device.add_v6("fd77::3".parse().expect("v6"), 64);
    let daemon = Daemon::builder()
        .args(&[
            "--guard",
            "etcd=udp/2379-2380",
            "--guard-cidr",
            "bastion=10.77.0.3/32",
            "--guard-cidr",
            "six=fd77::3/128",
        ])
        .start();
    let ctl = daemon.ctl();
    let (client, server) = (
        Workload::start(&net.client.netns, None),
        Workload::start(&net.server.netns, None),
    );
    let places = [
        ("10.77.0.2:2379", true),
        ("10.77.0.2:2380", true),
        ("10.77.0.2:2381", false),
        ("10.77.0.3:2381", true),
        ("[fd77::2]:2380", true),
        ("[fd77::2]:2381", false),
        ("[fd77::3]:2381", true),
    ]
    .map(|(place, guarded)| (place.parse().expect("an address and a port"), guarded));
    for (place, _) in places {
        server.udp_echo(place);
    }
    for (name, netns) in [("client", &net.client.netns), ("server", &net.server.netns)] {
        let fault = FaultFile::on_netns(name, netns, json!({"partition": {}}));
        ctl.apply(&[fault.traffic(json!({"direction": "both"}))]);
        for (place, guarded) in places {
            // Seen from the server the guarded addresses are local ones, and those are no bastion.
            let guarded = guarded && (name == "client" || !place.ip().to_string().ends_with('3'));
            assert_eq!(asks(&client, place), guarded, "{name}: {place}");
        }
        ctl.delete(name);
    }
    let status = ctl.ok(&["status"]).stdout;
    assert!(status.contains("etcd") && status.contains("bastion"), "{status}");
}

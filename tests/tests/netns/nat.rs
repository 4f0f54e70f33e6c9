//! Hosts that translate addresses: containers behind a masquerading host, published ports, and addresses of services.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use chaos_tests::workload::Handle;
use chaos_tests::{
    Cgroup, Daemon, FaultFile, Netns, Since, Skip, Workload, eventually, need, require_feature,
    require_program,
};
use serde_json::{Value, json};

use crate::bed::{BRIEF, SOON};
use crate::stacked::{Node, end, inside, outside};

/// Of the service, whose backends are the first container's (from the node) and the neighbour's (from other containers).
const SERVICE: [&str; 2] = ["10.96.0.10", "fd96::10"];
const PUBLISHED: u16 = 8080;
/// Where that is listened to.
const BEHIND_HOST: u16 = 8000;
/// Where the backends of the service listen.
const BEHIND_SERVICE: u16 = 8001;

/// Translates as container runtimes and kube-proxy have a host do.
fn translate(node: &Node) {
    for (family, iptables) in ["iptables", "ip6tables"].into_iter().enumerate() {
        let (service, container, neighbour) = (SERVICE[family], inside(2)[family], outside(2)[family]);
        let host = outside(1)[family];
        let prefix = if family == 0 { 24 } else { 64 };
        let from = format!("{}/{prefix}", inside(0)[family]);
        let at = SocketAddr::new;
        for rule in [
            format!("POSTROUTING -s {from} ! -o br0 -j MASQUERADE"),
            format!(
                "PREROUTING -d {host} -p tcp --dport {PUBLISHED} -j DNAT --to {}",
                at(container, BEHIND_HOST)
            ),
            format!(
                "PREROUTING -d {service} -p tcp --dport 80 -j DNAT --to {}",
                at(neighbour, BEHIND_SERVICE)
            ),
            format!(
                "OUTPUT -d {service} -p tcp --dport 80 -j DNAT --to {}",
                at(container, BEHIND_SERVICE)
            ),
        ] {
            let mut argv = vec![iptables, "-t", "nat", "-A"];
            argv.extend(rule.split(' '));
            node.netns.run(&argv);
        }
        // Whatever is routed: the address is nobody's.
        let family = if family == 0 { "-4" } else { "-6" };
        let bits = if family == "-4" { 32 } else { 128 };
        node.netns
            .ip(&format!("{family} route add {service}/{bits} dev br0"));
    }
}

/// A host that does so.
fn translating() -> Result<Node, Skip> {
    require_nat()?;
    let node = Node::new()?;
    translate(&node);
    Ok(node)
}

fn require_nat() -> Result<(), Skip> {
    require_program("iptables")?;
    let works = |program| {
        let listed = Netns::new().enter(|| Command::new(program).args(["-t", "nat", "-S"]).output());
        listed.is_ok_and(|output| output.status.success())
    };
    let since = Since::Config("CONFIG_IP_NF_NAT, CONFIG_IP6_NF_NAT");
    require_feature(
        "address translation",
        since,
        works("iptables") && works("ip6tables"),
    )
}

/// A way through the node, with the directions in which it sees what the client sends.
struct Path<'a> {
    name: &'static str,
    client: &'a Workload,
    server: &'a Workload,
    dialled: [SocketAddr; 2],
    listening: [SocketAddr; 2],
    directions: &'static [&'static str],
}

fn paths(node: &Node) -> [Path<'_>; 4] {
    let [a, b] = &node.containers;
    let at = |to: [IpAddr; 2], port| to.map(|to| SocketAddr::new(to, port));
    let service = at(SERVICE.map(|text| text.parse().expect("an address")), 80);
    let path = |name, client, server, dialled, listening, directions| Path {
        name,
        client,
        server,
        dialled,
        listening,
        directions,
    };
    let through: &[&str] = &["egress", "ingress"];
    let (plain, behind_host) = (at(outside(2), 9000), at(inside(2), BEHIND_HOST));
    let (inner, outer) = (at(inside(2), BEHIND_SERVICE), at(outside(2), BEHIND_SERVICE));
    [
        path("masqueraded", a, &node.neighbour, plain, plain, through),
        path(
            "published",
            &node.neighbour,
            a,
            at(outside(1), PUBLISHED),
            behind_host,
            through,
        ),
        path("service", b, &node.neighbour, service, outer, through),
        path("service of the host", &node.host, a, service, inner, &["egress"]),
    ]
}

fn open(client: &Workload, to: SocketAddr) -> Handle {
    client.tcp_open(None, to, SOON).stream()
}

/// What refuses or tears a connection down on its way through is believed by whoever opened it, under the addresses that it
/// knows, and by the other end.
#[test]
fn refusals_and_resets_find_their_way_back() {
    let node = need!(translating());
    let daemon = Daemon::start();
    let ctl = daemon.ctl();
    for path in paths(&node) {
        for (to, at) in path.dialled.into_iter().zip(path.listening) {
            let server = path.server.tcp_serve(at);
            let resets = || path.server.server_report(server).reset;
            for direction in path.directions {
                let what = format!("{}, {direction}, {to}", path.name);
                let traffic = json!({"direction": direction, "protocol": "tcp"});
                for with in ["reset", "icmp"] {
                    let fault = node.fault("refused", json!({"reject": {"with": with}}));
                    ctl.apply(&[fault.traffic(traffic.clone())]);
                    let opened = path.client.tcp_open(None, to, SOON);
                    assert_eq!(opened.error(), "ECONNREFUSED", "{what}, {with}");
                    end(&ctl, "refused");
                }
                for fault in [
                    json!({"reject": {"with": "reset"}}),
                    json!({"reset": {"chance": "100%"}}),
                ] {
                    let stream = open(path.client, to);
                    assert_eq!(
                        path.client.tcp_exchange(stream, 1000, SOON).result,
                        Ok(0),
                        "{what}"
                    );
                    let before = resets();
                    ctl.apply(&[node.fault("torn", fault.clone()).traffic(traffic.clone())]);
                    let exchanged = path.client.tcp_exchange(stream, 1000, SOON);
                    assert_eq!(exchanged.result, Err("ECONNRESET".to_owned()), "{what}, {fault}");
                    eventually(SOON, &format!("{what}, {fault}: the server hears of it"), || {
                        resets() == before + 1
                    });
                    end(&ctl, "torn");
                    path.client.close(stream);
                }
            }
            path.server.close(server);
        }
    }
}

/// Delays, limits and losses on the way leave connections whole.
#[test]
fn translated_streams_pass_lines_whole() {
    let node = need!(translating());
    let daemon = Daemon::start();
    let ctl = daemon.ctl();
    let late = Duration::from_millis(20);
    let faults = [
        json!({"delay": {"latency": "20ms"}}),
        json!({"drop": {"chance": "5%"}, "delay": {"latency": "20ms", "jitter": "2ms"}}),
        json!({"bandwidth": {"rate": "200mbit"}, "delay": {"latency": "20ms"}}),
    ];
    for path in paths(&node) {
        for (to, at) in path.dialled.into_iter().zip(path.listening) {
            let server = path.server.tcp_serve(at);
            let faults = |direction| faults.iter().map(move |fault| (direction, fault));
            for (direction, fault) in path.directions.iter().flat_map(faults) {
                let what = format!("{}, {direction}, {to}, {fault}", path.name);
                let traffic = json!({"direction": direction, "protocol": "tcp"});
                ctl.apply(&[node.fault("late", fault.clone()).traffic(traffic)]);
                let opened = path.client.tcp_open(None, to, 5 * SOON);
                assert!(
                    Duration::from_micros(opened.micros) >= late / 2,
                    "{what}: {opened:?}"
                );
                let exchanged = path.client.tcp_exchange(opened.stream(), 100_000, 15 * SOON);
                assert_eq!(exchanged.result, Ok(0), "{what}");
                path.client.close(opened.stream());
                end(&ctl, "late");
            }
            path.server.close(server);
        }
    }
}

/// A fault sees addresses and ports as they are at its interface: before translation at the client, after it where a
/// packet of the host leaves.
#[test]
fn addresses_are_those_at_the_interface() {
    let node = need!(translating());
    let cgroup = Cgroup::new();
    let member = Workload::start(&node.netns, Some(&cgroup));
    let daemon = Daemon::start();
    let ctl = daemon.ctl();
    let [a, b] = &node.containers;
    let [container, other] = &node.inner;
    let cidr = |to: &dyn ToString, v4: bool| format!("{}/{}", to.to_string(), if v4 { 32 } else { 128 });
    for family in [0, 1] {
        let v4 = family == 0;
        let (backend, neighbour) = (inside(2)[family], outside(2)[family]);
        let service: IpAddr = SERVICE[family].parse().expect("an address");
        let host = outside(1)[family];
        for port in [BEHIND_HOST, BEHIND_SERVICE] {
            a.tcp_serve(SocketAddr::new(backend, port));
        }
        node.neighbour
            .tcp_serve(SocketAddr::new(neighbour, BEHIND_SERVICE));
        let on_host = |name, filter: Value| {
            let fault = FaultFile::on_cgroup(name, &cgroup, json!({"partition": {}}));
            fault.traffic(json!({"direction": "egress", "protocol": "tcp", "remote": filter}))
        };
        let on_netns = |name, netns: &Netns, filter: Value| {
            let fault = FaultFile::on_netns(name, netns, json!({"partition": {}}));
            let mut traffic = json!({"direction": "both", "protocol": "tcp"});
            for (key, value) in filter.as_object().expect("filters") {
                traffic[key] = value.clone();
            }
            fault.traffic(traffic)
        };
        let remote = |to: &IpAddr| json!({"remote": {"cidrs": [cidr(to, v4)]}});
        let of_service = SocketAddr::new(service, 80);
        let published = SocketAddr::new(host, PUBLISHED);
        let cases = [
            // A process of the host: translated before it leaves.
            (
                on_host("service", json!({"cidrs": [cidr(&service, v4)]})),
                &member,
                of_service,
                false,
            ),
            (
                on_host("backend", json!({"cidrs": [cidr(&backend, v4)]})),
                &member,
                of_service,
                true,
            ),
            // A container that asks: translated behind its interface.
            (on_netns("service", other, remote(&service)), b, of_service, true),
            (
                on_netns("backend", other, remote(&neighbour)),
                b,
                of_service,
                false,
            ),
            // A container that is asked for a published port, and the host that publishes it.
            (
                on_netns("port", container, json!({"local": {"ports": [BEHIND_HOST]}})),
                &node.neighbour,
                published,
                true,
            ),
            (
                on_netns("published", container, json!({"local": {"ports": [PUBLISHED]}})),
                &node.neighbour,
                published,
                false,
            ),
            (
                on_netns("asker", container, remote(&neighbour)),
                &node.neighbour,
                published,
                true,
            ),
            (
                on_netns("published", &node.netns, json!({"local": {"ports": [PUBLISHED]}})),
                &node.neighbour,
                published,
                true,
            ),
        ];
        for (fault, client, to, hit) in cases {
            let name = fault.name().to_owned();
            ctl.apply(std::slice::from_ref(&fault));
            let opened = client.tcp_open(None, to, BRIEF);
            let matched = ctl.fault(&name).packets("matched");
            assert_eq!(opened.result.is_err(), hit, "{name}, {to}: {opened:?}");
            assert_eq!(matched > 0, hit, "{name}, {to}: {matched}");
            end(&ctl, &name);
        }
    }
}

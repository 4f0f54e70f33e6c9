//! Interfaces that stand on others: bridges, bonds, VLANs. A fault on a namespace hits each packet once, whichever of them
//! it passes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use chaos_tests::rate::{fill_entrances, kept_by_sockets, lost_by_lines};
use chaos_tests::workload::{Flood, Handing, Handle};
use chaos_tests::{
    Cgroup, Chaosctl, Daemon, Device, FaultFile, Netns, Pair, Process, Skip, Snapshot, Workload, bond,
    bridge, eventually, macvlan, need, require_program, settled, veth, vlan,
};
use serde_json::{Value, json};

use crate::bed::{BRIEF, SOON};
use crate::line_paths::stream;

const COUNT: u64 = 1000;

/// A host of containers: two on its bridge, and a neighbour behind its uplink.
pub(crate) struct Node {
    pub(crate) netns: Netns,
    /// Those of the containers.
    pub(crate) inner: [Netns; 2],
    bridge: Device,
    /// The node's ends of the cables to the containers.
    ports: [Device; 2],
    uplink: Device,
    pub(crate) host: Workload,
    pub(crate) containers: [Workload; 2],
    pub(crate) neighbour: Workload,
}

/// In the network of the containers, `n` 1 is the node.
pub(crate) fn inside(n: u8) -> [IpAddr; 2] {
    addresses(88, n)
}

/// On the uplink, likewise.
pub(crate) fn outside(n: u8) -> [IpAddr; 2] {
    addresses(89, n)
}

fn addresses(net: u8, n: u8) -> [IpAddr; 2] {
    let v6 = Ipv6Addr::new(0xfd00 | u16::from(net), 0, 0, 0, 0, 0, 0, n.into());
    [Ipv4Addr::new(10, net, 0, n).into(), v6.into()]
}

fn assign(device: &Device, addresses: [IpAddr; 2]) {
    for address in addresses {
        match address {
            IpAddr::V4(v4) => device.add_v4(v4, 24),
            IpAddr::V6(v6) => device.add_v6(v6, 64),
        }
    }
}

impl Node {
    pub(crate) fn new() -> Result<Self, Skip> {
        let [node, a, b, x] = std::array::from_fn(|_| Netns::new());
        for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            node.sysctl(key, "1");
        }
        let (a0, to_a) = veth((&a, "a0"), (&node, "to-a"));
        let (b0, to_b) = veth((&b, "b0"), (&node, "to-b"));
        let (x0, uplink) = veth((&x, "x0"), (&node, "uplink"));
        let br0 = bridge(&node, "br0", &[&to_a, &to_b])?;
        assign(&br0, inside(1));
        assign(&uplink, outside(1));
        for (device, own, gateway) in [
            (&a0, inside(2), inside(1)),
            (&b0, inside(3), inside(1)),
            (&x0, outside(2), outside(1)),
        ] {
            assign(device, own);
            for gateway in gateway {
                let family = if gateway.is_ipv4() { "-4" } else { "-6" };
                device
                    .netns()
                    .ip(&format!("{family} route add default via {gateway}"));
            }
        }
        Ok(Self {
            host: Workload::start(&node, None),
            containers: [&a, &b].map(|netns| Workload::start(netns, None)),
            neighbour: Workload::start(&x, None),
            netns: node,
            inner: [a, b],
            bridge: br0,
            ports: [to_a, to_b],
            uplink,
        })
    }

    pub(crate) fn fault(&self, name: &str, fault: Value) -> FaultFile {
        FaultFile::on_netns(name, &self.netns, fault).seed(1)
    }

    /// Ways through the node, each with the directions in which the node sees its packets.
    fn ways(&self) -> [Way<'_>; 4] {
        let [a, b] = &self.containers;
        let way = |name, from, by, to, directions| Way {
            name,
            from,
            by,
            to,
            directions,
        };
        [
            way("out", &self.host, a, inside(2), &["egress"][..]),
            way("in", a, &self.host, inside(1), &["ingress"]),
            way("bridged", a, b, inside(3), &["egress", "ingress"]),
            way("routed", a, &self.neighbour, outside(2), &["egress", "ingress"]),
        ]
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::of_devices(&[&self.bridge, &self.ports[0], &self.ports[1], &self.uplink])
    }
}

struct Way<'a> {
    name: &'static str,
    from: &'a Workload,
    by: &'a Workload,
    to: [IpAddr; 2],
    directions: &'a [&'static str],
}

/// How many of [`COUNT`] datagrams arrive at an address where nobody listens yet.
fn arrive(from: &Workload, by: &Workload, to: SocketAddr) -> u64 {
    arrive_at(by.udp_sink(to), from, by, to)
}

fn arrive_at(sink: Handle, from: &Workload, by: &Workload, to: SocketAddr) -> u64 {
    let before = by.sink_report(sink).received();
    let sent = from.udp_send(to, COUNT);
    assert_eq!((sent.accepted, sent.errors.len()), (COUNT, 0), "{to}: {sent:?}");
    settled(BRIEF, || by.sink_report(sink).received()) - before
}

/// The interfaces at which a fault acts, sorted, each once.
fn places(ctl: &Chaosctl, name: &str) -> Vec<String> {
    let all = ctl.fault(name).attachments();
    let mut names: Vec<String> = all
        .iter()
        .filter_map(|attachment| Some(attachment["interface"].as_str()?.to_owned()))
        .collect();
    names.sort();
    names.dedup();
    names
}

pub(crate) fn end(ctl: &Chaosctl, name: &str) {
    ctl.delete(name);
    ctl.wait_for_phase(name, "Ended");
}

/// Of a fault on a fifth of all, a fifth of all is lost: also of what passes a bridge and one of its ports.
#[test]
fn on_a_host_of_containers_each_packet_is_hit_once() {
    let node = need!(Node::new());
    let before = node.snapshot();
    let daemon = Daemon::start();
    let ctl = daemon.ctl();
    let mut port = 7000;
    for way in node.ways() {
        for direction in way.directions {
            for to in way.to {
                let name = format!("{}-{direction}-{port}", way.name);
                let fault = node.fault(&name, json!({"drop": {"every": 5}}));
                ctl.apply(&[fault.traffic(json!({"direction": direction, "protocol": "udp"}))]);
                assert_eq!(places(&ctl, &name), ["to-a", "to-b", "uplink"]);
                assert_eq!(ctl.fault(&name).own_warnings(), [""; 0]);
                let to = SocketAddr::new(to, port);
                assert_eq!(arrive(way.from, way.by, to), COUNT * 4 / 5, "{name}");
                let view = ctl.fault(&name);
                let seen = (view.packets("matched"), view.packets("dropped"));
                assert_eq!(seen, (COUNT, COUNT / 5), "{name}");
                end(&ctl, &name);
                port += 1;
            }
        }
    }
    // A packet that is handed on arrives and leaves.
    let fault = node.fault("both", json!({"drop": {"every": 5}}));
    ctl.apply(&[fault.traffic(json!({"direction": "both", "protocol": "udp"}))]);
    let to = SocketAddr::new(outside(2)[0], port);
    let came = arrive(&node.containers[0], &node.neighbour, to);
    assert_eq!(came, COUNT * 4 / 5 * 4 / 5);
    end(&ctl, "both");
    node.snapshot().assert_same_as(&before);
}

/// What waits on a port of a bridge goes on into the bridge, or out of it.
#[test]
fn a_delay_on_a_host_of_containers_is_the_one_that_was_asked_for() {
    let node = need!(Node::new());
    let before = node.snapshot();
    let late = json!({"delay": {"latency": "20ms"}});
    let mut port = 7000;
    for args in [&[][..], &["--line", "user"]] {
        let daemon = Daemon::builder().args(args).start();
        let ctl = daemon.ctl();
        for way in node.ways() {
            for direction in way.directions {
                // Of one direction of a connection only.
                let end_of_it = if *direction == "egress" { "remote" } else { "local" };
                let traffic = |port: u16| json!({"direction": direction, "protocol": "tcp", end_of_it: {"ports": [port]}});
                for to in way.to {
                    let name = format!("{}-{direction}-{port}", way.name);
                    ctl.apply(&[node.fault(&name, late.clone()).traffic(traffic(port))]);
                    stream(way.from, way.by, SocketAddr::new(to, port));
                    let view = ctl.fault(&name);
                    assert!(view.packets("delayed") > 20, "{name}: {view:?}");
                    end(&ctl, &name);
                    port += 1;
                }
            }
        }
        drop(daemon);
        eventually(SOON, "devices of lines go", || {
            node.netns.ip("-o link show").lines().count() == 5
        });
    }
    node.snapshot().assert_same_as(&before);
}

#[test]
fn a_bridge_is_left_to_its_ports_from_the_first_one_on() {
    let node = need!(Node::new());
    for port in &node.ports {
        node.netns.ip(&format!("link set {} nomaster", port.name()));
    }
    let daemon = Daemon::start();
    let ctl = daemon.ctl();
    let fault = node.fault("fifth", json!({"drop": {"every": 5}}));
    ctl.apply(&[fault.traffic(json!({"protocol": "udp"}))]);
    assert_eq!(places(&ctl, "fifth"), ["br0", "to-a", "to-b", "uplink"]);
    node.bridge.take_in(&node.ports[0]);
    eventually(SOON, "the bridge is left to its port", || {
        places(&ctl, "fifth") == ["to-a", "to-b", "uplink"]
    });
    let to = SocketAddr::new(inside(2)[0], 7000);
    assert_eq!(arrive(&node.host, &node.containers[0], to), COUNT * 4 / 5);
    node.netns
        .ip(&format!("link set {} nomaster", node.ports[0].name()));
    eventually(SOON, "the bridge is meant itself", || {
        places(&ctl, "fifth") == ["br0", "to-a", "to-b", "uplink"]
    });
}

/// A fault that names the bridge acts there; one on the namespace, which has programs there then, does not.
#[test]
fn a_fault_on_the_bridge_alone_leaves_those_on_the_namespace_as_they_were() {
    let node = need!(Node::new());
    let daemon = Daemon::start();
    let ctl = daemon.ctl();
    let udp = |port: u16| json!({"protocol": "udp", "remote": {"ports": [port]}});
    let all = node
        .fault("fifth", json!({"drop": {"every": 5}}))
        .traffic(udp(7000));
    let one = FaultFile::on_device("cut", &node.bridge, json!({"partition": {}})).traffic(udp(7001));
    let two = FaultFile::on_device("third", &node.bridge, json!({"drop": {"every": 3}})).traffic(udp(7000));
    let [a, b] = &node.containers;
    let at = |port| SocketAddr::new(inside(2)[0], port);
    let sinks = [7000, 7001].map(|port| a.udp_sink(at(port)));
    let fifth = || arrive_at(sinks[0], &node.host, a, at(7000));
    for order in [[&all, &one], [&one, &all]] {
        for file in order {
            ctl.apply(std::slice::from_ref(file));
        }
        assert_eq!(places(&ctl, "cut"), ["br0"]);
        assert_eq!(places(&ctl, "fifth"), ["to-a", "to-b", "uplink"]);
        assert_eq!(fifth(), COUNT * 4 / 5);
        assert_eq!(ctl.fault("fifth").packets("matched"), COUNT);
        assert_eq!(arrive_at(sinks[1], &node.host, a, at(7001)), 0);
        assert_eq!(ctl.fault("cut").packets("matched"), COUNT);
        // Bridged packets do not pass the bridge itself.
        assert_eq!(arrive_at(sinks[1], b, a, at(7001)), COUNT);
        end(&ctl, "cut");
        assert_eq!(fifth(), COUNT * 4 / 5);
        end(&ctl, "fifth");
    }
    // Each at its place: the bridge comes first.
    ctl.apply(&[all, two]);
    assert_eq!(fifth(), 534);
    assert_eq!(ctl.fault("fifth").packets("matched"), 667);
}

/// A bridge does not tell a sender what has become of its packets: what a line has no room for at a port is lost, and is
/// said to be. At the bridge itself senders are told, and keep it.
#[test]
fn what_finds_no_room_in_the_line_of_a_port_counts_as_lost_and_at_the_bridge_is_kept() {
    need!(require_program("iperf3"));
    let node = need!(Node::new());
    let container = node.ports[0].clone();
    // More on its way than an entrance has room for.
    for netns in [&node.netns, &node.inner[0]] {
        for buffer in ["ipv4/tcp_rmem", "ipv4/tcp_wmem"] {
            netns.sysctl(buffer, "4096 262144 67108864");
        }
    }
    let server = Process::spawn(&node.inner[0], None, &["iperf3", "-s"]).listens(&node.inner[0], 5201);
    let to = inside(2)[0].to_string();
    // More than an entrance has room for.
    let flood = Flood {
        to: SocketAddr::new(inside(2)[0], 7000),
        size: 100,
        rate: 80_000,
        count: 20_000,
        flows: 1,
        handing: Handing::Segments(10),
    };
    for (at, keeps) in [(&container, false), (&node.bridge, true)] {
        let mut daemon = Daemon::builder().args(&["--line", "user"]).start();
        let ctl = daemon.ctl();
        let nothing = FaultFile::on_device("nothing", at, json!({"drop": {"chance": "0%"}}));
        ctl.apply(&[nothing.lasting("5m")]);
        // Datagrams in super-packets go by the line once the daemon has seen some.
        node.host.udp_flood(&Flood { count: 100, ..flood });
        eventually(SOON, "all go by the line", || {
            daemon.log().contains("it met super-packets")
        });
        // Windows of Reno grow until something is full.
        let argv = ["iperf3", "-c", &to, "-t", "60", "-P", "32", "-C", "reno"];
        let streams = Process::spawn(&node.netns, None, &argv);
        let come = || node.inner[0].tcp_count("InSegs");
        // Unless they lose something.
        let rounds = if keeps { 30 } else { 3 };
        let kept = (0..rounds).any(|_| fill_entrances(&mut daemon, come, || {}));
        let still = fill_entrances(&mut daemon, come, || {
            assert_eq!(node.host.udp_flood(&flood).refused, 0);
        });
        assert_eq!(still, kept, "{}", at.name());
        assert_eq!(kept, keeps, "{}", at.name());
        eventually(SOON, "what nobody keeps is lost, and that is said", || {
            lost_by_lines(&daemon) > 0 && ctl.fault("nothing").warnings().contains(&"LineLost")
        });
        println!(
            "{}: kept {}, lost {}",
            at.name(),
            kept_by_sockets(&daemon),
            lost_by_lines(&daemon)
        );
        drop(streams);
    }
    drop(server);
}

#[test]
fn a_process_that_sends_through_the_bridge_is_hit_once() {
    let node = need!(Node::new());
    let cgroup = Cgroup::new();
    let member = Workload::start(&node.netns, Some(&cgroup));
    let daemon = Daemon::start();
    let ctl = daemon.ctl();
    let [a, _] = &node.containers;
    for (n, direction) in (0..).zip(["egress", "ingress"]) {
        let fault = FaultFile::on_cgroup(direction, &cgroup, json!({"drop": {"every": 5}}));
        ctl.apply(&[fault.traffic(json!({"direction": direction, "protocol": "udp"}))]);
        let came = if direction == "egress" {
            arrive(&member, a, SocketAddr::new(inside(2)[0], 7000 + n))
        } else {
            arrive(a, &member, SocketAddr::new(inside(1)[0], 7000 + n))
        };
        assert_eq!(came, COUNT * 4 / 5, "{direction}");
        assert_eq!(ctl.fault(direction).packets("matched"), COUNT);
        end(&ctl, direction);
    }
}

#[test]
fn interfaces_of_which_some_packets_pass_two_are_told_of() {
    let node = need!(Node::new());
    let daemon = Daemon::start();
    let ctl = daemon.ctl();
    let nothing = json!({"drop": {"chance": "1%"}});
    let named = |name: &str, interfaces: &[&str]| {
        let fault = node.fault(name, nothing.clone());
        fault.set("/spec/target", "interfaces", json!(interfaces))
    };
    ctl.apply(&[named("bridge", &["br0"]), named("two", &["br0", "to-a"])]);
    assert_eq!(ctl.fault("bridge").own_warnings(), [""; 0]);
    let two = ctl.fault("two");
    assert_eq!(two.own_warnings(), ["StackedInterfaces"]);
    assert!(
        format!("{two:?}").contains("packets of br0 pass another interface"),
        "{two:?}"
    );
    let shim = need!(macvlan(&node.uplink, "shim"));
    ctl.apply(&[node.fault("all", nothing.clone()), named("shim", &[shim.name()])]);
    assert_eq!(ctl.fault("all").own_warnings(), ["StackedInterfaces"]);
    assert_eq!(ctl.fault("shim").own_warnings(), [""; 0]);
}

/// Bonds and VLANs, which the kernels of guests have.
#[test]
fn through_a_vlan_on_a_bond_each_packet_is_hit_once_and_is_as_late_as_asked() {
    let net = Pair::new();
    let (client, server) = (&net.client, &net.server);
    let ends: Vec<Device> = {
        let ends = [("c", client), ("s", server)].map(|(letter, host)| {
            let bond = bond(&host.netns, &format!("{letter}bond"), &[&host.device])?;
            vlan(&bond, 7)
        });
        need!(ends.into_iter().collect())
    };
    for (n, end) in (1..).zip(&ends) {
        assign(end, addresses(90, n));
    }
    let (from, by) = (
        Workload::start(&client.netns, None),
        Workload::start(&server.netns, None),
    );
    let daemon = Daemon::start();
    let ctl = daemon.ctl();
    for (n, to) in (0..).zip(addresses(90, 2)) {
        let at = |port| SocketAddr::new(to, port);
        for (port, direction, netns) in [
            (7000 + n, "egress", &client.netns),
            (7010 + n, "ingress", &server.netns),
        ] {
            let fault = FaultFile::on_netns(direction, netns, json!({"drop": {"every": 5}})).seed(1);
            let end_of_it = if direction == "egress" { "remote" } else { "local" };
            let traffic = json!({"direction": direction, end_of_it: {"ports": [port]}});
            ctl.apply(&[fault.traffic(traffic.clone())]);
            assert_eq!(places(&ctl, direction).len(), 1, "the bond alone");
            assert_eq!(arrive(&from, &by, at(port)), COUNT * 4 / 5, "{direction} {to}");
            assert_eq!(ctl.fault(direction).packets("matched"), COUNT);
            end(&ctl, direction);
            let late = FaultFile::on_netns(direction, netns, json!({"delay": {"latency": "20ms"}}));
            ctl.apply(&[late.traffic(traffic)]);
            stream(&from, &by, at(port));
            end(&ctl, direction);
        }
    }
}

//! `target`: whose traffic. Beside each target lives somebody who must not notice.

use std::net::SocketAddr;

use chaos_tests::workload::Handle;
use chaos_tests::{
    BpfObjects, Cgroup, Chaosctl, Container, Daemon, FaultFile, Pair, Snapshot, Workload, eventually, need,
    require_program, veth,
};
use serde_json::json;

use crate::bed::{BRIEF, Bed, SOON};

/// A server of TCP and UDP in a cgroup of the server's namespace, and a client's socket towards it.
struct Tenant {
    workload: Workload,
    cgroup: Cgroup,
}

impl Tenant {
    fn start(net: &Pair, cgroup: Cgroup) -> Self {
        Self {
            workload: Workload::start(&net.server.netns, Some(&cgroup)),
            cgroup,
        }
    }

    fn listen(&self, tcp: SocketAddr, udp: SocketAddr) -> Handle {
        self.workload.udp_echo(udp);
        self.workload.tcp_serve(tcp)
    }
}

fn opens(client: &Workload, to: SocketAddr) -> bool {
    client.tcp_open(None, to, BRIEF).result.is_ok()
}

fn asks(client: &Workload, to: SocketAddr) -> bool {
    client
        .udp_ask(client.udp_open(None, Some(to)), BRIEF)
        .result
        .is_ok()
}

/// How TCP and UDP fare on each of these ports, in both families: true where all of it works, false where none does.
fn served(bed: &Bed, ports: &[u16]) -> Vec<bool> {
    ports
        .iter()
        .map(|port| {
            let all = [bed.net.server.at(*port), bed.net.server.at6(*port)]
                .map(|to| [opens(&bed.client, to), asks(&bed.client, to)])
                .concat();
            assert!(
                all.iter().all(|ok| *ok == all[0]),
                "port {port}: tcp4, udp4, tcp6, udp6 = {all:?}"
            );
            all[0]
        })
        .collect()
}

#[test]
fn a_cgroup_is_hit_at_ingress_with_its_old_sockets_its_new_ones_and_nobody_elses() {
    let bed = Bed::new();
    let (target, outsider) = (
        Tenant::start(&bed.net, Cgroup::new()),
        Tenant::start(&bed.net, Cgroup::new()),
    );
    let below = Tenant::start(&bed.net, target.cgroup.child("below"));
    let serve = |tenant: &Tenant, port: u16| {
        for to in [bed.net.server.at(port), bed.net.server.at6(port)] {
            tenant.listen(to, to);
        }
    };
    serve(&target, 7000);
    serve(&below, 7001);
    serve(&outsider, 7002);
    let streams = [7000, 7002].map(|port| bed.client.tcp_open(None, bed.net.server.at(port), SOON).stream());
    assert_eq!(served(&bed, &[7000, 7001, 7002]), [true, true, true], "before");

    let fault = FaultFile::on_cgroup("deaf", &target.cgroup, json!({"partition": {}}));
    bed.ctl.apply(&[fault.traffic(json!({"direction": "ingress"}))]);
    serve(&target, 7003);
    serve(&outsider, 7004);
    let ports = [7000, 7001, 7002, 7003, 7004];
    assert_eq!(
        served(&bed, &ports),
        [false, false, true, false, true],
        "old, below, outsider, new, new outsider"
    );
    assert_eq!(
        bed.client.tcp_exchange(streams[0], 10, BRIEF).result,
        Err("timeout".to_owned()),
        "a connection of before"
    );
    assert_eq!(
        bed.client.tcp_exchange(streams[1], 10, BRIEF).result,
        Ok(0),
        "an outsider's"
    );
    // What the target sends is not ingress: its answers come back in, though, and those are.
    assert!(bed.ctl.fault("deaf").packets("dropped") > 0);
    bed.delete("deaf");
    assert_eq!(served(&bed, &ports), [true; 5], "after");
}

#[test]
fn a_cgroup_is_hit_at_egress_and_its_neighbour_in_the_namespace_is_not() {
    let bed = Bed::new();
    let (target, outsider) = (Cgroup::new(), Cgroup::new());
    let (hit, spared) = (
        Workload::start(&bed.net.client.netns, Some(&target)),
        Workload::start(&bed.net.client.netns, Some(&outsider)),
    );
    for to in [bed.net.server.at(7000), bed.net.server.at6(7000)] {
        bed.server.tcp_serve(to);
        bed.server.udp_echo(to);
        let old = hit.udp_open(None, Some(to));
        let stream = hit.tcp_open(None, to, SOON).stream();
        let name = if to.is_ipv4() { "mute-v4" } else { "mute-v6" };
        bed.ctl
            .apply(&[FaultFile::on_cgroup(name, &target, json!({"partition": {}}))]);
        assert!(!opens(&hit, to) && !asks(&hit, to), "{to}");
        assert!(
            hit.udp_ask(old, BRIEF).result.is_err(),
            "{to}: a socket of before"
        );
        assert!(
            hit.tcp_exchange(stream, 10, BRIEF).result.is_err(),
            "{to}: a connection of before"
        );
        assert!(opens(&spared, to) && asks(&spared, to), "{to}: the neighbour");
        bed.delete(name);
        assert!(opens(&hit, to) && asks(&hit, to), "{to}: after");
    }
}

#[test]
fn two_containers_in_one_namespace_and_only_the_named_one_is_hit_both_ways() {
    need!(require_program("crun"));
    let bed = Bed::new();
    let (target, other) = (
        Container::start(&bed.net.server.netns),
        Container::start(&bed.net.server.netns),
    );
    for (container, port) in [(&target, 7000), (&other, 7001)] {
        for to in [bed.net.server.at(port), bed.net.server.at6(port)] {
            container.inside.tcp_serve(to);
            container.inside.udp_echo(to);
        }
    }
    bed.client.udp_echo(bed.net.client.at(9001));
    assert_eq!(served(&bed, &[7000, 7001]), [true, true], "before");
    for direction in ["ingress", "egress", "both"] {
        let fault = FaultFile::new(
            direction,
            json!({"container": target.id()}),
            json!({"partition": {}}),
        );
        bed.ctl.apply(&[fault.traffic(json!({"direction": direction}))]);
        assert_eq!(
            served(&bed, &[7000, 7001]),
            [false, true],
            "{direction}: sockets of before"
        );
        assert!(
            !asks(&target.inside, bed.net.client.at(9001)),
            "{direction}: a new socket"
        );
        assert!(
            asks(&other.inside, bed.net.client.at(9001)),
            "{direction}: the other container"
        );
        bed.delete(direction);
        assert_eq!(served(&bed, &[7000, 7001]), [true, true], "after {direction}");
    }
}

#[test]
fn a_process_is_hit_and_the_process_beside_it_is_not() {
    let bed = Bed::new();
    let (hit, spared) = (
        Workload::start(&bed.net.client.netns, None),
        Workload::start(&bed.net.client.netns, None),
    );
    let to = bed.net.server.at(7000);
    bed.server.tcp_serve(to);
    bed.server.udp_echo(to);
    let old = hit.udp_open(None, Some(to));
    for direction in ["egress", "ingress"] {
        let fault = FaultFile::new(direction, json!({"pid": hit.pid()}), json!({"partition": {}}));
        bed.ctl.apply(&[fault.traffic(json!({"direction": direction}))]);
        assert!(
            hit.udp_ask(old, BRIEF).result.is_err(),
            "{direction}: a socket of before"
        );
        assert!(!opens(&hit, to) && !asks(&hit, to), "{direction}");
        assert!(
            opens(&spared, to) && asks(&spared, to),
            "{direction}: the process beside it"
        );
        bed.delete(direction);
        assert!(opens(&hit, to) && asks(&hit, to), "{direction}: after");
    }
}

#[test]
fn one_interface_of_two_is_hit() {
    let bed = Bed::new();
    let (c1, s1) = veth((&bed.net.client.netns, "c1"), (&bed.net.server.netns, "s1"));
    c1.add_v4("10.78.0.1".parse().expect("v4"), 24);
    s1.add_v4("10.78.0.2".parse().expect("v4"), 24);
    let places: [SocketAddr; 2] = [
        bed.net.server.at(9001),
        "10.78.0.2:9001".parse().expect("an address"),
    ];
    for to in places {
        bed.server.udp_echo(to);
    }
    let before = Snapshot::of_devices(&[&bed.net.client.device, &c1]);
    let fates = || places.map(|to| asks(&bed.client, to));
    assert_eq!(fates(), [true, true]);
    bed.ctl
        .apply(&[FaultFile::on_device("second", &c1, json!({"partition": {}}))]);
    assert_eq!(fates(), [true, false]);
    bed.ctl.delete("second");
    let target = json!({"netns": bed.net.client.netns.path(), "interfaces": ["c0"]});
    bed.ctl
        .apply(&[FaultFile::new("first", target, json!({"partition": {}}))]);
    assert_eq!(fates(), [false, true]);
    bed.ctl.delete("first");
    bed.ctl.apply(&[bed.on_client("all", json!({"partition": {}}))]);
    assert_eq!(fates(), [false, false], "every interface, when none is named");
    bed.ctl.delete("all");
    Snapshot::of_devices(&[&bed.net.client.device, &c1]).assert_same_as(&before);
    c1.delete_now();
}

/// Waits for `TargetGone`, and then for every program that the daemon had attached to be unloaded.
fn ends_with_its_target(ctl: &Chaosctl, daemon: &Daemon, idle: &BpfObjects, name: &str) {
    let view = ctl.wait_for_phase(name, "Ended");
    assert_eq!(view.reason(), "TargetGone", "{}", view.0["status"]);
    eventually(
        SOON,
        &format!(
            "{name} leaves no link: {:?}, at first {idle:?}",
            daemon.bpf_objects()
        ),
        || daemon.bpf_objects().links.len() <= idle.links.len(),
    );
}

#[test]
fn a_fault_ends_when_its_target_goes_and_nothing_is_left() {
    let daemon = Daemon::start();
    let ctl = daemon.ctl();
    let idle = daemon.bpf_objects();

    let net = Pair::new();
    ctl.apply(&[FaultFile::on_netns(
        "netns",
        &net.client.netns,
        json!({"partition": {}}),
    )]);
    assert_ne!(daemon.bpf_objects().links, idle.links, "something is attached");
    net.client.netns.delete_now();
    ends_with_its_target(&ctl, &daemon, &idle, "netns");

    let net = Pair::new();
    let cgroup = Cgroup::new();
    let workload = Workload::start(&net.client.netns, Some(&cgroup));
    ctl.apply(&[FaultFile::on_cgroup("cgroup", &cgroup, json!({"partition": {}}))]);
    drop(workload);
    cgroup.remove_now();
    ends_with_its_target(&ctl, &daemon, &idle, "cgroup");

    let workload = Workload::start(&net.client.netns, None);
    ctl.apply(&[FaultFile::new(
        "pid",
        json!({"pid": workload.pid()}),
        json!({"partition": {}}),
    )]);
    drop(workload);
    ends_with_its_target(&ctl, &daemon, &idle, "pid");

    ctl.apply(&[FaultFile::on_device(
        "interface",
        &net.client.device,
        json!({"partition": {}}),
    )]);
    net.client.device.delete_now();
    ends_with_its_target(&ctl, &daemon, &idle, "interface");
}

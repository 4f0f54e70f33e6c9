//! What somebody else has put on a device works during a fault and is byte-equal after it.

use aya::programs::TcAttachType;
use chaos_tests::{ForeignTcx, Since, Snapshot, need, require_feature, require_tcx};
use serde_json::json;

use crate::bed::Bed;

/// A fault comes, acts, changes and goes; then the device is as it is now.
fn come_and_go(bed: &Bed, name: &str) {
    let devices = [&bed.net.client.device, &bed.net.server.device];
    let before = Snapshot::of_devices(&devices);
    for direction in ["egress", "ingress", "both"] {
        let fault = bed.on_client(name, json!({"partition": {}}));
        let ports = if direction == "ingress" { "local" } else { "remote" };
        bed.ctl.apply(&[
            fault.traffic(json!({"direction": direction, "protocol": "udp", ports: {"ports": [9000]}}))
        ]);
        if direction != "ingress" {
            assert!(
                !bed.reaches(bed.net.server.at(9000)),
                "{name} {direction}: it acts"
            );
        }
        assert!(
            bed.reaches(bed.net.server.at(9001)),
            "{name} {direction}: the port beside it"
        );
        bed.ctl.delete(name);
        Snapshot::of_devices(&devices).assert_same_as(&before);
    }
    assert!(bed.reaches(bed.net.server.at(9000)), "{name}: after");
}

#[test]
fn a_clsact_filter_of_somebody_else_stays_and_sees_what_passes() {
    let bed = Bed::new();
    let client = &bed.net.client.netns;
    client.tc("qdisc add dev c0 clsact");
    for way in ["egress", "ingress"] {
        // Classic BPF that matches all and does nothing.
        client.run(&[
            "tc",
            "filter",
            "add",
            "dev",
            "c0",
            way,
            "pref",
            "7",
            "handle",
            "3",
            "bpf",
            "bytecode",
            "1,6 0 0 0",
        ]);
    }
    come_and_go(&bed, "beside-clsact");
    client.tc("qdisc del dev c0 clsact");
}

#[test]
fn an_htb_tree_keeps_its_classes_and_its_traffic() {
    let bed = Bed::new();
    let client = &bed.net.client.netns;
    client.tc("qdisc add dev c0 root handle 1: htb default 20");
    client.tc("class add dev c0 parent 1: classid 1:10 htb rate 100mbit");
    client.tc("class add dev c0 parent 1: classid 1:20 htb rate 500mbit ceil 1gbit");
    client.tc("filter add dev c0 parent 1: protocol ip pref 1 u32 match ip dport 9001 0xffff flowid 1:10");
    let sent = || -> u64 {
        let text = client.tc("-s class show dev c0");
        let class = text
            .split("class htb ")
            .find(|part| part.starts_with("1:10 "))
            .expect("the class is there");
        class
            .split("Sent ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next()?.parse().ok())
            .expect("it counts")
    };
    let before = sent();
    come_and_go(&bed, "beside-htb");
    assert!(sent() > before, "its filter still sorts the traffic");
    client.tc("qdisc del dev c0 root");
}

#[test]
fn a_tcx_program_at_the_tail_stays_where_it_is() {
    let bed = Bed::new();
    let foreign = [TcAttachType::Egress, TcAttachType::Ingress]
        .map(|attach| ForeignTcx::attach(&bed.net.client.device, attach));
    need!(require_feature(
        "TCX",
        Since::Kernel(6, 6),
        foreign.iter().all(Option::is_some)
    ));
    come_and_go(&bed, "beside-tcx");
    drop(foreign);
}

#[test]
fn without_tcx_clsact_does_and_is_undone_also_after_a_crash() {
    let net = chaos_tests::Pair::new();
    let devices = [&net.client.device];
    let before = Snapshot::of_devices(&devices);
    let mut daemon = chaos_tests::Daemon::builder()
        .args(&["--attach", "clsact", "--xdp", "never"])
        .start();
    let ctl = daemon.ctl();
    let (client, server) = (
        chaos_tests::Workload::start(&net.client.netns, None),
        chaos_tests::Workload::start(&net.server.netns, None),
    );
    for port in [9000, 9001] {
        server.udp_echo(net.server.at(port));
    }
    let asks = |port| {
        client
            .udp_ask(
                client.udp_open(None, Some(net.server.at(port))),
                crate::bed::BRIEF,
            )
            .result
            .is_ok()
    };
    let cut = || {
        let fault = chaos_tests::FaultFile::on_netns("cut", &net.client.netns, json!({"partition": {}}));
        fault.traffic(json!({"direction": "both", "remote": {"ports": [9000]}}))
    };
    ctl.apply(&[cut()]);
    let view = ctl.fault("cut");
    assert!(
        view.attachments().iter().all(|a| a["mode"] == "clsact"),
        "{:?}",
        view.attachments()
    );
    assert!(
        view.warnings().contains(&"ClsactFallback"),
        "{:?}",
        view.warnings()
    );
    assert!(!asks(9000) && asks(9001));
    ctl.delete("cut");
    Snapshot::of_devices(&devices).assert_same_as(&before);

    ctl.apply(&[cut()]);
    assert!(!asks(9000));
    daemon.sigkill();
    // The filter outlives the daemon; the lease in the program ends the fault, and the next daemon cleans up.
    chaos_tests::eventually(
        std::time::Duration::from_millis(2500),
        "the lease ends it",
        || asks(9000),
    );
    daemon.start_again();
    Snapshot::of_devices(&devices).assert_same_as(&before);
    assert!(
        daemon.log().contains("cut"),
        "what was left is reported: {}",
        daemon.log()
    );

    // Beside somebody else's clsact, which was there first, ours must leave theirs.
    net.client.device.add_foreign_filter();
    let before = Snapshot::of_devices(&devices);
    ctl.apply(&[cut()]);
    assert!(!asks(9000) && asks(9001));
    ctl.delete("cut");
    Snapshot::of_devices(&devices).assert_same_as(&before);
    ctl.apply(&[cut()]);
    daemon.sigkill();
    daemon.start_again();
    Snapshot::of_devices(&devices).assert_same_as(&before);
}

#[test]
fn a_stopped_daemon_that_is_killed_leaves_nothing_either() {
    need!(require_tcx());
    let mut bed = Bed::new();
    bed.ctl.apply(&[bed.on_client("cut", json!({"partition": {}}))]);
    let objects = bed.daemon.bpf_objects();
    bed.daemon.sigstop();
    bed.daemon.sigkill();
    objects.assert_gone();
    bed.assert_untouched();
    assert!(bed.reaches(bed.net.server.at(9000)));
    bed.daemon.start_again();
}

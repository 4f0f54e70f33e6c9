//! What somebody else has put on a device works during a fault and is byte-equal after it.

use std::time::{Duration, Instant};

use aya::programs::TcAttachType;
use chaos_tests::{
    FaultFile, ForeignTcx, Netns, Since, Snapshot, count_runs, need, require_feature, require_tcx,
};
use serde_json::{Value, json};

use crate::bed::Bed;
use crate::probes::quantile;

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
    // Where there is no TCX, the bed has one.
    let has_tcx = require_tcx().is_ok();
    if has_tcx {
        client.tc("qdisc add dev c0 clsact");
    }
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
    if has_tcx {
        client.tc("qdisc del dev c0 clsact");
    } else {
        for way in ["egress", "ingress"] {
            client.tc(&format!("filter del dev c0 {way} pref 7"));
        }
    }
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

/// Packets that a qdisc has let go.
fn passed(netns: &Netns, device: &str, handle: &str) -> u64 {
    let text = netns.tc(&format!("-s -j qdisc show dev {device}"));
    let list: Vec<Value> = serde_json::from_str(&text).expect("tc prints JSON when it is asked to");
    let qdisc = list.iter().find(|qdisc| qdisc["handle"] == handle);
    qdisc.unwrap_or_else(|| panic!("no {handle} in {text}"))["packets"]
        .as_u64()
        .expect("it counts")
}

/// All of it at once: queues under `mq` at the client, an htb tree at the server, at both ends a filter in a clsact qdisc
/// and a TCX program at the tail. Under faults at the hook, on the line, and with the brake of `bandwidth`, each packet
/// that passes meets all of them, once.
#[test]
fn on_a_host_full_of_other_peoples_parts_each_works_on_and_is_as_before() {
    need!(require_tcx());
    let bed = Bed::new();
    let (client, server) = (&bed.net.client, &bed.net.server);
    let queues = client.netns.tc("-j qdisc show dev c0");
    assert!(queues.contains("noqueue"), "{queues}");
    client.netns.tc("qdisc add dev c0 root handle 8: mq");
    // The queue that a veth uses without further ado; the others are left as the kernel makes them.
    client
        .netns
        .tc("qdisc add dev c0 parent 8:1 handle 81: tbf rate 20mbit burst 64k latency 400ms");
    server.netns.tc("qdisc add dev s0 root handle 1: htb default 20");
    server
        .netns
        .tc("class add dev s0 parent 1: classid 1:20 htb rate 500mbit ceil 1gbit");
    server
        .netns
        .tc("qdisc add dev s0 parent 1:20 handle 20: pfifo limit 1000");
    let _counting = count_runs();
    let ends = [client, server].map(|end| {
        end.device.add_foreign_filter();
        [TcAttachType::Egress, TcAttachType::Ingress]
            .map(|way| ForeignTcx::attach(&end.device, way).expect("this kernel has TCX"))
    });
    let [at_client, at_server] = &ends;
    let look = || Snapshot::of_devices(&[&client.device, &server.device]);
    let before = look();
    let counts = || {
        [
            passed(&client.netns, "c0", "81:"),
            at_client[0].runs(),
            at_server[1].runs(),
            passed(&server.netns, "s0", "20:"),
            at_server[0].runs(),
            at_client[1].runs(),
        ]
    };
    // Neighbour discovery sends a few by itself.
    let few = |count: u64| count..=count + 20;
    for port in [7000, 7001] {
        bed.server.udp_echo(server.at(port));
    }
    let faults: [(&str, FaultFile, u64); 4] = [
        (
            "dropping",
            bed.on_client("dropping", json!({"drop": {"every": 5}})),
            80,
        ),
        (
            "waiting",
            bed.on_client("waiting", json!({"delay": {"latency": "10ms"}})),
            100,
        ),
        (
            "braking",
            bed.on_client("braking", json!({"bandwidth": {"rate": "5mbit"}})),
            100,
        ),
        (
            "arriving",
            bed.on_server("arriving", json!({"delay": {"latency": "10ms"}})),
            100,
        ),
    ];
    for (name, fault, arrive) in faults {
        let ports = json!({"ports": [9000, 7000]});
        let fault = if name == "arriving" {
            fault.traffic(json!({"direction": "ingress", "local": ports}))
        } else {
            fault.traffic(json!({"remote": ports}))
        };
        bed.ctl.apply(&[fault]);
        let start = counts();
        assert_eq!(bed.send(server.at(9000), 100).received(), arrive, "{name}");
        let now = counts();
        let forth: Vec<u64> = (0..3).map(|n| now[n] - start[n]).collect();
        // What the fault drops at the hook has not come to them yet; what it holds back has arrived at the server once.
        for count in &forth {
            assert!(few(arrive).contains(count), "{name}: {forth:?}");
        }
        let start = counts();
        let socket = bed.client.udp_open(None, Some(server.at(7001)));
        let asked: Vec<f64> = (0..50)
            .map(|_| bed.client.udp_ask(socket, Duration::from_secs(1)))
            .inspect(|asked| assert_eq!(asked.result, Ok(()), "{name}"))
            .map(|asked| asked.nanos as f64 / 1e6)
            .collect();
        bed.client.close(socket);
        let back: Vec<u64> = counts().iter().zip(start).map(|(now, then)| now - then).collect();
        for count in &back {
            assert!(few(50).contains(count), "{name}: both ways {back:?}");
        }
        assert!(quantile(&asked, 0.5) < 5.0, "{name}: the port beside it");
        // Their limit holds, too: a mebibyte at 20 Mbit/s.
        let to = server.at(6000);
        if name == "dropping" {
            bed.server.tcp_serve(to);
        }
        let stream = bed.client.tcp_open(None, to, Duration::from_secs(2));
        let began = Instant::now();
        let exchanged = bed
            .client
            .tcp_exchange(stream.stream(), 1 << 20, Duration::from_secs(20));
        assert_eq!(exchanged.result, Ok(0), "{name}");
        bed.client.close(stream.stream());
        assert!(
            began.elapsed() > Duration::from_millis(300),
            "{name}: {:?}",
            began.elapsed()
        );
        bed.ctl.delete(name);
        look().assert_same_as(&before);
    }
    drop(ends);
    for (end, device) in [(client, "c0"), (server, "s0")] {
        end.netns.tc(&format!("qdisc del dev {device} clsact"));
        end.netns.tc(&format!("qdisc del dev {device} root"));
    }
}

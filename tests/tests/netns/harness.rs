//! The harness itself, on traffic without any fault: a test that cannot see healthy traffic proves nothing.

use std::time::Duration;

use aya::programs::TcAttachType;
use chaos_tests::{
    Capture, Cgroup, ForeignTcx, Host, Pair, Process, Router, Since, Snapshot, Way, Workload, eventually,
    need, require_feature, require_program,
};

const SOON: Duration = Duration::from_secs(2);

#[test]
fn ten_thousand_datagrams_arrive_once_in_order_and_unchanged() {
    let net = Pair::new();
    let (client, server) = (
        Workload::start(&net.client.netns, None),
        Workload::start(&net.server.netns, None),
    );
    for address in [net.server.at(9000), net.server.at6(9000)] {
        let sink = server.udp_sink(address);
        let sent = client.udp_send(address, 10_000);
        assert_eq!((sent.accepted, sent.errors.len()), (10_000, 0), "{sent:?}");
        eventually(SOON, "all arrive", || {
            server.sink_report(sink).received() == 10_000
        });
        let report = server.sink_report(sink);
        assert_eq!(
            (report.duplicates(), report.flipped.len(), report.in_order()),
            (0, 0, true)
        );
    }
}

#[test]
fn connections_open_echo_and_close() {
    let net = Pair::new();
    let (client, server) = (
        Workload::start(&net.client.netns, None),
        Workload::start(&net.server.netns, None),
    );
    for address in [net.server.at(7000), net.server.at6(7000)] {
        let echo = server.tcp_serve(address);
        let opened = client.tcp_open(None, address, SOON);
        let stream = opened.stream();
        assert!(opened.micros < 20_000, "{opened:?}");
        assert_eq!(client.tcp_exchange(stream, 1 << 20, SOON).result, Ok(0));
        client.close(stream);
        eventually(SOON, "the server sees the end", || {
            server.server_report(echo).closed == 1
        });
        let refused = client.tcp_open(None, std::net::SocketAddr::new(address.ip(), 7001), SOON);
        assert_eq!(refused.error(), "ECONNREFUSED");
    }
}

#[test]
fn a_connection_to_nobody_times_out() {
    let net = Pair::new();
    let client = Workload::start(&net.client.netns, None);
    // Nobody answers ARP there: the neighbour entry is made up, so that SYNs do leave.
    net.client
        .netns
        .ip("neigh add 10.77.0.99 lladdr 02:00:00:00:00:99 dev c0");
    let opened = client.tcp_open(
        None,
        "10.77.0.99:80".parse().expect("an address"),
        Duration::from_millis(300),
    );
    assert_eq!(opened.result, Err("timeout".to_owned()));
    assert!((290_000..600_000).contains(&opened.micros), "{opened:?}");
}

#[test]
fn a_closed_udp_port_is_told_and_an_open_one_answers() {
    let net = Pair::new();
    let (client, server) = (
        Workload::start(&net.client.netns, None),
        Workload::start(&net.server.netns, None),
    );
    server.udp_echo(net.server.at(9001));
    let open = client.udp_open(None, Some(net.server.at(9001)));
    assert_eq!(client.udp_ask(open, SOON).result, Ok(()));
    let closed = client.udp_open(None, Some(net.server.at(9002)));
    assert_eq!(
        client.udp_ask(closed, SOON).result,
        Err("ECONNREFUSED".to_owned())
    );
}

#[test]
fn a_probe_every_millisecond_misses_nothing() {
    let net = Pair::new();
    let (client, server) = (
        Workload::start(&net.client.netns, None),
        Workload::start(&net.server.netns, None),
    );
    server.udp_echo(net.server.at(9001));
    let probe = client.probe(net.server.at(9001), Duration::from_millis(1));
    eventually(SOON, "500 samples", || {
        client.probe_report(probe).samples.len() > 500
    });
    let report = client.probe_report(probe);
    let settled: Vec<_> = report.between(0, report.now - 100_000_000);
    assert!(settled.len() > 300);
    assert_eq!(settled.iter().filter(|s| s.answered.is_none()).count(), 0);
}

#[test]
fn a_router_forwards_both_families_between_three_hosts() {
    let net = Router::new();
    let hosts: [&Host; 3] = [&net.client, &net.server, &net.third];
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        for address in hosts[to].addresses() {
            hosts[from]
                .netns
                .run(&["ping", "-c", "1", "-W", "1", &address.to_string()]);
        }
    }
}

#[test]
fn processes_start_in_their_cgroup() {
    let net = Pair::new();
    let cgroup = Cgroup::new();
    let inner = cgroup.child("inner");
    let nc = Process::spawn(&net.server.netns, Some(&inner), &["nc", "-lk", "8080"])
        .listens(&net.server.netns, 8080);
    let workload = Workload::start(&net.client.netns, Some(&cgroup));
    for (pid, cgroup) in [(nc.pid(), &inner), (workload.pid(), &cgroup)] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
        assert!(
            text.lines().any(|l| l == format!("0::{}", cgroup.path())),
            "{text}"
        );
    }
}

#[test]
fn a_capture_sees_every_frame_with_its_bytes() {
    let net = Pair::new();
    let (client, server) = (
        Workload::start(&net.client.netns, None),
        Workload::start(&net.server.netns, None),
    );
    server.udp_sink(net.server.at(9000));
    let out = Capture::start(&net.client.device, Way::Out, "udp port 9000");
    let arriving = Capture::start(&net.server.device, Way::In, "udp port 9000");
    client.udp_send(net.server.at(9000), 100);
    let (sent, got) = (out.wait_for(100), arriving.wait_for(100));
    assert_eq!(sent.len(), 100);
    for (a, b) in sent.iter().zip(&got) {
        assert_eq!(a.bytes, b.bytes);
    }
    assert_eq!(sent[0].udp_payload().len(), 64);
}

#[test]
fn a_snapshot_sees_qdiscs_filters_programs_addresses_and_offloads() {
    need!(require_program("ethtool"));
    let net = Pair::new();
    let device = &net.client.device;
    let before = Snapshot::of(&net.client.netns, &[device]);
    // Traffic changes no snapshot.
    net.client
        .netns
        .run(&["ping", "-c", "3", "-i", "0.01", &net.server.v4.to_string()]);
    Snapshot::of(&net.client.netns, &[device]).assert_same_as(&before);
    let changes: [(&[&str], &[&str]); 4] = [
        (
            &["tc", "qdisc", "add", "dev", "c0", "clsact"],
            &["tc", "qdisc", "del", "dev", "c0", "clsact"],
        ),
        (
            &["tc", "qdisc", "add", "dev", "c0", "root", "handle", "1:", "htb"],
            &["tc", "qdisc", "del", "dev", "c0", "root"],
        ),
        (
            &["ip", "address", "add", "10.9.9.9/32", "dev", "c0"],
            &["ip", "address", "del", "10.9.9.9/32", "dev", "c0"],
        ),
        (
            &["ethtool", "-K", "c0", "gso", "off"],
            &["ethtool", "-K", "c0", "gso", "on"],
        ),
    ];
    for (make, undo) in changes {
        net.client.netns.run(make);
        assert_ne!(Snapshot::of(&net.client.netns, &[device]), before, "{make:?}");
        net.client.netns.run(undo);
        Snapshot::of(&net.client.netns, &[device]).assert_same_as(&before);
    }
    let foreign = ForeignTcx::attach(device, TcAttachType::Egress);
    need!(require_feature("TCX", Since::Kernel(6, 6), foreign.is_some()));
    assert_ne!(
        Snapshot::of(&net.client.netns, &[device]),
        before,
        "a TCX program"
    );
    drop(foreign);
    Snapshot::of(&net.client.netns, &[device]).assert_same_as(&before);
}

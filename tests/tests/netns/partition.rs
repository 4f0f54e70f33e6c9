//! `partition`: nothing passes, in the direction that was named.

use chaos_tests::{Capture, Daemon, FaultFile, Router, Way, Workload, settled};
use serde_json::json;

use crate::bed::{BRIEF, Bed, SOON};

#[test]
fn each_direction_cuts_what_it_says_and_captures_at_both_ends_agree() {
    let bed = Bed::new();
    let there = bed.server.udp_sink(bed.net.server.at(9000));
    let back = bed.client.udp_sink(bed.net.client.at(9000));
    for (direction, want) in [("egress", (0, 50)), ("ingress", (50, 0)), ("both", (0, 0))] {
        let fault = bed.on_client(direction, json!({"partition": {}}));
        bed.ctl
            .apply(&[fault.traffic(json!({"direction": direction, "protocol": "udp"}))]);
        let leaving = Capture::start(&bed.net.client.device, Way::Out, "udp port 9000");
        let arriving = Capture::start(&bed.net.server.device, Way::In, "udp port 9000");
        let sent_back = Capture::start(&bed.net.server.device, Way::Out, "udp port 9000");
        let before = (
            bed.server.sink_report(there).received(),
            bed.client.sink_report(back).received(),
        );
        assert_eq!(bed.client.udp_send(bed.net.server.at(9000), 50).accepted, 50);
        assert_eq!(bed.server.udp_send(bed.net.client.at(9000), 50).accepted, 50);
        sent_back.wait_for(50);
        let got = settled(BRIEF, || {
            let now = (
                bed.server.sink_report(there).received(),
                bed.client.sink_report(back).received(),
            );
            (now.0 - before.0, now.1 - before.1)
        });
        assert_eq!(got, want, "{direction}");
        assert_eq!(
            (leaving.count(), arriving.count()),
            (want.0 as usize, want.0 as usize),
            "{direction}: frames"
        );
        bed.wait_for_packets(direction, "dropped", 100 - want.0 - want.1);
        bed.delete(direction);
    }
    assert!(bed.reaches(bed.net.server.at(9001)), "after the end");
}

#[test]
fn a_partition_from_one_host_leaves_the_way_to_another() {
    let net = Router::new();
    let daemon = Daemon::start();
    let ctl = daemon.ctl();
    let (client, server) = (
        Workload::start(&net.client.netns, None),
        Workload::start(&net.server.netns, None),
    );
    let third = Workload::start(&net.third.netns, None);
    for host in [&net.server, &net.third] {
        let workload = if host.v4 == net.server.v4 { &server } else { &third };
        workload.udp_echo(host.at(9001));
        workload.udp_echo(host.at6(9001));
    }
    let ask = |to| client.udp_ask(client.udp_open(None, Some(to)), BRIEF).result;
    let cidrs = json!([format!("{}/32", net.server.v4), format!("{}/128", net.server.v6)]);
    let fault = FaultFile::on_netns("cut-off", &net.client.netns, json!({"partition": {}}));
    ctl.apply(&[fault.traffic(json!({"direction": "both", "remote": {"cidrs": cidrs}}))]);
    for to in [net.server.at(9001), net.server.at6(9001)] {
        assert_eq!(ask(to), Err("timeout".to_owned()), "{to}");
    }
    for to in [net.third.at(9001), net.third.at6(9001)] {
        assert_eq!(ask(to), Ok(()), "{to}");
    }
    ctl.delete("cut-off");
    assert_eq!(ask(net.server.at(9001)), Ok(()));
}

#[test]
fn a_connection_through_a_partition_times_out_and_one_beside_it_opens() {
    let bed = Bed::new();
    for port in [7000, 7001] {
        bed.server.tcp_serve(bed.net.server.at(port));
    }
    let traffic = json!({"protocol": "tcp", "remote": {"ports": [7000]}});
    bed.ctl
        .apply(&[bed.on_client("cut", json!({"partition": {}})).traffic(traffic)]);
    assert_eq!(
        bed.client.tcp_open(None, bed.net.server.at(7000), BRIEF).error(),
        "timeout"
    );
    bed.client.tcp_open(None, bed.net.server.at(7001), SOON).stream();
    bed.delete("cut");
    bed.client.tcp_open(None, bed.net.server.at(7000), SOON).stream();
}

//! Delay by `fq`: several lines at once, and one that is full.

use std::time::Duration;

use chaos_tests::{eventually, need, require_fq, veth};
use serde_json::json;

use crate::bed::{Bed, SOON};
use crate::line::{devices, lines};
use crate::probes::{delay, quantile, udp, waits};

const PACE: Duration = Duration::from_millis(10);

/// Two devices of one namespace and one of another: each waits as long as its own fault says, and none ends with another.
#[test]
fn lines_of_one_daemon_keep_out_of_each_others_way() {
    need!(require_fq());
    let mut bed = Bed::with(&["--line", "kernel"]);
    let (client, server) = (&bed.net.client.netns, &bed.net.server.netns);
    let (c1, s1) = veth((client, "c1"), (server, "s1"));
    c1.add_v4([10, 78, 0, 1].into(), 24);
    s1.add_v4([10, 78, 0, 2].into(), 24);
    bed.remember();
    let (client, server) = (&bed.net.client.netns, &bed.net.server.netns);
    let places = [
        bed.net.server.at(7000),
        ([10, 78, 0, 2], 7001).into(),
        bed.net.server.at6(7002),
    ];
    for place in places {
        bed.server.udp_echo(place);
    }
    let on = |name: &str, device, latency: &str, end: &str, port: u16| {
        chaos_tests::FaultFile::on_device(name, device, delay(latency))
            .traffic(json!({"protocol": "udp", end: {"ports": [port]}}))
    };
    bed.ctl.apply(&[
        on("first", &bed.net.client.device, "40ms", "remote", 7000),
        on("second", &c1, "80ms", "remote", 7001),
        on("third", &bed.net.server.device, "120ms", "local", 7002),
    ]);
    assert_eq!((lines(client), lines(server)), (2, 1));
    let slack = if chaos_tests::is_emulated() { 15.0 } else { 2.0 };
    let expect = |least: [f64; 3]| {
        for (place, least) in places.into_iter().zip(least) {
            let found = waits(&bed, place, PACE, 30);
            let (first, middle) = (quantile(&found, 0.0), quantile(&found, 0.5));
            let told = format!("{place}: {first:.2} to {middle:.2} ms, asked {least}");
            println!("{told}");
            assert!(first >= least && middle < least + slack, "{told}");
        }
    };
    expect([40.0, 80.0, 120.0]);
    bed.ctl.delete("first");
    assert_eq!((lines(client), lines(server)), (1, 1));
    expect([0.0, 80.0, 120.0]);
    bed.ctl.delete("third");
    assert_eq!((lines(client), lines(server)), (1, 0));
    expect([0.0, 80.0, 0.0]);
    assert_eq!(chaos_tests::rate::lost_by_lines(&bed.daemon), 0);
    bed.delete("second");
}

/// What finds no room is lost, and is said to be lost by the line and not by the fault.
#[test]
fn packets_that_find_no_room_are_counted_and_warned_of() {
    need!(require_fq());
    const ROOM: u64 = 20;
    const SENT: u64 = 100;
    let bed = Bed::new();
    let netns = &bed.net.client.netns;
    let to = bed.net.server.at(9000);
    let sink = bed.server.udp_sink(to);
    bed.ctl
        .apply(&[bed.on_client("late", delay("1s")).traffic(udp(to.port()))]);
    let names = devices(netns);
    let line = names.iter().find(|name| name.starts_with("chaos-line"));
    let line = line.expect("the line has a device");
    netns.tc(&format!(
        "qdisc change dev {line} root fq limit {ROOM} flow_limit {ROOM}"
    ));
    assert_eq!(bed.client.udp_send(to, SENT).accepted, SENT);
    let arrived = || bed.server.sink_report(sink).received();
    eventually(2 * SOON, "those with room arrive", || arrived() >= ROOM);
    let view = bed.ctl.fault("late");
    assert_eq!(view.packets("matched"), SENT);
    assert_eq!(view.packets("dropped"), 0, "not the fault's doing");
    let lost = chaos_tests::rate::lost_by_lines(&bed.daemon);
    assert_eq!((arrived(), lost), (ROOM, SENT - ROOM));
    let warnings = view.0["status"]["warnings"].as_array().expect("a list");
    let warning = warnings.iter().find(|warning| warning["code"] == "LineLost");
    let message = warning.expect("it warns")["message"].to_string();
    assert!(message.contains(&lost.to_string()), "{message}");
    bed.delete("late");
    // It stays so when the line has gone, and is held against no later one.
    assert_eq!(chaos_tests::rate::lost_by_lines(&bed.daemon), lost);
    bed.ctl
        .apply(&[bed.on_client("later", delay("1s")).traffic(udp(to.port()))]);
    assert!(!bed.ctl.fault("later").warnings().contains(&"LineLost"));
    bed.delete("later");
    assert_eq!(chaos_tests::rate::lost_by_lines(&bed.daemon), lost);
}

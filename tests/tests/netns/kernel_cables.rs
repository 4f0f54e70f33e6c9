//! Delay by `fq`: several lines at once, and one that is full.

use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::time::Duration;

use chaos_tests::{Netns, eventually, need, require_fq, veth};
use serde_json::{Value, json};

use crate::bed::{Bed, SOON};
use crate::line::lines;
use crate::probes::{delay, quantile, udp, waits};

const PACE: Duration = Duration::from_millis(10);

/// Whether the kernel has netkit devices: whether it makes a pair of them.
fn has_netkit() -> bool {
    let netns = Netns::new();
    let words = [
        "netns",
        "exec",
        netns.name(),
        "ip",
        "link",
        "add",
        "type",
        "netkit",
    ];
    let made = Command::new("ip").args(words).output().expect("ip runs");
    made.status.success()
}

/// What the lines of a namespace are made of.
fn kinds(netns: &Netns) -> Vec<String> {
    let listed: Vec<Value> = serde_json::from_str(&netns.ip("-j -d link show")).expect("ip writes JSON");
    let named = |link: &&Value| {
        let name = link["ifname"].as_str();
        name.is_some_and(|name| name.starts_with("chaos-line"))
    };
    let kind = |link: &Value| link["linkinfo"]["info_kind"].as_str().map(str::to_owned);
    listed.iter().filter(named).filter_map(kind).collect()
}

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
    let kind = if has_netkit() { "netkit" } else { "veth" }.to_owned();
    assert_eq!(
        (kinds(client), kinds(server)),
        (vec![kind.clone(); 2], vec![kind])
    );
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

/// Runs tc at the far ends of the lines, in the namespace that the daemon keeps without a name.
fn far_tc(bed: &Bed, command: &str) -> String {
    let known = [bed.daemon.netns(), &bed.net.client.netns, &bed.net.server.netns].map(|netns| netns.inode());
    let open = std::fs::read_dir(format!("/proc/{}/fd", bed.daemon.pid())).expect("it runs");
    let far = open.flatten().map(|entry| entry.path()).find(|entry| {
        let target = std::fs::read_link(entry).unwrap_or_default();
        target.to_string_lossy().starts_with("net:[")
            && std::fs::metadata(entry).is_ok_and(|there| !known.contains(&there.ino()))
    });
    let far = far.expect("it keeps the namespace of the far ends");
    let netns = format!("--net={}", far.display());
    let argv: Vec<&str> = ["nsenter", &netns, "tc"]
        .into_iter()
        .chain(command.split_whitespace())
        .collect();
    chaos_tests::run(&argv)
}

/// The queues there in which packets wait: device, and where they hang.
fn far_queues(bed: &Bed) -> Vec<(String, String)> {
    let listed = far_tc(bed, "-j qdisc show");
    let listed: Vec<Value> = serde_json::from_str(&listed).expect("tc writes JSON");
    let word = |queue: &Value, key: &str| queue[key].as_str().map(str::to_owned);
    listed
        .iter()
        .filter(|queue| queue["kind"] == "fq")
        .filter_map(|queue| Some((word(queue, "dev")?, queue)))
        .filter(|(device, _)| device.starts_with("chaos-line"))
        .map(|(device, queue)| {
            // Where there is one processor, there is one queue.
            let parent = word(queue, "parent").map(|parent| format!("parent {parent}"));
            (device, parent.unwrap_or_else(|| "root".to_owned()))
        })
        .collect()
}

/// What finds no room is lost, and is said to be lost by the line and not by the fault.
#[test]
fn packets_that_find_no_room_are_counted_and_warned_of() {
    need!(require_fq());
    const ROOM: u64 = 20;
    const SENT: u64 = 100;
    let bed = Bed::new();
    let to = bed.net.server.at(9000);
    let sink = bed.server.udp_sink(to);
    bed.ctl
        .apply(&[bed.on_client("late", delay("1s")).traffic(udp(to.port()))]);
    let queues = far_queues(&bed);
    assert!(!queues.is_empty(), "the line has queues");
    for (device, place) in queues {
        far_tc(
            &bed,
            &format!("qdisc replace dev {device} {place} fq limit {ROOM} flow_limit {ROOM}"),
        );
    }
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

//! The systemd unit: how hard it is, and that the daemon works with the capabilities it leaves.

use std::path::Path;

use chaos_tests::{Daemon, FaultFile, Pair, Workload, need, require_program, run};
use serde_json::json;

fn unit() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd/chaos-daemon.service")
}

/// Names as setpriv has them: `net_admin`.
fn bounding_set() -> Vec<String> {
    let text = std::fs::read_to_string(unit()).expect("the unit is there");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let names = line.expect("it bounds capabilities").split_whitespace();
    names
        .map(|name| name.trim_start_matches("CAP_").to_ascii_lowercase())
        .collect()
}

#[test]
fn the_unit_is_hardened() {
    need!(require_program("systemd-analyze"));
    let path = unit();
    let said = run(&[
        "systemd-analyze",
        "security",
        "--offline=true",
        "--no-pager",
        path.to_str().expect("it is text"),
    ]);
    let level = said
        .lines()
        .find_map(|line| line.split_once("Overall exposure level for chaos-daemon.service: "))
        .and_then(|(_, rest)| rest.split(' ').next()?.parse::<f64>().ok());
    let level = level.unwrap_or_else(|| panic!("no level in: {said}"));
    assert!(level <= 4.0, "{level}: {said}");
}

#[test]
fn the_daemon_works_with_the_capabilities_of_its_unit_and_names_those_it_lacks() {
    need!(require_program("setpriv"));
    let net = Pair::new();
    let set = bounding_set();
    let bound = |set: &[String]| {
        let names: String = set.iter().map(|name| format!(",+{name}")).collect();
        format!("--bounding-set=-all{names}")
    };
    let all = bound(&set);
    let daemon = Daemon::builder()
        .wrapper(&["setpriv", "--no-new-privs", "--inh-caps=-all", &all])
        .start();
    let ctl = daemon.ctl();
    let (client, server) = (
        Workload::start(&net.client.netns, None),
        Workload::start(&net.server.netns, None),
    );
    let sink = server.udp_sink(net.server.at(9000));
    let cut = FaultFile::on_netns("cut", &net.client.netns, json!({"partition": {}}));
    ctl.apply(&[cut.traffic(json!({"protocol": "udp"}))]);
    client.udp_send(net.server.at(9000), 10);
    assert_eq!(ctl.fault("cut").packets("dropped"), 10);
    ctl.delete("cut");
    // The line needs a device, a raw socket and a high priority.
    ctl.apply(&[FaultFile::on_netns(
        "slow",
        &net.client.netns,
        json!({"delay": {"latency": "20ms"}}),
    )]);
    client.udp_send(net.server.at(9000), 10);
    chaos_tests::eventually(std::time::Duration::from_secs(3), "they arrive late", || {
        server.sink_report(sink).received() == 10
    });
    ctl.delete("slow");
    drop(daemon);

    let less: Vec<_> = set.into_iter().filter(|name| name != "net_admin").collect();
    let state = tempfile::TempDir::new().expect("a temporary folder can be made");
    let mut command = std::process::Command::new("setpriv");
    command.arg(bound(&less)).arg(chaos_tests::binary("chaos-daemon"));
    command.arg("--state-dir").arg(state.path());
    command.arg("--socket").arg(state.path().join("api.sock"));
    let refused = net
        .client
        .netns
        .enter(|| command.output().expect("it can be started"));
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("CAP_NET_ADMIN"), "it names what is missing: {said}");
}

//! `chaosctl` against a real daemon: what a person types, with real clients and servers.

use std::time::Duration;

use chaos_tests::{Process, eventually, need, require_program};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::bed::{Bed, SOON};

#[test]
fn inject_takes_its_fault_from_flags() {
    let bed = Bed::new();
    let netns = bed.net.client.netns.name();
    bed.ctl.ok(&[
        "inject",
        "drop",
        "100%",
        "--netns",
        netns,
        "--direction",
        "egress",
        "--protocol",
        "udp",
        "--remote",
        "10.77.0.0/24",
        "--remote-port",
        "9000",
        "--remote-port",
        "9002-9003",
        "--for",
        "60s",
        "--name",
        "by-hand",
    ]);
    bed.ctl.wait_for_phase("by-hand", "Active");
    for (port, reaches) in [(9000, false), (9001, true), (9003, false)] {
        assert_eq!(bed.reaches(bed.net.server.at(port)), reaches, "{port}");
    }
    assert!(bed.reaches(bed.net.server.at6(9000)), "the prefix was of IPv4");
    let table = bed.ctl.ok(&["get", "faults"]).stdout;
    assert!(table.contains("by-hand") && table.contains("Active"), "{table}");
    assert_eq!(
        bed.ctl.ok(&["get", "faults", "-o", "name"]).stdout.trim(),
        "fault/by-hand"
    );
    let wide = bed.ctl.ok(&["get", "faults", "-o", "wide"]).stdout;
    assert!(wide.contains("c0"), "{wide}");
    bed.delete("by-hand");
}

#[test]
fn nginx_and_curl_feel_a_reject_and_their_neighbour_does_not() {
    need!(require_program("nginx"));
    let bed = Bed::new();
    let folder = tempfile::TempDir::new().expect("a temporary folder can be made");
    let at = folder.path().display();
    let config = folder.path().join("nginx.conf");
    let text = format!(
        "daemon off; worker_processes 1; pid {at}/pid; error_log {at}/error.log; events {{}} \
         http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; \
         uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; \
         server {{ listen 8080; listen [::]:8080; listen 8081; listen [::]:8081; return 200 ok; }} }}"
    );
    std::fs::write(&config, text).expect("a file in it, too");
    let argv = [
        "nginx",
        "-c",
        config.to_str().expect("a temporary path is text"),
        "-e",
        "stderr",
    ];
    let _nginx = Process::spawn(&bed.net.server.netns, None, &argv).listens(&bed.net.server.netns, 8081);
    let curl = |url: &str| {
        let argv = [
            "curl",
            "-sS",
            "--max-time",
            "1",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            url,
        ];
        let done = Process::spawn(&bed.net.client.netns, None, &argv).finish(SOON * 2);
        (done.status.code().unwrap_or(-1), done.stdout)
    };
    let fine = (0, "200".to_owned());
    for url in ["http://10.77.0.2:8080/", "http://[fd77::2]:8080/"] {
        assert_eq!(curl(url), fine, "{url} before");
    }
    let netns = bed.net.client.netns.name();
    // 7: failed to connect. 28: timed out.
    for (fault, code) in [
        (["reject", "--with", "reset"].as_slice(), 7),
        (["partition"].as_slice(), 28),
    ] {
        let flags = [
            "--netns",
            netns,
            "--protocol",
            "tcp",
            "--remote-port",
            "8080",
            "--for",
            "60s",
            "--name",
            fault[0],
        ];
        bed.ctl
            .ok(&[["inject"].as_slice(), fault, flags.as_slice()].concat());
        bed.ctl.wait_for_phase(fault[0], "Active");
        for (hit, spared) in [
            ("10.77.0.2:8080", "10.77.0.2:8081"),
            ("[fd77::2]:8080", "[fd77::2]:8081"),
        ] {
            assert_eq!(curl(&format!("http://{hit}/")).0, code, "{fault:?} {hit}");
            assert_eq!(curl(&format!("http://{spared}/")), fine, "{fault:?} {spared}");
        }
        bed.delete(fault[0]);
    }
    assert_eq!(curl("http://10.77.0.2:8080/"), fine, "after");
}

#[test]
fn plan_changes_nothing_and_tells_the_order() {
    let bed = Bed::new();
    bed.ctl
        .apply(&[bed.on_client("first", json!({"drop": {"every": 5}}))]);
    let second = bed.on_client("second", json!({"duplicate": {}}));
    let mut file = tempfile::Builder::new()
        .suffix(".yaml")
        .tempfile()
        .expect("a temporary file can be made");
    std::io::Write::write_all(&mut file, second.to_string().as_bytes()).expect("it can be written");
    let path = file.path().to_str().expect("a temporary path is text");
    let plan: Value =
        serde_json::from_str(&bed.ctl.ok(&["plan", "-f", path, "-o", "json"]).stdout).expect("JSON");
    let rules = plan["faults"][0]["rules"]
        .as_array()
        .expect("a plan has rules")
        .clone();
    let order: Vec<&str> = rules.iter().filter_map(|rule| rule["fault"].as_str()).collect();
    assert_eq!(order, ["first", "second"], "{plan}");
    assert!(
        plan["faults"][0]["attachments"]
            .as_array()
            .is_some_and(|a| !a.is_empty()),
        "{plan}"
    );
    assert!(bed.ctl.find("second").is_none(), "a plan starts nothing");
    assert_eq!(bed.send(bed.net.server.at(9000), 10).duplicates(), 0);
    let said = bed.ctl.ok(&["explain", "-f", path]).stdout;
    assert!(said.contains("netem duplicate 100%"), "{said}");
}

#[test]
fn ctrl_c_while_waiting_rolls_back_and_an_ended_wait_is_a_success() {
    let bed = Bed::new();
    let ctl = chaos_tests::binary("chaosctl").display().to_string();
    let socket = bed.daemon.socket().display().to_string();
    let netns = bed.net.client.netns.name();
    let spawn = |name: &str, time: &str| {
        let argv = [
            &ctl,
            "--socket",
            &socket,
            "inject",
            "partition",
            "--netns",
            netns,
            "--for",
            time,
            "--name",
            name,
            "--wait",
        ];
        Process::spawn(bed.daemon.netns(), None, &argv)
    };
    let waiting = spawn("long", "60s");
    eventually(SOON, "it acts", || {
        bed.ctl.find("long").is_some_and(|f| f.phase() == "Active")
    });
    waiting.signal(Signal::SIGINT);
    let done = waiting.finish(SOON);
    assert_eq!(done.status.code(), Some(130), "{}", done.stderr);
    assert_eq!(bed.ctl.fault("long").reason(), "Deleted");
    bed.assert_untouched();

    let done = spawn("short", "300ms").finish(Duration::from_secs(5));
    assert_eq!(done.status.code(), Some(0), "{}", done.stderr);
    assert_eq!(bed.ctl.fault("short").reason(), "Deadline");

    let waiting = spawn("halted", "60s");
    eventually(SOON, "it acts", || {
        bed.ctl.find("halted").is_some_and(|f| f.phase() == "Active")
    });
    bed.ctl.ok(&["halt"]);
    assert_eq!(waiting.finish(SOON).status.code(), Some(11));
}

#[test]
fn doctor_status_and_metrics_answer() {
    let bed = Bed::new();
    bed.ctl.apply(&[bed
        .on_client("counted", json!({"partition": {}}))
        .traffic(json!({"protocol": "udp"}))]);
    bed.client.udp_send(bed.net.server.at(9000), 7);
    bed.wait_for_packets("counted", "dropped", 7);
    assert!(bed.ctl.ok(&["doctor"]).stdout.contains("tcx"));
    assert!(
        bed.ctl.ok(&["status"]).stdout.contains("counted")
            || bed.ctl.ok(&["status"]).stdout.contains("active")
    );
    let api = chaos_tests::Api::of(&bed.daemon);
    let metrics = api.send("GET", "/metrics", "");
    assert_eq!(metrics.status, 200);
    let line = metrics
        .body
        .lines()
        .find(|l| l.contains("counted") && l.contains("dropped"));
    assert!(
        line.is_some_and(|l| l.ends_with(" 7")),
        "{line:?} in {}",
        metrics.body
    );
    for path in ["/livez", "/readyz", "/v1/node", "/openapi.json"] {
        assert_eq!(api.send("GET", path, "").status, 200, "{path}");
    }
}

//! What looking verbs print.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use serde_json::{Value, json};
use support::{DROP, FakeDaemon, Reply, chaosctl, ended, file, list, not_found, view};

/// Has one active and one ended fault.
fn two_faults() -> FakeDaemon {
    FakeDaemon::start(|request| match request.path.as_str() {
        "/v1/faults" => Reply::Json(200, list(&[view("lossy-orders"), ended("drop-3f2a", "Deadline")])),
        "/v1/faults/lossy-orders" => Reply::Json(200, view("lossy-orders")),
        _ => not_found(),
    })
}

/// Time left depends on today.
fn without_left(table: &str) -> String {
    let lines = table.lines().map(|line| {
        let words: Vec<&str> = line
            .split("   ")
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .collect();
        let days = |word: &&str| !(word.ends_with('h') && word.contains("d "));
        words.into_iter().filter(days).collect::<Vec<_>>().join(" | ") + "\n"
    });
    lines.collect()
}

#[test]
fn the_table_reads_well() {
    let ran = two_faults().run(&["get", "faults"]);
    assert_eq!(ran.code, 0);
    assert_eq!(
        without_left(&ran.stdout),
        "NAME | PHASE | WHAT | WHERE | LEFT | MATCHED | AFFECTED\n\
         lossy-orders | Active | drop 30% · egress tcp → *:5432 | cgroup /system.slice/orders.service | 120 | 30.0%\n\
         drop-3f2a | Ended | drop 30% · egress tcp → *:5432 | cgroup /system.slice/orders.service | - | 120 | 30.0%\n"
    );
    assert!(!ran.stdout.contains('\x1b'), "colour without a terminal");
    assert!(ran.stdout.lines().all(|line| !line.ends_with(' ')));
}

#[test]
fn requests_and_look_ups_are_counted_in_columns_of_their_own() {
    let mut answering = view("payments-503");
    answering["spec"]["fault"] = json!({"http": {"status": 503, "chance": "40%"}});
    answering["status"]["packets"] = json!({"matched": 900, "passed": 815, "answered": 81, "unseen": 4});
    let daemon =
        FakeDaemon::start(move |_| Reply::Json(200, list(&[answering.clone(), view("lossy-orders")])));
    let table = without_left(&daemon.run(&["get"]).stdout);
    assert!(
        table.starts_with("NAME | PHASE | WHAT | WHERE | LEFT | MATCHED | AFFECTED | ANSWERED | UNSEEN\n"),
        "{table}"
    );
    assert!(table.contains("http 503 40% · egress tcp → *:5432 | "), "{table}");
    assert!(table.contains(" | 900 | 9.4% | 81 | 4\n"), "{table}");
    assert!(table.contains(" | 120 | 30.0% | - | -\n"), "{table}");
    assert!(daemon.run(&["get", "-o", "wide"]).stdout.contains("ANSWERED"));
}

#[test]
fn columns_line_up() {
    let ran = two_faults().run(&["get"]);
    let mut lines = ran.stdout.lines();
    let header = lines.next().expect("a header");
    let column = header.find("WHERE").expect("the column");
    for line in lines {
        // In characters: the summary has some that are wider than a byte.
        let rest: String = line.chars().skip(column).collect();
        assert!(rest.starts_with("cgroup /system.slice"), "{line}");
    }
}

#[test]
fn wide_tells_where_it_sits_and_why_it_ended() {
    let ran = two_faults().run(&["get", "faults", "-o", "wide"]);
    for text in [
        "REASON",
        "HOOK",
        "MODE",
        "INTERFACES",
        "SEED",
        "Deadline",
        "tc-egress",
        "tcx",
        "eth0,eth1",
        "42",
    ] {
        assert!(ran.stdout.contains(text), "no {text:?} in {}", ran.stdout);
    }
}

#[test]
fn colour_only_when_asked() {
    let daemon = two_faults();
    assert!(daemon.run(&["get", "--color", "always"]).stdout.contains("\x1b["));
    assert!(!daemon.run(&["get", "--color", "never"]).stdout.contains('\x1b'));
}

#[test]
fn json_is_the_list_of_the_contract_and_one_object_for_one_name() {
    let daemon = two_faults();
    let parse = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    let all = parse(&daemon.run(&["get", "faults", "-o", "json"]).stdout);
    assert_eq!(all["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(all["items"][0]["status"]["packets"]["matched"], 120);
    assert_eq!(all["items"][1]["status"]["reason"], "Deadline");
    let one = parse(
        &daemon
            .run(&["get", "faults", "lossy-orders", "-o", "json"])
            .stdout,
    );
    assert_eq!(one["metadata"]["name"], "lossy-orders");
    let two = parse(
        &daemon
            .run(&[
                "get",
                "faults",
                "lossy-orders",
                "fault/lossy-orders",
                "-o",
                "json",
            ])
            .stdout,
    );
    assert_eq!(two["items"].as_array().map(Vec::len), Some(2));
    let yaml = daemon.run(&["get", "fault", "lossy-orders", "-o", "yaml"]).stdout;
    assert!(yaml.contains("metadata:\n  name: lossy-orders\n"), "{yaml}");
    daemon
        .run(&["get", "-o", "name"])
        .prints("fault/lossy-orders\nfault/drop-3f2a\n");
}

#[test]
fn no_faults_is_an_empty_list_not_an_error() {
    let daemon = FakeDaemon::start(|_| Reply::Json(200, list(&[])));
    let ran = daemon.run(&["get"]);
    ran.expect(0, &["there are no faults"]);
    assert_eq!(ran.stdout, "");
    assert_eq!(
        daemon.run(&["get", "-o", "json"]).stdout,
        "{\n  \"items\": []\n}\n"
    );
    daemon.run(&["get", "-o", "name"]).prints("");
}

#[test]
fn an_unknown_name_suggests_the_nearest() {
    let daemon = two_faults();
    for verb in ["get", "delete"] {
        daemon
            .run(&[verb, "lossy-order"])
            .expect(2, &["no fault `lossy-order`", "did you mean `lossy-orders`?"]);
        daemon
            .run(&[verb, "something-else"])
            .expect(2, &["`chaosctl get faults` lists"]);
    }
}

#[test]
fn watch_goes_on_until_the_reader_goes_away() {
    let daemon = two_faults();
    let mut child = chaosctl(&daemon.socket())
        .args(["get", "-o", "name", "--watch", "--interval", "50ms"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("chaosctl runs");
    let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    for _ in 0..6 {
        line.clear();
        reader.read_line(&mut line).expect("a line");
    }
    assert_eq!(line, "fault/drop-3f2a\n");
    drop(reader);
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_closed_pipe_is_no_panic() {
    for args in [&["completions", "zsh"][..], &["man"], &["--help"], &["get"]] {
        let daemon = two_faults();
        let mut child = chaosctl(&daemon.socket())
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("chaosctl runs");
        drop(child.stdout.take());
        let mut stderr = String::new();
        child
            .stderr
            .take()
            .expect("a pipe")
            .read_to_string(&mut stderr)
            .expect("text");
        assert_eq!(
            child.wait().expect("it ends").code(),
            Some(0),
            "{args:?}: {stderr}"
        );
        assert_eq!(stderr, "", "{args:?}");
    }
}

fn node() -> Value {
    json!({
        "version": "0.0.9", "hostname": "web-1", "kernel": "6.12.0 x86_64",
        "capabilities": [
            {"name": "tcx", "available": true, "why": "a program was attached"},
            {"name": "xdp-native", "available": false, "why": "eth0 has no native XDP – use tc"}
        ],
        "guards": [{"name": "ssh", "protects": "TCP port 22"}, {"name": "arp", "protects": "ARP and ND"}],
        "halt": {"halted": true, "since": "2024-05-01T10:00:00Z", "by": "uid 0", "reason": "checkout is down"},
        "startedAt": "2024-05-01T09:00:00Z", "uptimeSeconds": 10, "lease": "2s",
        "counts": {"pending": 0, "active": 2, "ended": 1}, "aNewField": true
    })
}

#[test]
fn status_says_what_matters() {
    let daemon = FakeDaemon::start(|_| Reply::Json(200, node()));
    let ran = daemon.run(&["status"]);
    assert_eq!(ran.code, 0);
    for text in [
        "chaos-daemon 0.0.9 on web-1",
        "HALTED",
        "by uid 0 (checkout is down)",
        "halt --release",
        "2 active, 0 pending, 1 ended",
        "lease   2s",
        "  ssh  TCP port 22\n",
        "  arp  ARP and ND\n",
    ] {
        assert!(ran.stdout.contains(text), "no {text:?} in {}", ran.stdout);
    }
    let json: Value = serde_json::from_str(&daemon.run(&["status", "-o", "json"]).stdout).expect("JSON");
    assert_eq!(json["counts"]["active"], 2);
}

#[test]
fn doctor_repeats_what_the_daemon_found_out() {
    let daemon = FakeDaemon::start(|_| Reply::Json(200, node()));
    let ran = daemon.run(&["doctor"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for text in [
        "ok       tcx",
        "a program was attached",
        "missing  xdp-native",
        "→ use tc",
        "warning  halt",
        "warning  version",
        "This host",
    ] {
        assert!(ran.stdout.contains(text), "no {text:?} in {}", ran.stdout);
    }
}

#[test]
fn what_needs_no_daemon_works_without_one() {
    let (_dir, path) = file("fault.yaml", DROP);
    let ran = support::run_alone(&["explain", "-f", &path]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.starts_with("lossy-orders: drop 30%"), "{}", ran.stdout);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(
            support::run_alone(&["completions", shell])
                .stdout
                .contains("inject")
        );
    }
    assert!(support::run_alone(&["man"]).stdout.contains(".TH chaosctl"));
    let dir = tempfile::tempdir().expect("a directory");
    let pages = dir.path().join("man1");
    let ran = support::run_alone(&["man", "--dir", pages.to_str().expect("UTF-8")]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let page = std::fs::read_to_string(pages.join("chaosctl-inject-drop.1")).expect("a page");
    assert!(page.contains("chaosctl inject drop 30%"), "{page}");
    support::run_alone(&["--version"]).prints(concat!("chaosctl ", env!("CARGO_PKG_VERSION"), "\n"));
}

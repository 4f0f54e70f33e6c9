//! What changing verbs send, and what they say about it.

mod support;

use std::io::Write;
use std::process::Stdio;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};
use support::{DROP, FakeDaemon, Reply, chaosctl, ended, file, list, not_found, problem, view};

/// Accepts everything; knows one fault already.
fn accepting() -> FakeDaemon {
    FakeDaemon::start(|request| match request.method.as_str() {
        "GET" => Reply::Json(200, list(&[view("lossy-orders")])),
        _ => {
            let sent = request.json();
            let accepted = sent["items"].as_array().expect("items").iter().map(|fault| {
                let mut view = view(fault["metadata"]["name"].as_str().expect("a name"));
                view["spec"] = fault["spec"].clone();
                view["status"]["warnings"] =
                    json!([{"code": "HostTarget", "message": "it is wide", "advice": "narrow it"}]);
                view
            });
            Reply::Json(201, list(&accepted.collect::<Vec<_>>()))
        }
    })
}

#[test]
fn apply_sends_all_documents_at_once_and_tells_what_became_of_each() {
    let daemon = accepting();
    let changed = DROP.replace("30%", "31%");
    let other = DROP.replace("lossy-orders", "other");
    let (_dir, path) = file("faults.yaml", &format!("{DROP}---\n{other}"));
    let ran = daemon.run(&["apply", "-f", &path]);
    assert_eq!(ran.stdout, "fault/lossy-orders unchanged\nfault/other created\n");
    ran.expect(
        0,
        &[
            "warning: lossy-orders: it is wide – narrow it\n",
            "warning: other: it is wide",
        ],
    );
    let posts: Vec<_> = daemon
        .requests()
        .into_iter()
        .filter(|request| request.method == "POST")
        .collect();
    assert_eq!(posts.len(), 1);
    assert!(posts[0].is("POST", "/v1/faults") && posts[0].head.contains("content-type: application/json"));
    assert_eq!(posts[0].json()["items"][1]["metadata"]["name"], "other");

    let (_dir, path) = file("changed.yaml", &changed);
    let ran = daemon.run(&["apply", "-f", &path]);
    assert_eq!(ran.stdout, "fault/lossy-orders changed\n");
    ran.expect(0, &["warning: it is wide – narrow it\n"]);
    let ran = daemon.run(&["apply", "-f", &path, "-o", "json"]);
    let printed: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(printed["items"][0]["spec"]["fault"]["drop"]["chance"], "31%");
}

#[test]
fn apply_reads_standard_input() {
    let daemon = accepting();
    let mut child = chaosctl(&daemon.socket())
        .args(["apply", "-f", "-", "-o", "name"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("chaosctl runs");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(DROP.as_bytes())
        .expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "fault/lossy-orders\n");
}

#[test]
fn requests_and_look_ups_are_chosen_by_flags() {
    let sent = |flags: &[&str]| {
        let daemon = accepting();
        let ran = daemon.run(&[&["inject"], flags, &["--netns", "blue", "--for", "60s"]].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let post = daemon
            .requests()
            .into_iter()
            .find(|request| request.method == "POST");
        post.expect("a change").json()["items"][0]["spec"]["fault"].clone()
    };
    assert_eq!(
        sent(&[
            "http",
            "503",
            "--chance",
            "40%",
            "--path",
            "/pay/*",
            "--method",
            "GET",
            "--method",
            "POST",
            "--http-host",
            "payments.example.com",
            "--body",
            "later",
            "--header",
            "Retry-After: 5",
            "--header",
            "X-A:b, c: d ",
        ]),
        json!({"http": {
            "status": 503, "body": "later", "headers": {"Retry-After": "5", "X-A": "b, c: d"}, "chance": "40%",
            "method": ["GET", "POST"], "path": "/pay/*", "host": "payments.example.com",
        }})
    );
    assert_eq!(sent(&["http", "--abort"]), json!({"http": {"abort": true}}));
    assert_eq!(
        sent(&["http", "--delay", "300ms"]),
        json!({"http": {"delay": "300ms"}})
    );
    assert_eq!(
        sent(&[
            "dns",
            "nxdomain",
            "--names",
            "*.example.com,b.example",
            "--types",
            "A,aaaa",
            "--chance",
            "50%",
            "--tcp",
            "reset",
        ]),
        json!({"dns": {
            "answer": "nxdomain", "names": ["*.example.com", "b.example"], "types": ["A", "AAAA"], "chance": "50%",
            "tcp": "reset",
        }})
    );
    assert_eq!(
        sent(&["dns", "--a", "192.0.2.1", "--aaaa", "2001:db8::1", "--ttl", "1m"]),
        json!({"dns": {"answer": {"a": ["192.0.2.1"], "aaaa": ["2001:db8::1"], "ttl": "1m"}}})
    );
    assert_eq!(sent(&["dns", "--delay", "2s"]), json!({"dns": {"delay": "2s"}}));
}

#[test]
fn inject_turns_flags_into_the_spec() {
    let daemon = accepting();
    let ran = daemon.run(&[
        "inject",
        "drop",
        "30%",
        "--correlation",
        "25%",
        "--signal",
        "local",
        "--cgroup",
        "/a",
        "--interfaces",
        "eth0,eth1",
        "--direction",
        "both",
        "--protocol",
        "tcp",
        "--remote",
        "10.0.0.0/8",
        "--remote",
        "db.example.com",
        "--except",
        "10.1.0.0/16",
        "--remote-port",
        "5432,6000-6010",
        "--local-port",
        "8080",
        "--connections",
        "new",
        "--flows",
        "5%",
        "--for",
        "60s",
        "--name",
        "mine",
        "--seed",
        "7",
        "--max-packets",
        "1000",
    ]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, "fault/mine created\n"),
        "{}",
        ran.stderr
    );
    let sent = daemon
        .requests()
        .into_iter()
        .find(|request| request.method == "POST")
        .expect("a change");
    assert_eq!(
        sent.json()["items"][0],
        json!({
            "apiVersion": "chaos-daemon.dev/v1alpha1",
            "kind": "NetworkFault",
            "metadata": {"name": "mine"},
            "spec": {
                "target": {"cgroup": "/a", "interfaces": ["eth0", "eth1"]},
                "traffic": {
                    "direction": "both", "protocol": "tcp",
                    "remote": {
                        "cidrs": ["10.0.0.0/8"], "except": ["10.1.0.0/16"], "hosts": ["db.example.com"],
                        "ports": [5432, "6000-6010"]
                    },
                    "local": {"ports": [8080]},
                    "connections": "new", "flows": "5%"
                },
                "fault": {"drop": {"chance": "30%", "correlation": "25%", "signal": "local"}},
                "duration": "1m", "seed": 7, "safety": {"maxPackets": 1000}
            }
        })
    );
}

#[test]
fn every_word_has_its_fault_and_a_name_is_made_up() {
    let cases = [
        (
            &["partition", "--netns", "blue"][..],
            json!({"partition": {}}),
            json!({"netns": "blue"}),
        ),
        (
            &["reject", "--pid", "42"],
            json!({"reject": {}}),
            json!({"pid": 42}),
        ),
        (
            &["reject", "--with", "icmp", "--host"],
            json!({"reject": {"with": "icmp"}}),
            json!({"host": true}),
        ),
        (
            &["reset", "20%", "--container", "c1"],
            json!({"reset": {"chance": "20%"}}),
            json!({"container": "c1"}),
        ),
        (
            &["duplicate", "10%", "--interface", "eth0@blue"],
            json!({"duplicate": {"chance": "10%"}}),
            json!({"interface": {"name": "eth0", "netns": "blue"}}),
        ),
        (
            &["corrupt", "1%", "--checksum", "fix", "--interface", "eth0"],
            json!({"corrupt": {"chance": "1%", "checksum": "fix"}}),
            json!({"interface": {"name": "eth0"}}),
        ),
        (
            &["drop", "--every", "5", "--host"],
            json!({"drop": {"every": 5}}),
            json!({"host": true}),
        ),
        (
            &["drop", "--gilbert-elliott", "p=1%,r=10%,h=1%,k=100%", "--host"],
            json!({"drop": {"gilbertElliott": {"p": "1%", "r": "10%", "h": "1%"}}}),
            json!({"host": true}),
        ),
    ];
    let daemon = accepting();
    for (args, fault, target) in cases {
        let ran = daemon.run(&[&["inject"], args, &["--protocol", "tcp", "--for", "5s"]].concat());
        let name = ran
            .stdout
            .strip_prefix("fault/")
            .and_then(|rest| rest.strip_suffix(" created\n"));
        let name = name.unwrap_or_else(|| panic!("{ran:?}"));
        assert!(name.starts_with(&format!("{}-", args[0])), "{name}");
        let sent = daemon.requests().pop().expect("a change").json();
        assert_eq!(sent["items"][0]["spec"]["fault"], fault, "{args:?}");
        assert_eq!(sent["items"][0]["spec"]["target"], target, "{args:?}");
        assert_eq!(sent["items"][0]["metadata"]["name"], name);
    }
}

#[test]
fn a_refusal_of_flags_has_no_place_in_a_file() {
    let daemon = FakeDaemon::start(|request| match request.method.as_str() {
        "GET" => Reply::Json(200, list(&[])),
        _ => {
            let error = json!({"pointer": "/items/0/spec/target", "path": "items[0].spec.target", "fault": "mine",
                               "message": "no such namespace", "remedy": "look"});
            problem(
                422,
                "urn:chaos-daemon:problem:invalid",
                "one thing is wrong",
                &[error],
            )
        }
    });
    let ran = daemon.run(&["inject", "drop", "30%", "--netns", "blue", "--for", "5s"]);
    ran.expect(2, &["(HTTP 422)\n  spec.target: no such namespace – look\n"]);
}

fn planning() -> FakeDaemon {
    FakeDaemon::start(|request| {
        assert!(request.is("POST", "/v1/plan"), "{request:?}");
        let name = request.json()["items"][0]["metadata"]["name"].clone();
        Reply::Json(
            200,
            json!({"faults": [{
                "name": name,
                "targets": [{
                    "netns": "host", "netnsInode": 4026531840_u64, "interfaces": ["eth0"], "cgroupIds": [7],
                    "cgroupPath": "/system.slice/orders.service"
                }],
                "rules": [
                    {"order": 1, "fault": "older", "text": "drop 10% of egress"},
                    {"order": 2, "fault": name, "text": "drop 30% of egress tcp to port 5432"}
                ],
                "attachments": [{"netns": "host", "interface": "eth0", "hook": "tc-egress", "mode": "tcx"}],
                "warnings": [{"code": "ComposesWith", "message": "also hit by older", "advice": "see the order"}],
                "hostChanges": [{"what": "clsact qdisc on eth0", "undoneBy": "its removal"}]
            }]}),
        )
    })
}

#[test]
fn plan_shows_what_would_happen() {
    let (_dir, path) = file("fault.yaml", DROP);
    let ran = planning().run(&["plan", "-f", &path]);
    ran.expect(0, &["warning: also hit by older – see the order"]);
    ran.prints(
        "fault/lossy-orders\n\
         \x20 target      netns host (inode 4026531840) cgroup /system.slice/orders.service interfaces eth0\n\
         \x20 rules       1. drop 10% of egress   [older]\n\
         \x20             2. drop 30% of egress tcp to port 5432\n\
         \x20 attaches to eth0 tc-egress (tcx)\n\
         \x20 changes     clsact qdisc on eth0 – undone by its removal\n",
    );
}

#[test]
fn dry_run_of_inject_is_a_plan() {
    let daemon = planning();
    let ran = daemon.run(&[
        "inject",
        "drop",
        "30%",
        "--host",
        "--for",
        "5s",
        "--name",
        "mine",
        "--dry-run",
        "-o",
        "json",
    ]);
    let plan: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(plan["faults"][0]["name"], "mine");
    assert_eq!(daemon.requests().len(), 1);
}

#[test]
fn pointers_become_lines_of_the_files_that_were_sent() {
    let daemon = FakeDaemon::start(|request| match request.method.as_str() {
        "GET" => Reply::Json(200, list(&[])),
        _ => problem(
            422,
            "https://chaos-daemon.dev/problems/invalid",
            "the cgroup does not exist",
            &[
                json!({"pointer": "/items/1/spec/target/cgroup", "path": "items[1].spec.target.cgroup",
                       "message": "there is no such cgroup", "remedy": "check the path"}),
                json!({"pointer": "/spec/traffic/remote/ports/0", "fault": "lossy-orders", "message": "busy"}),
            ],
        ),
    });
    let other = DROP.replace("lossy-orders", "other");
    let (dir, first) = file("a.yaml", DROP);
    std::fs::write(dir.path().join("b.yaml"), other).expect("a file");
    let second = dir.path().join("b.yaml");
    let ran = daemon.run(&["apply", "-f", &first, second.to_str().expect("UTF-8")]);
    ran.expect(
        2,
        &[
            "error: refused: the cgroup does not exist (HTTP 422)",
            "b.yaml:6:13: spec.target.cgroup: there is no such cgroup – check the path",
            "a.yaml:9:22: spec.traffic.remote.ports[0]: busy",
        ],
    );
    assert_eq!(ran.stdout, "");
}

#[test]
fn refusals_have_their_exit_codes() {
    let cases = [
        (400, "about:blank", 2),
        (413, "about:blank", 2),
        (422, "about:blank", 2),
        (403, "https://chaos-daemon.dev/problems/policy", 14),
        (409, "https://chaos-daemon.dev/problems/halted", 14),
        (409, "urn:chaos-daemon:problem:halted", 14),
        (409, "urn:chaos-daemon:problem:limit", 14),
        (409, "about:blank", 2),
        (500, "about:blank", 1),
        (503, "about:blank", 1),
    ];
    for (status, kind, code) in cases {
        let daemon = FakeDaemon::start(move |request| match request.method.as_str() {
            "GET" => Reply::Json(200, list(&[])),
            _ => problem(status, kind, "for a reason", &[]),
        });
        let ran = daemon.run(&["inject", "drop", "30%", "--host", "--for", "5s"]);
        ran.expect(code, &["refused: for a reason", &format!("(HTTP {status})")]);
    }
    let daemon =
        FakeDaemon::start(|_| Reply::Raw("HTTP/1.1 502 Bad\r\ncontent-length: 4\r\n\r\nnope".to_owned()));
    daemon.run(&["get"]).expect(1, &["Bad Gateway: nope (HTTP 502)"]);
}

#[test]
fn delete_makes_sure_that_it_has_ended() {
    let looks = AtomicUsize::new(0);
    let daemon = FakeDaemon::start(
        move |request| match (request.method.as_str(), request.path.as_str()) {
            ("DELETE", "/v1/faults/lossy-orders") => Reply::Json(200, view("lossy-orders")),
            // Before, and until the daemon has carried it out, it is active.
            ("GET", "/v1/faults/lossy-orders") if looks.fetch_add(1, Relaxed) % 3 < 2 => {
                Reply::Json(200, view("lossy-orders"))
            }
            ("GET", "/v1/faults/lossy-orders") => Reply::Json(200, ended("lossy-orders", "Deleted")),
            ("DELETE", "/v1/faults/old") => Reply::Json(200, ended("old", "Deadline")),
            ("GET", "/v1/faults/older") => Reply::Json(200, ended("older", "Deleted")),
            ("DELETE", "/v1/faults/gone") => Reply::Raw("HTTP/1.1 204 No Content\r\n\r\n".to_owned()),
            ("GET", "/v1/faults") => {
                Reply::Json(200, list(&[view("lossy-orders"), ended("old", "Deadline")]))
            }
            _ => not_found(),
        },
    );
    daemon
        .run(&["delete", "fault/lossy-orders"])
        .prints("fault/lossy-orders deleted\n");
    daemon
        .run(&["delete", "old"])
        .prints("fault/old had ended already (Deadline)\n");
    daemon
        .run(&["delete", "older"])
        .prints("fault/older had ended already (Deleted)\n");
    assert!(!daemon.saw("DELETE", "/v1/faults/older"));
    daemon.run(&["delete", "gone"]).prints("fault/gone deleted\n");
    daemon
        .run(&["delete", "--all"])
        .prints("fault/lossy-orders deleted\n");
    // The one that is unknown does not keep the other from ending.
    let ran = daemon.run(&["delete", "unknown-name", "lossy-orders"]);
    ran.expect(2, &["there is no fault `unknown-name`"]);
    assert_eq!(ran.stdout, "fault/lossy-orders deleted\n");
}

#[test]
fn a_fault_that_does_not_end_is_an_incomplete_rollback() {
    let daemon = FakeDaemon::start(|_| Reply::Json(200, view("lossy-orders")));
    daemon
        .run(&["delete", "lossy-orders", "--timeout", "300ms"])
        .expect(13, &["deleted but is still Active", "stop the daemon"]);
}

#[test]
fn halt_and_release() {
    let daemon = FakeDaemon::start(|request| {
        let halted = request.method == "POST";
        Reply::Json(200, json!({"halted": halted}))
    });
    let ran = daemon.run(&["halt", "--reason", "checkout is down"]);
    assert!(ran.stdout.starts_with("halted: all faults have ended"), "{ran:?}");
    let request = daemon.requests().pop().expect("a request");
    assert!(request.is("POST", "/v1/halt"));
    assert_eq!(request.json(), json!({"reason": "checkout is down"}));
    daemon
        .run(&["halt", "--release"])
        .prints("released: faults are accepted again\n");
    assert!(daemon.saw("DELETE", "/v1/halt"));
    let deaf = FakeDaemon::start(|_| Reply::Json(200, json!({"halted": false})));
    deaf.run(&["halt"])
        .expect(13, &["does not say that it is halted"]);
}

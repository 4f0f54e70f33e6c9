//! `inject --wait`: from the start to the end, and what Ctrl-C does.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{FakeDaemon, Reply, chaosctl, ended, list, not_found, problem, view};

const INJECT: [&str; 8] = [
    "inject", "drop", "30%", "--host", "--for", "60s", "--name", "mine",
];

/// A fault that runs until `end` says how it ended.
fn daemon(end: impl Fn(u32) -> Option<&'static str> + Send + 'static) -> FakeDaemon {
    let looks = AtomicU32::new(0);
    let deleted = AtomicBool::new(false);
    FakeDaemon::start(
        move |request| match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/v1/faults") => Reply::Json(200, list(&[])),
            ("POST", _) => Reply::Json(201, list(&[view("mine")])),
            ("DELETE", _) => {
                deleted.store(true, Ordering::Relaxed);
                Reply::Json(200, view("mine"))
            }
            _ if deleted.load(Ordering::Relaxed) => Reply::Json(200, ended("mine", "Deleted")),
            _ => match end(looks.fetch_add(1, Ordering::Relaxed)) {
                Some("gone") => not_found(),
                Some(reason) => Reply::Json(200, ended("mine", reason)),
                None => Reply::Json(200, view("mine")),
            },
        },
    )
}

fn args(more: &[&'static str]) -> Vec<&'static str> {
    [&INJECT[..], &["--wait"], more].concat()
}

#[test]
fn waits_until_the_end_and_tells_it() {
    let daemon = daemon(|look| (look >= 2).then_some("Deadline"));
    daemon.run(&args(&[])).prints(
        "fault/mine created\n\
         fault/mine ended Deadline: 120 matched, 84 passed, 36 dropped; 30.0% affected\n",
    );
}

#[test]
fn json_is_one_document_with_the_last_state() {
    let daemon = daemon(|_| Some("Deadline"));
    let ran = daemon.run(&args(&["-o", "json"]));
    let printed: Value = serde_json::from_str(&ran.stdout).expect("one document");
    assert_eq!(printed["items"][0]["status"]["reason"], "Deadline");
}

#[test]
fn an_early_end_has_its_own_exit_code() {
    for (reason, code) in [
        ("Budget", 0),
        ("Health", 11),
        ("Halt", 11),
        ("TargetGone", 11),
        ("Deleted", 11),
    ] {
        let ran = daemon(move |_| Some(reason)).run(&args(&[]));
        assert_eq!(ran.code, code, "{reason}: {ran:?}");
        assert!(ran.stdout.contains(&format!("ended {reason}")));
    }
    daemon(|_| Some("Error"))
        .run(&args(&[]))
        .expect(1, &["fault/mine could not be carried out"]);
    daemon(|_| Some("gone"))
        .run(&args(&[]))
        .expect(1, &["no longer knows fault/mine"]);
}

/// Starts and waits until the fault is reported, so that a signal finds it followed.
fn follow(daemon: &FakeDaemon) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = chaosctl(&daemon.socket())
        .args(args(&[]))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("chaosctl runs");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    assert_eq!(line, "fault/mine created\n");
    (child, stdout)
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(status.success());
}

fn until(what: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !what() {
        assert!(Instant::now() < deadline, "it never happened");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn finish(mut child: Child, mut stdout: impl Read) -> (i32, String, String) {
    let (mut out, mut err) = (String::new(), String::new());
    stdout.read_to_string(&mut out).expect("text");
    child
        .stderr
        .take()
        .expect("a pipe")
        .read_to_string(&mut err)
        .expect("text");
    (
        child.wait().expect("it ends").code().expect("by itself"),
        out,
        err,
    )
}

#[test]
fn one_interrupt_rolls_back() {
    for name in ["-INT", "-TERM", "-HUP"] {
        let daemon = daemon(|_| None);
        let (child, stdout) = follow(&daemon);
        signal(&child, name);
        let (code, out, err) = finish(child, stdout);
        assert_eq!(code, 130, "{name}: {err}");
        assert!(err.contains("interrupted: ending fault/mine"), "{err}");
        assert!(out.contains("fault/mine ended Deleted"), "{out}");
        assert!(daemon.saw("DELETE", "/v1/faults/mine"));
    }
}

#[test]
fn two_interrupts_leave_at_once() {
    let daemon = FakeDaemon::start(|request| match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/v1/faults") => Reply::Json(200, list(&[])),
        ("POST", _) => Reply::Json(201, list(&[view("mine")])),
        ("DELETE", _) => Reply::Hang,
        _ => Reply::Json(200, view("mine")),
    });
    let (child, stdout) = follow(&daemon);
    signal(&child, "-INT");
    until(|| daemon.saw("DELETE", "/v1/faults/mine"));
    let begin = Instant::now();
    signal(&child, "-INT");
    let (code, _, err) = finish(child, stdout);
    assert_eq!(code, 13, "{err}");
    assert!(
        err.contains("left at once") && err.contains("the kernel ends it"),
        "{err}"
    );
    assert!(begin.elapsed() < Duration::from_secs(2));
}

#[test]
fn an_interrupt_during_the_start_leaves_nothing_behind() {
    let daemon = FakeDaemon::start(|request| match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/v1/faults") => Reply::Json(200, list(&[])),
        ("POST", _) => {
            std::thread::sleep(Duration::from_millis(300));
            Reply::Json(201, list(&[view("mine")]))
        }
        _ => Reply::Json(200, ended("mine", "Deleted")),
    });
    let mut child = chaosctl(&daemon.socket())
        .args(args(&[]))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("chaosctl runs");
    until(|| daemon.saw("POST", "/v1/faults"));
    signal(&child, "-INT");
    let stdout = child.stdout.take().expect("a pipe");
    let (code, _, err) = finish(child, stdout);
    assert_eq!(code, 130, "{err}");
    assert!(daemon.saw("DELETE", "/v1/faults/mine"));
}

#[test]
fn a_rollback_that_fails_says_so() {
    let daemon = FakeDaemon::start(|request| match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/v1/faults") => Reply::Json(200, list(&[])),
        ("POST", _) => Reply::Json(201, list(&[view("mine")])),
        ("DELETE", _) => problem(500, "about:blank", "a map is gone", &[]),
        _ => Reply::Json(200, view("mine")),
    });
    let (child, stdout) = follow(&daemon);
    signal(&child, "-INT");
    let (code, _, err) = finish(child, stdout);
    assert_eq!(code, 13, "{err}");
    assert!(
        err.contains("could not be ended") && err.contains("a map is gone"),
        "{err}"
    );
}

#[test]
fn a_daemon_that_dies_is_unreachable() {
    let posted = AtomicBool::new(false);
    let daemon = FakeDaemon::start(move |request| match request.method.as_str() {
        "GET" if posted.load(Ordering::Relaxed) => Reply::Raw(String::new()),
        "GET" => Reply::Json(200, list(&[])),
        _ => {
            posted.store(true, Ordering::Relaxed);
            Reply::Json(201, list(&[view("mine")]))
        }
    });
    daemon.run(&args(&[])).expect(
        20,
        &[
            "lost the daemon while fault/mine was active",
            "have ended with it",
        ],
    );
}

//! A daemon that is absent, closed, slow, broken or not a daemon.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use support::{DROP, FakeDaemon, Ran, Reply, file, list, run, run_alone};

#[test]
fn no_socket() {
    for verb in [
        &["status"][..],
        &["get"],
        &["halt"],
        &["delete", "x"],
        &["halt", "--release"],
    ] {
        run_alone(verb).expect(
            20,
            &[
                "/nonexistent/api.sock",
                "no such socket",
                "systemctl start chaos-daemon",
            ],
        );
    }
    let (_dir, path) = file("fault.yaml", DROP);
    run_alone(&["apply", "-f", &path]).expect(20, &["no such socket"]);
}

#[test]
fn the_flag_wins_over_the_environment() {
    let daemon = FakeDaemon::start(|_| Reply::Json(200, list(&[])));
    let socket = daemon.socket();
    let ran = run_alone(&["get", "--socket", socket.to_str().expect("UTF-8")]);
    ran.expect(0, &["there are no faults"]);
}

#[test]
fn a_socket_that_nobody_listens_at() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("api.sock");
    drop(UnixListener::bind(&socket).expect("a socket"));
    run(&socket, &["status"]).expect(20, &["nobody listens there", "not running"]);
}

#[test]
fn a_socket_that_is_closed_to_this_user() {
    const NOBODY: u32 = 65534;
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("api.sock");
    let _listener = UnixListener::bind(&socket).expect("a socket");
    let open =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    open(&socket, 0o000);
    open(dir.path(), 0o755);
    // Root may do everything, and the build directory may be closed to anybody else: run a copy as nobody.
    let binary = dir.path().join("chaosctl");
    fs::copy(env!("CARGO_BIN_EXE_chaosctl"), &binary).expect("a copy");
    open(&binary, 0o755);
    let mut command = Command::new(&binary);
    command
        .arg("status")
        .env("CHAOS_SOCKET", &socket)
        .current_dir("/");
    if fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0) {
        command.uid(NOBODY).gid(NOBODY);
    }
    let ran: Ran = command.output().expect("chaosctl runs").into();
    ran.expect(20, &["permission denied", "group chaos", "usermod -aG chaos"]);
}

#[test]
fn a_daemon_that_hangs_is_given_up() {
    let daemon = FakeDaemon::start(|_| Reply::Hang);
    let begin = Instant::now();
    daemon
        .run(&["get", "--timeout", "300ms"])
        .expect(20, &["did not answer within 300ms", "--timeout"]);
    let took = begin.elapsed();
    assert!(
        took >= Duration::from_millis(300) && took < Duration::from_secs(5),
        "{took:?}"
    );
}

/// Hundreds of devices take the kernel longer than a client waits for a daemon that says nothing.
#[test]
fn a_daemon_that_says_that_it_is_at_work_is_waited_for_unless_a_time_is_given() {
    let (well, ill) = (200, 503);
    for (readiness, more, code, said) in [
        (well, &[][..], 0, "there are no faults"),
        (well, &["--timeout", "1s"], 20, "did not answer within 1s"),
        (ill, &[], 20, "did not answer within 10s"),
    ] {
        let daemon = FakeDaemon::start(move |request| match request.path.as_str() {
            "/readyz" => Reply::Json(readiness, json!({})),
            _ if readiness == ill => Reply::Hang,
            _ => Reply::Late(200, list(&[])),
        });
        let args: Vec<&str> = ["get"].iter().chain(more).copied().collect();
        let ran = daemon.run(&args);
        ran.expect(code, &[said]);
        assert_eq!(daemon.saw("GET", "/readyz"), more.is_empty());
    }
}

#[test]
fn a_change_without_an_answer_is_called_unknown() {
    let daemon = FakeDaemon::start(|request| match request.method.as_str() {
        "GET" => Reply::Json(200, list(&[])),
        _ => Reply::Hang,
    });
    let ran = daemon.run(&[
        "inject",
        "drop",
        "30%",
        "--host",
        "--for",
        "60s",
        "--timeout",
        "200ms",
    ]);
    ran.expect(20, &["whether the change was made is not known"]);
}

#[test]
fn a_body_cut_short_is_no_answer() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"items\": [";
    let daemon = FakeDaemon::start(move |_| Reply::Raw(cut.to_owned()));
    daemon
        .run(&["get"])
        .expect(20, &["broke before its answer was complete"]);
}

#[test]
fn a_connection_closed_at_once_is_no_answer() {
    let daemon = FakeDaemon::start(|_| Reply::Raw(String::new()));
    daemon
        .run(&["get"])
        .expect(20, &["broke before its answer was complete"]);
}

#[test]
fn something_else_at_the_socket() {
    let daemon = FakeDaemon::start(|_| Reply::Raw("220 mail.example.com ESMTP\r\n".to_owned()));
    daemon.run(&["get"]).expect(20, &["broke"]);
    let daemon = FakeDaemon::start(|_| Reply::Json(200, serde_json::json!("hello")));
    daemon
        .run(&["get"])
        .expect(1, &["GET /v1/faults is not understood"]);
}

#[test]
fn doctor_helps_without_a_daemon() {
    let ran = run_alone(&["doctor"]);
    assert_eq!(ran.code, 20, "{ran:#?}");
    for text in [
        "missing  daemon",
        "no such socket",
        "This host",
        "cgroup2",
        "start it and ask again",
    ] {
        assert!(ran.stdout.contains(text), "no {text:?} in {}", ran.stdout);
    }
    let ran = run_alone(&["doctor", "-o", "json"]);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!((ran.code, &report["reachable"]), (20, &false.into()));
}

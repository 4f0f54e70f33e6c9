//! A real SSH server behind a partition: it stays reachable, unless its guard is lifted.

use std::time::{Duration, Instant};

use chaos_tests::{
    Daemon, FaultFile, Netns, Pair, Process, Workload, eventually, need, require_program, run,
};
use serde_json::json;
use tempfile::TempDir;

use crate::bed::{BRIEF, SOON};
use crate::guard::hurry_neighbours;
use crate::people::audit;

/// sshd in a namespace, and a key that it trusts.
struct Ssh {
    folder: TempDir,
    place: String,
    _server: Process,
}

impl Ssh {
    fn serve(netns: &Netns, host: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        for name in ["host", "user"] {
            run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &path(name)]);
        }
        // Where sshd locks up what talks to strangers.
        std::fs::create_dir_all("/run/sshd").expect("root makes it");
        let config = format!(
            "Port 22\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\nStrictModes no\n\
             PermitRootLogin yes\nPasswordAuthentication no\n",
            path("host"),
            path("user.pub")
        );
        std::fs::write(path("sshd_config"), config).expect("writes");
        let sshd = require_program("sshd").expect("was asked for");
        let argv = [
            sshd.to_str().expect("it is text"),
            "-D",
            "-e",
            "-f",
            &path("sshd_config"),
        ]
        .map(str::to_owned);
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let server = Process::spawn(netns, None, &argv).listens(netns, 22);
        Self {
            folder,
            place: format!("root@{host}"),
            _server: server,
        }
    }

    fn spawn(&self, from: &Netns, command: &str) -> Process {
        let key = self.folder.path().join("user").display().to_string();
        let argv = [
            "ssh",
            "-F",
            "none",
            "-i",
            &key,
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "BatchMode=yes",
            "-o",
            "ConnectTimeout=2",
            &self.place,
            command,
        ];
        Process::spawn(from, None, &argv)
    }

    /// Whether a new session works.
    fn works(&self, from: &Netns) -> bool {
        let finished = self.spawn(from, "echo in").finish(Duration::from_secs(10));
        finished.stdout.trim() == "in"
    }
}

fn lines(session: &Process) -> usize {
    session.stdout().lines().count()
}

#[test]
fn a_session_outlives_a_partition_and_its_neighbour_entries_unless_its_guard_is_lifted() {
    need!(require_program("sshd"));
    need!(require_program("ssh"));
    let net = Pair::new();
    for host in [&net.client, &net.server] {
        hurry_neighbours(host);
    }
    let daemon = Daemon::start();
    let ctl = daemon.ctl();
    let (client, server) = (
        Workload::start(&net.client.netns, None),
        Workload::start(&net.server.netns, None),
    );
    let other = net.server.at(8080);
    server.tcp_serve(other);
    let from = &net.client.netns;
    let ssh = Ssh::serve(&net.server.netns, &other.ip().to_string());
    let session = ssh.spawn(from, "while echo on; do sleep 0.02; done");
    eventually(Duration::from_secs(10), "the session is open", || {
        lines(&session) > 3
    });
    client.tcp_open(None, other, SOON).stream();

    let cut = FaultFile::on_netns("island", &net.server.netns, json!({"partition": {}}));
    ctl.apply(&[cut.traffic(json!({"direction": "both"})).lasting("6s")]);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(4) {
        for host in [&net.client, &net.server] {
            host.netns.ip(&format!("neigh flush dev {}", host.device.name()));
        }
        let seen = lines(&session);
        eventually(SOON, "the session goes on", || lines(&session) > seen + 3);
    }
    assert!(ssh.works(from), "a new session");
    assert_eq!(client.tcp_open(None, other, BRIEF).error(), "timeout");
    assert_eq!(ctl.fault("island").phase(), "Active");
    let ended = ctl.wait_for_phase("island", "Ended");
    assert_eq!(ended.reason(), "Deadline");
    let late = start.elapsed();
    assert!(late < Duration::from_secs(7), "ended after {late:?}");
    client.tcp_open(None, other, SOON).stream();

    let name = net.server.netns.name().to_owned();
    ctl.ok(&[
        "inject",
        "partition",
        "--netns",
        &name,
        "--direction",
        "both",
        "--for",
        "1m",
        "--name",
        "closed",
        "--unguard",
        "ssh",
    ]);
    let fault = ctl.ok(&["get", "faults", "closed", "-o", "json"]).stdout;
    assert!(fault.contains("\"unguard\""), "{fault}");
    assert!(ctl.fault("closed").warnings().contains(&"Unguarded"), "{fault}");
    // What was on its way may still come.
    let last = lines(&session);
    assert!(!ssh.works(from), "a session through a partition");
    assert!(
        lines(&session) <= last + 20,
        "{last} lines, then {}",
        lines(&session)
    );
    ctl.delete("closed");
    let seen = lines(&session);
    eventually(Duration::from_secs(20), "the session has come back", || {
        lines(&session) > seen + 20
    });
    assert!(ssh.works(from));
    let taken_down = audit(&daemon);
    let active = taken_down
        .iter()
        .find(|record| record["kind"] == "fault-active" && record["fault"] == "closed");
    let active = active.expect("its beginning").to_string();
    assert!(active.contains("guards lifted: ssh"), "{active}");
    let history = ctl.ok(&["get", "history", "closed", "-o", "json"]).stdout;
    assert!(history.contains("guards lifted: ssh"), "{history}");
}

#[test]
fn guards_that_hold_the_house_are_not_lifted_and_a_policy_keeps_others() {
    let net = Pair::new();
    let folder = TempDir::new().expect("a folder");
    let policy = folder.path().join("policy.yaml");
    let text = "apiVersion: chaos-daemon.dev/v1alpha1\nkind: Policy\ndeny:\n  unguard: [ssh]\n  cidrs: [10.77.0.2/32]\n";
    std::fs::write(&policy, text).expect("writes");
    let daemon = Daemon::builder()
        .args(&["--policy", policy.to_str().expect("it is text")])
        .start();
    let ctl = daemon.ctl();
    let name = net.client.netns.name().to_owned();
    let lift = |guard: &str| {
        ctl.run(&[
            "inject",
            "partition",
            "--netns",
            &name,
            "--for",
            "1m",
            "--name",
            "lifts",
            "--unguard",
            guard,
        ])
    };
    for guard in ["own", "policy", "nobody"] {
        let refused = lift(guard);
        assert_eq!(refused.code, 2, "{guard}: {refused}");
        assert!(
            refused.stderr.contains(guard) && refused.stderr.contains("neighbours, ssh, dhcp, metadata"),
            "{refused}"
        );
    }
    let refused = lift("ssh");
    assert_eq!(refused.code, 14, "{refused}");
    assert!(refused.stderr.contains("deny.unguard"), "{refused}");
    assert!(ctl.faults().is_empty());

    // The fault names nothing, so it may start; it does not reach what the policy denies.
    let (client, server) = (
        Workload::start(&net.client.netns, None),
        Workload::start(&net.server.netns, None),
    );
    net.server.device.add_v4("10.77.0.3".parse().expect("v4"), 24);
    let places = ["10.77.0.2:8080", "10.77.0.3:8080"].map(|place| place.parse().expect("a place"));
    for place in places {
        server.tcp_serve(place);
        client.tcp_open(None, place, SOON).stream();
    }
    let started = lift("dhcp");
    assert_eq!(started.code, 0, "{started}");
    client.tcp_open(None, places[0], SOON).stream();
    assert_eq!(client.tcp_open(None, places[1], BRIEF).error(), "timeout");
}

//! The resolvers that programs have: glibc, musl, Go, and a forwarder between them and the server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use chaos_tests::{
    Daemon, FaultFile, Pair, Process, eventually, is_emulated, need, patience, require_program,
};
use serde_json::json;

use crate::dns_bed::{self, DB, DnsBed, OTHER, ResolvConf, dig};
use crate::health::{WithHealth as _, dnsmasq, health};

/// A program that looks a name up and prints its addresses, one a line, sorted, or `error` and why.
enum Client {
    Glibc,
    Built(PathBuf),
}

/// What a program has found.
#[derive(Debug)]
struct Found {
    addresses: Vec<String>,
    error: String,
    elapsed: Duration,
}

const MUSL: &str = r#"
#include <stdio.h>
#include <netdb.h>
#include <arpa/inet.h>
int main(int argc, char **argv) {
    struct addrinfo hints = { .ai_socktype = SOCK_DGRAM }, *found;
    int error = getaddrinfo(argv[1], 0, &hints, &found);
    if (error) { printf("error %s\n", gai_strerror(error)); return 0; }
    for (; found; found = found->ai_next) {
        char text[64];
        void *at = found->ai_family == AF_INET ? (void *)&((struct sockaddr_in *)found->ai_addr)->sin_addr
                                               : (void *)&((struct sockaddr_in6 *)found->ai_addr)->sin6_addr;
        puts(inet_ntop(found->ai_family, at, text, sizeof text));
    }
}
"#;

const GO: &str = r#"
package main
import ("context"; "fmt"; "net"; "os")
func main() {
    resolver := net.Resolver{PreferGo: true}
    found, err := resolver.LookupHost(context.Background(), os.Args[1])
    if err != nil { fmt.Println("error", err); return }
    for _, address := range found { fmt.Println(address) }
}
"#;

fn build(folder: &Path, source: &str, text: &str, argv: &[&str]) -> PathBuf {
    let program = folder.join(source.replace('.', "-"));
    let source = folder.join(source);
    std::fs::write(&source, text).expect("the folder is there");
    let output = Command::new(argv[0])
        .args(&argv[1..])
        .arg("-o")
        .arg(&program)
        .arg(&source)
        .env("GOCACHE", folder.join("cache"))
        .env("GOFLAGS", "-mod=mod")
        .output()
        .expect("the compiler is installed");
    assert!(
        output.status.success(),
        "{argv:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    program
}

impl Client {
    /// Asks for both families, as a program in the client's namespace does.
    fn look_up(&self, bed: &DnsBed, name: &str) -> Found {
        let netns = &bed.bed.net.client.netns;
        let mut argv = vec!["ip", "netns", "exec", netns.name()];
        match self {
            Self::Glibc => argv.extend(["getent", "ahosts", name]),
            Self::Built(program) => argv.extend([program.to_str().expect("text"), name]),
        }
        let begun = Instant::now();
        let finished = Process::spawn(netns, None, &argv).finish(Duration::from_secs(30));
        let mut addresses: Vec<String> = finished
            .stdout
            .lines()
            .filter(|line| !line.starts_with("error"))
            .filter_map(|line| line.split_whitespace().next())
            .map(str::to_owned)
            .collect();
        addresses.sort();
        addresses.dedup();
        let error = finished
            .stdout
            .lines()
            .find(|line| line.starts_with("error"))
            .unwrap_or_default();
        Found {
            addresses,
            error: format!("{error}{} {}", finished.stderr, finished.status),
            elapsed: begun.elapsed(),
        }
    }
}

const SERVED: [&str; 2] = ["10.77.0.9", "fd77::9"];
const OTHERS: [&str; 2] = ["10.77.0.8", "fd77::8"];

/// What all of them have to do.
fn suffers(client: &Client, denial: &str) {
    let bed = DnsBed::new();
    let net = &bed.bed.net;
    for server in net.server.addresses() {
        // The second server is there for a look-up that the first does not answer.
        let _resolv_conf = ResolvConf::new(
            &net.client.netns,
            &format!("nameserver {server}\noptions timeout:1 attempts:2\n"),
        );
        let at = |name: &str| client.look_up(&bed, name);
        assert_eq!(at(DB).addresses, SERVED, "before");
        for direction in ["egress", "ingress"] {
            let apply = |dns: serde_json::Value| {
                bed.bed.ctl.apply(&[bed.on(direction, "gone", dns)]);
            };
            let what = format!("{direction} {server}");

            apply(json!({"answer": "nxdomain", "names": [DB]}));
            let found = at(DB);
            assert!(found.addresses.is_empty(), "{what} {found:?}");
            assert!(found.error.contains(denial), "{what} {found:?}");
            assert!(
                found.elapsed < patience(Duration::from_millis(900)),
                "told at once: {found:?}"
            );
            assert_eq!(at(OTHER).addresses, OTHERS, "{what}");
            for code in ["servfail", "refused"] {
                apply(json!({"answer": code, "names": [DB]}));
                let found = at(DB);
                assert!(found.addresses.is_empty(), "{what} {code} {found:?}");
                assert_eq!(at(OTHER).addresses, OTHERS, "{what} {code}");
            }
            // Given as written: none of the other family.
            let records = json!({"a": ["192.0.2.1", "192.0.2.2"], "aaaa": ["2001:db8::1"]});
            apply(json!({"answer": records, "names": ["*.example.test"]}));
            assert_eq!(
                at(DB).addresses,
                ["192.0.2.1", "192.0.2.2", "2001:db8::1"],
                "{what}"
            );
            apply(json!({"answer": {"a": ["192.0.2.1"]}, "names": [DB]}));
            assert_eq!(at(DB).addresses, ["192.0.2.1"], "{what}");
            apply(json!({"answer": {"aaaa": ["2001:db8::1"]}, "names": [DB]}));
            assert_eq!(at(DB).addresses, ["2001:db8::1"], "{what}");
            // One family is gone, the other is still the server's.
            apply(json!({"answer": {"a": ["192.0.2.1"]}, "names": [DB], "types": "A"}));
            assert_eq!(at(DB).addresses, ["192.0.2.1", "fd77::9"], "{what}");

            apply(json!({"delay": "300ms", "names": [DB]}));
            let found = at(DB);
            assert_eq!(found.addresses, SERVED, "{what}");
            assert!(found.elapsed >= Duration::from_millis(300), "{what} {found:?}");
            apply(json!({"answer": "timeout", "names": [DB]}));
            let found = at(DB);
            assert!(found.addresses.is_empty(), "{what} {found:?}");
            assert!(found.elapsed >= Duration::from_secs(1), "{what} {found:?}");
            assert_eq!(at(OTHER).addresses, OTHERS, "{what}");
            bed.bed.delete("gone");
            assert_eq!(at(DB).addresses, SERVED, "{what}, after");
        }
    }
}

#[test]
fn glibc() {
    need!(require_program("dnsmasq"));
    need!(require_program("getent"));
    suffers(&Client::Glibc, "exit status: 2");
}

#[test]
fn musl() {
    need!(require_program("dnsmasq"));
    need!(require_program("musl-gcc"));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let program = build(folder.path(), "look.c", MUSL, &["musl-gcc", "-static", "-O1"]);
    suffers(&Client::Built(program), "error Name does not resolve");
}

#[test]
fn go() {
    need!(require_program("dnsmasq"));
    need!(require_program("go"));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let program = build(folder.path(), "look.go", GO, &["go", "build"]);
    suffers(&Client::Built(program), "no such host");
}

/// dnsmasq on the client's loopback, asked there and asking the server: the fault is between those two, or before.
#[test]
fn a_forwarder_hands_the_answer_on_and_keeps_it_as_long_as_it_says() {
    need!(require_program("dnsmasq"));
    need!(require_program("dig"));
    let bed = DnsBed::new();
    let (client, server) = (&bed.bed.net.client, &bed.bed.net.server);
    let _forwarder = dns_bed::dnsmasq(
        &client.netns,
        53,
        &["--listen-address=127.0.0.1", &format!("--server={}", server.v4)],
    );
    let local = "127.0.0.1:53".parse().expect("an address");
    let ask = |name: &str, kind: &str| dig(&client.netns, local, name, kind, &["+time=3"]);
    assert_eq!(ask(OTHER, "A").records(), [("A", "10.77.0.8")], "before");

    let on_server = |dns: serde_json::Value| bed.on("ingress", "upstream", dns);
    bed.bed
        .ctl
        .apply(&[on_server(json!({"answer": "nxdomain", "names": ["gone.test"]}))]);
    assert_eq!(ask("gone.test", "A").status(), "NXDOMAIN");
    bed.bed
        .ctl
        .apply(&[on_server(json!({"answer": "servfail", "names": ["broken.test"]}))]);
    assert_eq!(ask("broken.test", "A").status(), "SERVFAIL");
    // So long the forwarder answers from what it has heard; then it asks again.
    let seconds = if is_emulated() { 20 } else { 2 };
    let records = json!({"a": ["192.0.2.1"], "aaaa": ["2001:db8::1"], "ttl": format!("{seconds}s")});
    bed.bed
        .ctl
        .apply(&[on_server(json!({"answer": records, "names": [DB]}))]);
    assert_eq!(ask(DB, "A").records(), [("A", "192.0.2.1")]);
    assert_eq!(ask(DB, "AAAA").records(), [("AAAA", "2001:db8::1")]);
    assert_eq!(ask(DB, "A").records(), [("A", "192.0.2.1")]);
    let view = bed.bed.delete("upstream");
    assert_eq!(
        view.packets("answered"),
        4,
        "the third was kept by the forwarder: {}",
        view.0
    );
    assert_eq!(
        ask(DB, "A").records(),
        [("A", "192.0.2.1")],
        "kept beyond the end of the fault"
    );
    eventually(
        Duration::from_secs(2 * seconds),
        "the forwarder asks again",
        || ask(DB, "A").records() == [("A", "10.77.0.9")],
    );
}

/// Who asks a resolver on the loopback of its own namespace, as with systemd-resolved, is answered where that is named.
#[test]
fn a_resolver_on_loopback_is_answered_for() {
    need!(require_program("dnsmasq"));
    need!(require_program("dig"));
    let bed = DnsBed::new();
    let client = &bed.bed.net.client;
    let _resolver = dns_bed::dnsmasq(
        &client.netns,
        53,
        &[
            "--listen-address=127.0.0.53",
            "--listen-address=::1",
            "--local-ttl=77",
            &format!("--host-record={DB},10.77.0.9"),
        ],
    );
    for (at, direction) in [
        ("127.0.0.53:53", "egress"),
        ("[::1]:53", "egress"),
        ("127.0.0.53:53", "ingress"),
        ("[::1]:53", "ingress"),
    ] {
        let at = at.parse().expect("an address");
        let ask = || dig(&client.netns, at, DB, "A", &[]);
        ask().assert_served("before");
        let target = json!({"interface": {"name": "lo", "netns": client.netns.path()}});
        let fault = FaultFile::new("gone", target, json!({"dns": {"answer": {"a": ["192.0.2.1"]}}}));
        bed.bed
            .ctl
            .apply(&[fault.traffic(json!({"direction": direction}))]);
        let dig = ask();
        assert_eq!(dig.records(), [("A", "192.0.2.1")], "{at} {direction} {dig:?}");
        assert_eq!(bed.bed.delete("gone").packets("answered"), 1);
        ask().assert_served("after");
    }
}

/// The daemon asks past its own faults, at either end of the cable; others do not.
#[test]
fn the_daemons_own_questions_are_spared() {
    need!(require_program("dnsmasq"));
    need!(require_program("dig"));
    let net = Pair::new();
    let server = net.server.v4.to_string();
    let _names = dnsmasq(&net.server.netns, &server, &format!("10.77.0.9 {DB}\n"));
    let daemon = Daemon::builder().netns(&net.client.netns).start();
    let ctl = daemon.ctl();
    let others = || {
        let dig = dig(&net.client.netns, net.server.at(53), DB, "A", &[]);
        dig.status().to_owned()
    };
    let check = json!([{
        "dns": {"name": DB, "server": server, "answers": ["10.77.0.9"]},
        "interval": "50ms", "failureThreshold": 1,
    }]);
    for (name, netns) in [("own", &net.client.netns), ("other", &net.server.netns)] {
        for answer in ["nxdomain", "timeout"] {
            assert_eq!(others(), "NOERROR", "before {name}");
            let fault = FaultFile::on_netns(name, netns, json!({"dns": {"answer": answer}}));
            ctl.apply(&[fault.traffic(json!({"direction": "both"})).health(check.clone())]);
            assert_ne!(others(), "NOERROR", "{name} {answer}");
            eventually(Duration::from_secs(5), "many samples are taken", || {
                health(&ctl.fault(name), 0)["samples"].as_u64() > Some(10)
            });
            let view = ctl.fault(name);
            assert_eq!(view.phase(), "Active", "{}", view.0);
            assert_eq!(health(&view, 0)["failed"], 0, "{}", view.0);
            assert_eq!(view.packets("matched"), 1, "the other's alone: {}", view.0);
            ctl.delete(name);
        }
    }
}

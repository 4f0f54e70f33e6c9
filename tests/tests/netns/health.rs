//! Health checks: what is not well keeps a fault from starting, and ends one that acts.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use chaos_tests::{
    Daemon, FaultFile, Netns, Pair, Process, View, Workload, eventually, is_emulated, monotonic_nanos, need,
    patience, require_program, settled, stalled,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bed::{BRIEF, SOON};
use crate::dns_bed;

/// nginx in a namespace, with an address that is well and can be made ill by files.
pub(crate) struct Web {
    folder: TempDir,
    process: Process,
    port: u16,
}

impl Web {
    /// `GET /` says `all is well`; with the file `NAME`: 500, 444 (the connection is cut), 302, wrong or slow.
    /// `GET /through/` asks `upstream`.
    pub(crate) fn start(netns: &Netns, port: u16, upstream: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let at = folder.path().display();
        std::fs::write(folder.path().join("index.html"), "all is well\n").expect("writes");
        let body = "x".repeat(4000);
        let conf = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log {at}/access.log; keepalive_timeout 0; proxy_http_version 1.1;\n\
             client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
             server {{ listen {port}; listen [::]:{port}; root {at};\n\
               location / {{\n\
                 if (-f {at}/500) {{ return 500; }}\n\
                 if (-f {at}/cut) {{ return 444; }}\n\
                 if (-f {at}/wrong) {{ return 200 'all is lost'; }}\n\
                 if (-f {at}/slow) {{ rewrite ^ /slow last; }}\n\
               }}\n\
               location /slow {{ limit_rate 1000; limit_rate_after 1; return 200 '{body}'; }}\n\
               location /through/ {{ proxy_pass http://{upstream}/; proxy_connect_timeout 5s; }}\n\
             }} }}\n"
        );
        std::fs::write(folder.path().join("nginx.conf"), conf).expect("writes");
        // The files are read by a worker that gave up root, where there is one.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("chmod");
        let conf = folder.path().join("nginx.conf").display().to_string();
        let process =
            Process::spawn(netns, None, &["nginx", "-c", &conf, "-e", "stderr"]).listens(netns, port);
        Self {
            folder,
            process,
            port,
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What `/metrics` says. At one instant: an empty page between the two would be a series that ended.
    pub(crate) fn errors(&self, count: u32) {
        std::fs::write(self.file("metrics.new"), format!("shop_errors {count}\n")).expect("writes");
        std::fs::rename(self.file("metrics.new"), self.file("metrics")).expect("renames");
    }

    fn ail(&self, how: &str) {
        std::fs::write(self.file(how), "").expect("writes");
    }

    fn heal(&self, how: &str) {
        std::fs::remove_file(self.file(how)).expect("it was there");
    }

    fn asked(&self) -> usize {
        std::fs::read_to_string(self.file("access.log")).map_or(0, |log| log.lines().count())
    }

    fn check(&self, path: &str) -> Value {
        json!({"http": {"url": format!("http://127.0.0.1:{}{path}", self.port)}})
    }
}

pub(crate) trait WithHealth {
    fn health(self, checks: Value) -> Self;
}

impl WithHealth for FaultFile {
    fn health(self, checks: Value) -> Self {
        self.set("/spec", "safety", json!({"health": checks}))
    }
}

/// Sets fields of a check.
fn with(mut check: Value, fields: Value) -> Value {
    for (name, value) in fields.as_object().expect("fields") {
        check[name] = value.clone();
    }
    check
}

pub(crate) fn health(view: &View, index: usize) -> &Value {
    &view.0["status"]["health"][index]
}

/// Within 50 ms of the sample that decided it; how long it took.
#[track_caller]
fn assert_detached_in_time(view: &View) -> &Value {
    let told = &health(view, 0)["detachedAfter"];
    let took = Duration::from_secs_f64(milliseconds(told) / 1e3);
    let (now, then) = (jiff::Timestamp::now(), time(view, "endedAt"));
    let ago = now.duration_since(then).unsigned_abs();
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).expect("no centuries");
    // The end is told in whole milliseconds.
    let ended = monotonic_nanos() - nanos(ago) + 1_000_000;
    let stalled = stalled(ended - nanos(took) - 2_000_000, ended);
    assert!(
        took <= patience(Duration::from_millis(50)) + stalled,
        "{told}, of which the machine stood still for {stalled:?}"
    );
    told
}

/// One of the times of a fault's status.
fn time(view: &View, field: &str) -> jiff::Timestamp {
    let text = view.0["status"][field].as_str().expect("a time");
    text.parse().expect("a time")
}

fn milliseconds(text: &Value) -> f64 {
    let text = text.as_str().expect("a length of time");
    text.split(' ')
        .map(|part| {
            let (number, unit) = part.split_at(part.find(|c: char| c.is_alphabetic()).expect("a unit"));
            let scale = match unit {
                "s" => 1000.0,
                "ms" => 1.0,
                "us" => 1e-3,
                "ns" => 1e-6,
                other => panic!("{other} in {text}"),
            };
            number.parse::<f64>().expect("a number") * scale
        })
        .sum()
}

/// A service that becomes slow by the fault: p99 below 200 ms, every second, three failures.
#[test]
fn a_fault_that_makes_the_service_slow_ends_within_a_second_of_the_third_failure() {
    need!(require_program("nginx"));
    let net = Pair::new();
    let upstream = Web::start(&net.server.netns, 8081, "127.0.0.1:1");
    let shop = Web::start(&net.client.netns, 8080, &format!("10.77.0.2:{}", upstream.port));
    let daemon = Daemon::builder().netns(&net.client.netns).start();
    let ctl = daemon.ctl();
    let check = with(
        shop.check("/through/"),
        json!({"name": "checkout", "interval": "1s", "timeout": "900ms", "failureThreshold": 3, "expect": {"p99": "< 200ms"}}),
    );
    let fault = FaultFile::on_netns(
        "slow-upstream",
        &net.client.netns,
        json!({"delay": {"latency": "150ms"}}),
    )
    .traffic(json!({"remote": {"ports": [8081]}}))
    .health(json!([check]));
    let start = Instant::now();
    ctl.apply(&[fault]);
    let view = ctl.wait_for_phase("slow-upstream", "Ended");
    let took = start.elapsed();
    assert_eq!(view.reason(), "Health", "{}", view.0);
    assert!(
        took >= Duration::from_secs(2) && took < patience(Duration::from_secs(5)),
        "three failures, a second apart: {took:?}"
    );
    let health = health(&view, 0);
    assert_eq!(
        (health["name"].as_str(), health["state"].as_str()),
        (Some("checkout"), Some("Failed"))
    );
    assert_eq!(health["failures"], 3);
    let series = health["last"].as_array().expect("a series");
    let well: Vec<bool> = series.iter().map(|sample| sample["well"] == true).collect();
    assert_eq!(well, [true, false, false, false], "{health}");
    assert!(
        milliseconds(&series[1]["took"]) >= 300.0,
        "two waits of 150 ms: {health}"
    );
    println!(
        "detached {} after the deciding sample",
        assert_detached_in_time(&view)
    );
    assert!(
        view.0["status"]["message"]
            .as_str()
            .is_some_and(|text| text.contains("`checkout` failed 3 times: p99"))
    );
    // And it is quick again.
    let again = FaultFile::on_netns("again", &net.client.netns, json!({"drop": {"chance": "0%"}}));
    ctl.apply(&[again.health(json!([with(
        shop.check("/through/"),
        json!({"expect": {"latency": "<= 150ms"}})
    )]))]);
}

#[test]
fn what_is_not_well_before_is_not_started() {
    need!(require_program("nginx"));
    let net = Pair::new();
    let web = Web::start(&net.client.netns, 8080, "127.0.0.1:1");
    web.ail("500");
    let daemon = Daemon::builder().netns(&net.client.netns).start();
    let ctl = daemon.ctl();
    let cut = |name: &str| FaultFile::on_netns(name, &net.client.netns, json!({"partition": {}}));
    let well = json!({"exec": {"command": ["/bin/true"]}});
    let output = ctl.try_apply(&[cut("first"), cut("second").health(json!([well, web.check("/")]))]);
    assert_eq!(output.code, 12, "{output}");
    for part in [
        "no steady state, not started",
        "spec.safety.health[1]",
        "answered HTTP status 500",
    ] {
        assert!(output.stderr.contains(part), "{part}: {output}");
    }
    assert!(ctl.faults().is_empty(), "not even the first: all or none");
    assert_eq!(net.client.netns.tc("filter show dev c0 egress"), "");
    web.heal("500");
    ctl.apply(&[cut("second").health(json!([web.check("/")]))]);
    // From flags, too.
    web.ail("500");
    let url = "http://127.0.0.1:8080/";
    let netns = net.client.netns.path().display().to_string();
    let output = ctl.run(&[
        "inject", "drop", "1%", "--netns", &netns, "--for", "30s", "--health", url,
    ]);
    assert_eq!(output.code, 12, "{output}");
}

/// A fault and a file that makes the check fail; the check passes before.
#[test]
fn whatever_a_web_server_does_wrong_ends_the_fault() {
    need!(require_program("nginx"));
    let net = Pair::new();
    let web = Web::start(&net.client.netns, 8080, "127.0.0.1:1");
    let daemon = Daemon::builder().netns(&net.client.netns).start();
    let ctl = daemon.ctl();
    let quick = json!({"interval": "50ms", "timeout": "250ms", "failureThreshold": 3, "expect": {"body": "all is well"}});
    for (ill, expected) in [
        ("500", "answered HTTP status 500"),
        ("cut", "broke"),
        ("wrong", "does not have `all is well`"),
        ("slow", "no answer within 250ms"),
    ] {
        let name = format!("while-{ill}");
        let fault = FaultFile::on_netns(&name, &net.client.netns, json!({"drop": {"chance": "1%"}}));
        ctl.apply(&[fault.health(json!([with(web.check("/"), quick.clone())]))]);
        eventually(SOON, "some samples pass", || {
            health(&ctl.fault(&name), 0)["samples"].as_u64() > Some(3)
        });
        assert_eq!(ctl.fault(&name).phase(), "Active");
        web.ail(ill);
        let view = ctl.wait_for_phase(&name, "Ended");
        web.heal(ill);
        assert_eq!(view.reason(), "Health", "{ill}");
        let health = health(&view, 0);
        assert!(
            health["message"]
                .as_str()
                .is_some_and(|text| text.contains(expected)),
            "{ill}: {health}"
        );
        println!("{ill}: detached after {}", assert_detached_in_time(&view));
    }
    // Nobody listens any more.
    let fault = FaultFile::on_netns("gone", &net.client.netns, json!({"drop": {"chance": "1%"}}));
    ctl.apply(&[fault.health(json!([with(web.check("/"), quick)]))]);
    web.process.signal(Signal::SIGKILL);
    let view = ctl.wait_for_phase("gone", "Ended");
    assert_eq!(view.reason(), "Health");
    assert!(
        health(&view, 0)["message"]
            .as_str()
            .is_some_and(|text| text.contains("refused"))
    );
}

/// The daemon's own connections pass a partition of everything, at either end of the cable; others' do not.
#[test]
fn checks_are_never_faulted() {
    need!(require_program("nginx"));
    need!(require_program("dnsmasq"));
    let net = Pair::new();
    let web = Web::start(&net.server.netns, 8080, "127.0.0.1:1");
    let _names = dnsmasq(&net.server.netns, "10.77.0.2", "10.77.0.9 db.example.test\n");
    let daemon = Daemon::builder().netns(&net.client.netns).start();
    let ctl = daemon.ctl();
    let client = Workload::start(&net.client.netns, None);
    let checks = json!([
        {"http": {"url": format!("http://10.77.0.2:{}/", web.port)}, "interval": "50ms", "failureThreshold": 1},
        {"http": {"url": format!("http://[fd77::2]:{}/", web.port)}, "interval": "50ms", "failureThreshold": 1},
        {"tcp": {"address": format!("10.77.0.2:{}", web.port)}, "interval": "50ms", "failureThreshold": 1},
        {"dns": {"name": "db.example.test", "server": "10.77.0.2", "answers": ["10.77.0.9"]}, "interval": "50ms", "failureThreshold": 1},
    ]);
    let connects = || {
        client
            .tcp_open(None, net.server.at(web.port), BRIEF)
            .result
            .is_ok()
    };
    for (name, netns) in [("own", &net.client.netns), ("other", &net.server.netns)] {
        assert!(connects(), "before {name}");
        let before = web.asked();
        let cut = FaultFile::on_netns(name, netns, json!({"partition": {}}));
        ctl.apply(&[cut.traffic(json!({"direction": "both"})).health(checks.clone())]);
        assert!(!connects(), "{name}: others are cut off");
        eventually(Duration::from_secs(5), "many samples are taken", || {
            let view = ctl.fault(name);
            (0..4).all(|index| health(&view, index)["samples"].as_u64() > Some(20))
        });
        let view = ctl.fault(name);
        assert_eq!(view.phase(), "Active", "{}", view.0);
        assert!(
            (0..4).all(|index| health(&view, index)["failed"] == 0),
            "{}",
            view.0["status"]["health"]
        );
        assert!(web.asked() > before + 20, "they really got there");
        assert!(!connects(), "{name}: still");
        ctl.delete(name);
    }
}

pub(crate) fn dnsmasq(netns: &Netns, address: &str, hosts: &str) -> (Process, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    std::fs::write(file.path(), hosts).expect("writes");
    std::fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .expect("chmod");
    let process = dns_bed::dnsmasq(
        netns,
        53,
        &[
            "--local-ttl=1",
            &format!("--listen-address={address}"),
            "--local=/test/",
            &format!("--addn-hosts={}", file.path().display()),
        ],
    );
    (process, file)
}

/// A program that passes and fails by turns.
#[test]
fn one_that_flaps_is_caught_when_one_success_is_not_enough() {
    let net = Pair::new();
    let daemon = Daemon::start();
    let ctl = daemon.ctl();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let flaps = |name: &str| {
        // Two successes before the fault, then one failure and one success by turns.
        let script = format!(
            "n=$(cat {0} 2>/dev/null || echo 0); echo $((n + 1)) > {0}; [ $n -lt 2 ] || [ $((n % 2)) = 1 ]",
            folder.path().join(name).display()
        );
        json!({
            "name": name, "exec": {"command": ["/bin/sh", "-c", script]}, "interval": "50ms", "timeout": "5s",
            "failureThreshold": 3,
        })
    };
    let fault = |name: &str, successes: u32| {
        FaultFile::on_netns(name, &net.client.netns, json!({"drop": {"chance": "1%"}}))
            .health(json!([with(flaps(name), json!({"successThreshold": successes}))]))
    };
    // It may be over before anybody has looked.
    let output = ctl.try_apply(&[fault("strict", 2), fault("lenient", 1)]);
    assert_eq!(output.code, 0, "{output}");
    let view = ctl.wait_for_phase("strict", "Ended");
    assert_eq!(view.reason(), "Health");
    let health_of = health(&view, 0);
    // Before: two. Then F . F . F: the third failure decides.
    assert_eq!(
        (health_of["samples"].as_u64(), health_of["failed"].as_u64()),
        (Some(7), Some(3)),
        "{health_of}"
    );
    eventually(SOON, "the lenient one has failed more often than that", || {
        health(&ctl.fault("lenient"), 0)["failed"].as_u64() > Some(5)
    });
    assert_eq!(ctl.fault("lenient").phase(), "Active");
}

#[test]
fn grace_and_sustained_failures_are_waited_for() {
    let net = Pair::new();
    let daemon = Daemon::start();
    let ctl = daemon.ctl();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let flag = folder.path().join("well");
    std::fs::write(&flag, "").expect("writes");
    let check = json!({"exec": {"command": ["/usr/bin/test", "-e", flag]}, "interval": "50ms", "failureThreshold": 2});
    let fault = |name: &str, fields: Value| {
        FaultFile::on_netns(name, &net.client.netns, json!({"drop": {"chance": "1%"}}))
            .health(json!([with(check.clone(), fields)]))
    };
    ctl.apply(&[
        fault("plain", json!({})),
        fault("sustained", json!({"for": "1s"})),
        fault("grace", json!({"initialGrace": "2s"})),
    ]);
    let ill = jiff::Timestamp::now().as_millisecond();
    std::fs::remove_file(&flag).expect("it was there");
    let ended = |name: &str| {
        let view = ctl.wait_for_phase(name, "Ended");
        assert_eq!(view.reason(), "Health", "{name}");
        let time = |field: &str| {
            let text = view.0["status"][field].as_str().expect("a time");
            text.parse::<jiff::Timestamp>().expect("a time").as_millisecond()
        };
        assert_detached_in_time(&view);
        (time("endedAt") - ill, time("endedAt") - time("startedAt"))
    };
    let (plain, sustained, grace) = (ended("plain").0, ended("sustained").0, ended("grace").1);
    println!("ended {plain} and {sustained} ms after the check began to fail, {grace} ms after the start");
    // The first failure, from which a second counts, comes before the one that ends the plain one.
    let between = if is_emulated() { 600 } else { 900 };
    assert!(
        sustained >= 1000 && sustained >= plain + between && grace >= 2000,
        "{plain}, {sustained}, {grace} ms"
    );
}

/// A change keeps checks that are the same, with what they have seen; and deletion ends them at once.
#[test]
fn a_change_keeps_or_replaces_checks_and_deletion_ends_them() {
    need!(require_program("nginx"));
    let net = Pair::new();
    let web = Web::start(&net.client.netns, 8080, "127.0.0.1:1");
    let daemon = Daemon::builder().netns(&net.client.netns).start();
    let ctl = daemon.ctl();
    let check = |path: &str| with(web.check(path), json!({"interval": "20ms"}));
    let fault = |chance: &str, checks: Value| {
        FaultFile::on_netns("lossy", &net.client.netns, json!({"drop": {"chance": chance}})).health(checks)
    };
    let samples = || {
        health(&ctl.fault("lossy"), 0)["samples"]
            .as_u64()
            .expect("a number")
    };
    ctl.apply(&[fault("1%", json!([check("/?a")]))]);
    eventually(SOON, "some samples", || samples() > 20);
    let before = samples();
    ctl.apply(&[fault("2%", json!([check("/?a")]))]);
    assert!(samples() >= before, "they go on");
    ctl.apply(&[fault("2%", json!([check("/?b")]))]);
    assert!(samples() < before, "new ones begin anew");
    let asked = |what: &str| {
        let log = std::fs::read_to_string(web.file("access.log")).unwrap_or_default();
        log.lines().filter(|line| line.contains(what)).count()
    };
    let old = asked("/?a");
    let new = asked("/?b");
    eventually(SOON, "the new ones are taken", || asked("/?b") > new + 10);
    assert!(asked("/?a") <= old + 1, "the old ones are not");
    // Checks that do not pass do not replace those that do.
    let refused = ctl.try_apply(&[fault("2%", json!([check("/nowhere")]))]);
    assert_eq!(refused.code, 12, "{refused}");
    assert_eq!(ctl.fault("lossy").phase(), "Active");
    ctl.delete("lossy");
    // Every 20 ms while they are taken.
    let at_the_end = web.asked();
    let last = settled(Duration::from_millis(300), || web.asked());
    assert!(
        last <= at_the_end + 1,
        "deletion ends them: {at_the_end}, then {last}"
    );
}

/// A thousand checks, of which hundreds hang: one that is well and one that fails are taken in time.
#[test]
fn a_thousand_checks_are_fair() {
    need!(require_program("nginx"));
    let net = Pair::new();
    let web = Web::start(&net.client.netns, 8080, "127.0.0.1:1");
    let daemon = Daemon::builder().netns(&net.client.netns).start();
    let ctl = daemon.ctl();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let flag = folder.path().join("well");
    std::fs::write(&flag, "").expect("writes");
    let many: Vec<Value> = (0..998)
        .map(|n| {
            let check = with(
                web.check(&format!("/?{n}")),
                json!({"interval": "2s", "timeout": "10s", "failureThreshold": 1000}),
            );
            with(check, json!({"expect": {"body": "all is well"}}))
        })
        .collect();
    let lossy = |name: &str| FaultFile::on_netns(name, &net.client.netns, json!({"drop": {"chance": "1%"}}));
    ctl.apply(&[lossy("many").health(json!(many))]);
    // Now all of them hang for four seconds each time.
    web.ail("slow");
    let exec =
        json!({"exec": {"command": ["/usr/bin/test", "-e", flag]}, "interval": "100ms", "timeout": "1s"});
    ctl.apply(&[lossy("one").health(json!([exec]))]);
    let samples = || {
        health(&ctl.fault("one"), 0)["samples"]
            .as_u64()
            .expect("a number")
    };
    let (start, before) = (Instant::now(), samples());
    eventually(Duration::from_secs(10), "thirty samples", || {
        samples() >= before + 30
    });
    let took = start.elapsed();
    println!("30 samples, 100 ms apart, beside 998 that hang: {took:?}");
    assert!(took < patience(Duration::from_secs(6)), "{took:?}");
    std::fs::remove_file(&flag).expect("it was there");
    let view = ctl.wait_for_phase("one", "Ended");
    println!("detached after {}", assert_detached_in_time(&view));
}

#[test]
fn a_check_in_another_namespace_sees_that_namespace() {
    need!(require_program("nginx"));
    let net = Pair::new();
    let web = Web::start(&net.server.netns, 8080, "127.0.0.1:1");
    // The daemon has no way to the server but through its namespace.
    let daemon = Daemon::start();
    let ctl = daemon.ctl();
    let lossy = |name: &str| FaultFile::on_netns(name, &net.client.netns, json!({"drop": {"chance": "1%"}}));
    let netns = json!({"netns": net.server.netns.path(), "interval": "50ms"});
    let refused = ctl.try_apply(&[lossy("outside").health(json!([web.check("/")]))]);
    assert_eq!(refused.code, 12, "{refused}");
    let script = "test \"$(readlink /proc/self/ns/net)\" = \"net:[INODE]\""
        .replace("INODE", &net.server.netns.inode().to_string());
    let exec = json!({"exec": {"command": ["/bin/sh", "-c", script]}});
    ctl.apply(&[lossy("inside").health(json!([with(web.check("/"), netns.clone()), with(exec, netns)]))]);
    eventually(SOON, "samples", || {
        health(&ctl.fault("inside"), 1)["samples"].as_u64() > Some(5)
    });
    assert_eq!(ctl.fault("inside").phase(), "Active");
    web.ail("500");
    assert_eq!(ctl.wait_for_phase("inside", "Ended").reason(), "Health");
}

//! Many faults at once.

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use chaos_tests::{
    Answer, Api, Daemon, FaultFile, Netns, Pair, Snapshot, Stopwatch, eventually, is_full_run,
    monotonic_nanos, moved, need, patience, require_tcx,
};
use serde_json::{Value, json};

use crate::bed::{Bed, SOON};
use crate::health::WithHealth;
use crate::probes::udp;

#[test]
fn a_thousand_faults_come_in_one_request_act_each_on_its_own_and_are_halted_together() {
    let bed = Bed::new();
    let api = Api::of(&bed.daemon);
    let faults: Vec<FaultFile> = (0..1000)
        .map(|n| {
            let traffic = json!({"protocol": "udp", "remote": {"ports": [10_000 + 2 * n]}});
            bed.on_client(&format!("f{n}"), json!({"partition": {}}))
                .traffic(traffic)
        })
        .collect();
    let watch = Stopwatch::start();
    let answer = api.apply(&faults);
    let took = watch.took();
    assert!((200..300).contains(&answer.status), "{answer:?}");
    assert!(took < patience(Duration::from_secs(1)), "{took:?}");
    assert_eq!(
        bed.ctl.faults().iter().filter(|f| f.phase() == "Active").count(),
        1000
    );
    for n in [0_u16, 1, 499, 998, 999] {
        let port = 10_000 + 2 * n;
        assert!(!bed.reaches(bed.net.server.at(port)), "{port}");
        assert!(bed.reaches(bed.net.server.at(port + 1)), "{port} + 1");
        assert_eq!(bed.ctl.fault(&format!("f{n}")).packets("dropped"), 3);
    }
    let watch = Stopwatch::start();
    let answer = api.send("POST", "/v1/halt", "");
    let took = watch.took();
    assert!((200..300).contains(&answer.status), "{answer:?}");
    assert!(
        took < patience(Duration::from_millis(100)),
        "halting a thousand: {took:?}"
    );
    assert!(bed.reaches(bed.net.server.at(10_998)));
    bed.assert_untouched();
}

#[test]
fn a_thousand_faults_on_a_line_come_in_one_request_and_are_halted_together() {
    let bed = Bed::new();
    let api = Api::of(&bed.daemon);
    let faults: Vec<FaultFile> = (0..1000)
        .map(|n| {
            let traffic = json!({"protocol": "tcp", "remote": {"ports": [10_000 + 2 * n]}});
            bed.on_client(&format!("f{n}"), json!({"drop": {"chance": "1%"}}))
                .traffic(traffic)
        })
        .collect();
    let timed = |what: &str, bound: u64, work: &dyn Fn() -> Answer| {
        let watch = Stopwatch::start();
        let answer = work();
        let took = watch.took();
        println!("{what} a thousand: {took:?}");
        assert!((200..300).contains(&answer.status), "{answer:?}");
        assert!(took < patience(Duration::from_millis(bound)), "{what}: {took:?}");
    };
    timed("applying", 1000, &|| api.apply(&faults));
    let hit = bed.net.server.at(10_998);
    bed.server.tcp_serve(hit);
    let opened = bed.client.tcp_open(None, hit, Duration::from_secs(5));
    let exchanged = bed
        .client
        .tcp_exchange(opened.stream(), 1 << 20, Duration::from_secs(20));
    assert_eq!(exchanged.result, Ok(0), "{exchanged:?}");
    let matched = |n: u16| bed.ctl.fault(&format!("f{n}")).packets("matched");
    assert!(matched(499) > 700, "a mebibyte in wire packets: {}", matched(499));
    assert_eq!(matched(498), 0);
    // Changed all at once, too.
    let changed: Vec<FaultFile> = faults
        .iter()
        .map(|fault| fault.clone().fault(json!({"drop": {"chance": "2%"}})))
        .collect();
    timed("changing", 1500, &|| api.apply(&changed));
    // They are over at one instant; a thousand entries in the log, the history and the audit come after it.
    let echo = bed.net.server.at(7000);
    bed.server.udp_echo(echo);
    bed.ctl
        .apply(&[bed.on_client("cut", json!({"partition": {}})).traffic(udp(7000))]);
    let probe = bed.client.probe(echo, Duration::from_millis(1));
    eventually(SOON, "questions are lost", || {
        let samples = bed.client.probe_report(probe).samples;
        samples.len() > 10 && samples.iter().all(|sample| sample.answered.is_none())
    });
    let halted = monotonic_nanos();
    timed("halting", 100, &|| api.send("POST", "/v1/halt", ""));
    let mut whole = None;
    eventually(SOON, "questions are answered", || {
        whole = bed.client.probe_report(probe).first_answered(halted);
        whole.is_some()
    });
    let took = moved(halted, whole.expect("it was waited for"));
    println!("the traffic was whole after {took:?}");
    assert!(took < patience(Duration::from_millis(100)), "{took:?}");
    bed.client.close(probe);
    bed.assert_untouched();
}

/// The kernel takes tens of milliseconds to detach a program, and as long to let a device go; the devices go together.
#[test]
fn the_lines_of_many_namespaces_go_together() {
    const COUNT: usize = 10;
    let bed = Bed::new();
    let api = Api::of(&bed.daemon);
    let pairs: Vec<Pair> = (0..COUNT).map(|_| Pair::new()).collect();
    let look = |pair: &Pair| Snapshot::of_devices(&[&pair.client.device]);
    let before: Vec<Snapshot> = pairs.iter().map(look).collect();
    let halted = |fault: Value| {
        let faults: Vec<FaultFile> = pairs
            .iter()
            .enumerate()
            .map(|(n, pair)| {
                FaultFile::on_device(&format!("f{n}"), &pair.client.device, fault.clone())
                    .traffic(json!({"protocol": "udp"}))
            })
            .collect();
        let answer = api.apply(&faults);
        assert!((200..300).contains(&answer.status), "{answer:?}");
        let watch = Stopwatch::start();
        let answer = api.send("POST", "/v1/halt", "");
        let took = watch.took();
        assert!((200..300).contains(&answer.status), "{answer:?}");
        for (pair, before) in pairs.iter().zip(&before) {
            look(pair).assert_same_as(before);
        }
        bed.ctl.ok(&["halt", "--release"]);
        took
    };
    // The better of two, since the machine may do other things meanwhile. One after the other they took 30 ms each and
    // more on a quiet one.
    let extra = (0..2).map(|_| {
        let plain = halted(json!({"partition": {}}));
        let lined = halted(json!({"delay": {"latency": "10ms"}}));
        println!("halting in {COUNT} namespaces: {plain:?} without lines, {lined:?} with");
        lined.saturating_sub(plain)
    });
    let least = extra.min().expect("two rounds");
    assert!(least < patience(Duration::from_millis(200)), "{least:?} more");
}

/// A node with so many guests, each on a cable of its own.
fn node_of(count: usize) -> (Netns, Netns) {
    let [host, guests] = std::array::from_fn(|_| Netns::new());
    let batch = |netns: &Netns, line: &dyn Fn(usize) -> String| {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
        for n in 0..count {
            writeln!(file, "{}", line(n)).expect("it can be written");
        }
        let path = file.path().to_str().expect("a path of tempfile's is text");
        netns.run(&["ip", "-batch", path]);
    };
    let cable = |n| format!("link add h{n} type veth peer name g{n} netns {}", guests.name());
    batch(&host, &cable);
    batch(&host, &|n| format!("link set h{n} up"));
    batch(&guests, &|n| format!("link set g{n} up"));
    (host, guests)
}

/// The kernel links a program to one device after the other, a grace period of RCU each. Whoever asks for more than a
/// client usually waits for gets the fault and its answer, and the lease holds meanwhile.
#[test]
fn a_namespace_of_many_devices_takes_its_time_and_no_harm() {
    let count = if is_full_run() { 1_300 } else { 40 };
    let (host, _guests) = node_of(count);
    let daemon = Daemon::start();
    let ctl = daemon.ctl();
    let faults = [json!({"partition": {}}), json!({"delay": {"latency": "10ms"}})];
    // The devices of so many lines would keep the daemon from ending for longer than a test waits.
    let few = if is_full_run() { 1 } else { 2 };
    for fault in &faults[..few] {
        let watch = Stopwatch::start();
        let wide = FaultFile::on_netns("wide", &host, fault.clone()).lasting("10m");
        ctl.apply(&[wide.traffic(json!({"direction": "both"}))]);
        let began = watch.took();
        let view = ctl.fault("wide");
        assert_eq!((view.phase(), view.attachments().len()), ("Active", 2 * count));
        let watch = Stopwatch::start();
        ctl.delete("wide");
        println!(
            "{fault} on {count} devices: there after {began:?}, gone after {:?}",
            watch.took()
        );
        assert_eq!(ctl.fault("wide").reason(), "Deleted");
    }
}

/// A fault ends for its traffic while the daemon is inside the kernel for somebody else, and is told of when it is back.
#[test]
fn an_end_does_not_wait_for_what_is_attached_to_many_devices() {
    // Filters in clsact qdiscs are there at once.
    need!(require_tcx());
    let bed = Bed::new();
    let api = Api::of(&bed.daemon);
    let (host, _guests) = node_of(100);
    let well = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    let there = well.path().to_str().expect("a path of tempfile's is text");
    let check = json!({"exec": {"command": ["/usr/bin/test", "-e", there]}, "interval": "20ms", "failureThreshold": 1});
    let echo = bed.net.server.at(7000);
    bed.server.udp_echo(echo);
    let wide = FaultFile::on_netns("wide", &host, json!({"partition": {}})).lasting("10m");
    let mut well = Some(well);
    for by in ["Deleted", "Health"] {
        let on = |name: &str, port| bed.on_client(name, json!({"partition": {}})).traffic(udp(port));
        let cut = on("cut", 7000);
        bed.ctl.apply(&[cut.health(json!([check])), on("beside", 7001)]);
        let probe = bed.client.probe(echo, Duration::from_millis(1));
        eventually(SOON, "questions are lost", || {
            let samples = bed.client.probe_report(probe).samples;
            samples.len() > 10 && samples.iter().all(|sample| sample.answered.is_none())
        });
        let (asked, ended, applied) = thread::scope(|scope| {
            let apply = scope.spawn(|| {
                let answer = api.apply(std::slice::from_ref(&wide));
                assert!((200..300).contains(&answer.status), "{answer:?}");
                monotonic_nanos()
            });
            eventually(5 * SOON, "the daemon attaches", || {
                bed.daemon.bpf_objects().links.len() > 3
            });
            let asked = monotonic_nanos();
            match by {
                // One that is asked for together with others does not wait for them, either.
                "Deleted" => drop(bed.ctl.ok(&["delete", "beside", "cut"])),
                _ => drop(well.take()),
            }
            let view = bed.ctl.wait_for_phase("cut", "Ended");
            assert_eq!(view.reason(), by);
            (asked, monotonic_nanos(), apply.join().expect("it was applied"))
        });
        let report = bed.client.probe_report(probe);
        let whole = report.first_answered(asked).expect("it has ended");
        let (took, told) = (moved(asked, whole), moved(asked, ended));
        println!(
            "{by}: whole after {took:?}, told after {told:?}, the other there after {:?}",
            moved(asked, applied)
        );
        assert!(took < patience(Duration::from_millis(150)), "{by}: {took:?}");
        // It was at work all the time.
        assert!(told > 2 * took, "{by}: {took:?}, told of after {told:?}");
        assert!(applied > whole, "{by}");
        bed.client.close(probe);
        bed.ctl.delete("wide");
    }
}

#[test]
fn one_request_is_all_or_nothing() {
    let bed = Bed::new();
    let good = |n: u16| bed.on_client(&format!("good-{n}"), json!({"partition": {}}));
    let bad = FaultFile::new(
        "bad",
        json!({"netns": "/run/netns/chaos-t-not-there"}),
        json!({"partition": {}}),
    );
    let output = bed.ctl.try_apply(&[good(1), bad, good(2)]);
    assert_eq!(output.code, 2, "{output}");
    assert!(output.stderr.contains("chaos-t-not-there"), "{output}");
    assert!(bed.ctl.faults().is_empty());
    bed.assert_untouched();
    assert!(bed.reaches(bed.net.server.at(9000)));
}

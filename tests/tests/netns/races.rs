//! Many at once, and things that go away under a request: each gets a proper answer, and at the end nothing is left.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chaos_tests::{
    Answer, Api, BpfObjects, Daemon, FaultFile, Netns, Pair, Snapshot, eventually, is_emulated, is_full_run,
    monotonic_nanos, patience, until, veth,
};
use serde_json::{Value, json};

use crate::bed::{Bed, SOON};
use crate::ourselves::{assert_no_panic, assert_nothing_attached};

/// An answer is JSON, and one that refuses says why and what to do.
#[track_caller]
fn assert_proper(what: &str, answer: &Answer) {
    let body: Value =
        serde_json::from_str(&answer.body).unwrap_or_else(|e| panic!("{what}: {e}: {answer:?}"));
    if (200..300).contains(&answer.status) {
        return;
    }
    assert!((400..600).contains(&answer.status), "{what}: {answer:?}");
    let text = |name: &str| body[name].as_str().is_some_and(|text| !text.is_empty());
    assert!(text("title") && text("detail"), "{what}: {answer:?}");
}

/// Tells the others, also when an assertion fails.
struct AtTheEnd<'a>(&'a AtomicBool);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Draws that need not be repeated, only differ from client to client.
fn draw(state: &mut u64, below: u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

#[test]
fn fifty_clients_that_apply_delete_and_halt_get_answers_and_leave_nothing() {
    const CLIENTS: u64 = 50;
    let length = Duration::from_secs(if is_full_run() { 60 } else { 5 });
    let bed = Bed::new();
    let api = Api::of(&bed.daemon);
    let kinds = [
        json!({"partition": {}}),
        json!({"drop": {"chance": "10%"}}),
        json!({"delay": {"latency": "5ms", "jitter": "2ms"}}),
        json!({"bandwidth": {"rate": "10mbit"}}),
        json!({"reject": {}}),
    ];
    let end = Instant::now() + length;
    let client = |number: u64| {
        let mut state = number + 1;
        let mut seen: BTreeMap<u16, u64> = BTreeMap::new();
        let mut worst = Duration::ZERO;
        while Instant::now() < end {
            let name = format!("f{}", draw(&mut state, 20));
            let asked = Instant::now();
            let (what, answer) = match draw(&mut state, 20) {
                0 => ("halt", api.send("POST", "/v1/halt", "")),
                1 | 2 => ("release", api.send("DELETE", "/v1/halt", "")),
                3..8 => ("delete", api.send("DELETE", &format!("/v1/faults/{name}"), "")),
                8 => ("list", api.send("GET", "/v1/faults", "")),
                _ => {
                    let count = 1 + draw(&mut state, 3);
                    let first = draw(&mut state, 18);
                    let faults: Vec<FaultFile> = (first..first + count)
                        .map(|n| {
                            let kind = kinds[usize::try_from(draw(&mut state, 5)).expect("an index")].clone();
                            let ports = json!({"protocol": "udp", "remote": {"ports": [9000 + n]}});
                            bed.on_client(&format!("f{n}"), kind).traffic(ports)
                        })
                        .collect();
                    ("apply", api.apply(&faults))
                }
            };
            worst = worst.max(asked.elapsed());
            assert_proper(what, &answer);
            // Found, not found, halted: all else would be our own trouble.
            let usual = (200..300).contains(&answer.status) || [404, 409].contains(&answer.status);
            assert!(usual, "{what}: {answer:?}");
            *seen.entry(answer.status).or_default() += 1;
        }
        (seen, worst)
    };
    let client = &client;
    let (seen, worst) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| scope.spawn(move || client(number)))
            .collect();
        let mut all: BTreeMap<u16, u64> = BTreeMap::new();
        let mut worst = Duration::ZERO;
        for client in clients {
            let (seen, one) = client
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            for (status, count) in seen {
                *all.entry(status).or_default() += count;
            }
            worst = worst.max(one);
        }
        (all, worst)
    });
    println!("answers of {CLIENTS} clients in {length:?}: {seen:?}, the slowest after {worst:?}");
    assert!(
        seen.keys().any(|status| *status < 300) && seen.contains_key(&409),
        "{seen:?}"
    );
    assert!(worst < patience(Duration::from_secs(10)), "{worst:?}");
    assert_no_panic(&bed.daemon);
    bed.ctl.ok(&["halt"]);
    assert!(bed.ctl.faults().iter().all(|fault| fault.phase() == "Ended"));
    assert_nothing_attached(&bed.daemon);
    bed.assert_untouched();
    bed.ctl.ok(&["halt", "--release"]);
    let state = bed.daemon.state_dir();
    bed.ctl
        .ok(&["audit", "verify", state.to_str().expect("it is text")]);
    bed.ctl.apply(&[bed.on_client("after", json!({"partition": {}}))]);
    assert!(!bed.reaches(bed.net.server.at(9000)));
    bed.delete("after");
}

/// Namespaces of a request that go while it is carried out.
#[test]
fn namespaces_deleted_under_a_request_are_refused_or_let_go() {
    const COUNT: usize = 3;
    let daemon = Daemon::start();
    let (api, ctl) = (Api::of(&daemon), daemon.ctl());
    let stays = Pair::new();
    let before = Snapshot::of_devices(&[&stays.client.device]);
    let mut outcomes: BTreeMap<bool, usize> = BTreeMap::new();
    let request = |name: &str, pairs: &[Pair]| -> Vec<FaultFile> {
        let mut spaces: Vec<Netns> = pairs.iter().map(|pair| pair.client.netns.clone()).collect();
        spaces.push(stays.client.netns.clone());
        let one = |n: usize| {
            let port = json!({"protocol": "udp", "remote": {"ports": [9000 + n]}});
            let kind = if n.is_multiple_of(3) {
                json!({"delay": {"latency": "1ms"}})
            } else {
                json!({"partition": {}})
            };
            FaultFile::on_netns(&format!("{name}-{n}"), &spaces[n % spaces.len()], kind).traffic(port)
        };
        (0..120).map(one).collect()
    };
    let pairs = || -> Vec<Pair> { (0..COUNT).map(|_| Pair::new()).collect() };
    // What it takes when nothing happens: this machine, and what else it does, decide.
    let undisturbed = pairs();
    let begun = monotonic_nanos();
    let answer = api.apply(&request("undisturbed", &undisturbed));
    let whole = monotonic_nanos() - begun;
    assert_eq!(answer.status / 100, 2, "{answer:?}");
    ctl.ok(&["halt"]);
    ctl.ok(&["halt", "--release"]);
    drop(undisturbed);
    // An emulated machine takes twenty times as long for each.
    let step = if is_emulated() { 3 } else { 1 };
    for round in (0_u32..12).step_by(step) {
        let pairs = pairs();
        let faults = request(&format!("r{round}"), &pairs);
        let begun = AtomicBool::new(false);
        let answer = std::thread::scope(|scope| {
            let answer = scope.spawn(|| {
                begun.store(true, Ordering::SeqCst);
                api.apply(&faults)
            });
            while !begun.load(Ordering::SeqCst) {
                std::hint::spin_loop();
            }
            // Another moment of the request in each round, and after it in the last ones.
            until(monotonic_nanos() + whole / 6 * u64::from(round));
            for pair in &pairs {
                pair.client.netns.delete_now();
            }
            answer
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        assert_proper("apply", &answer);
        let accepted = (200..300).contains(&answer.status);
        *outcomes.entry(accepted).or_default() += 1;
        if accepted {
            for fault in faults
                .iter()
                .filter(|fault| fault.value()["spec"]["target"]["netns"] != json!(stays.client.netns.path()))
            {
                let view = ctl.wait_for_phase(fault.name(), "Ended");
                assert_eq!(view.reason(), "TargetGone", "{}", view.0);
            }
        } else {
            assert_eq!(answer.status, 422, "{answer:?}");
            assert!(
                [
                    "is gone",
                    "went away",
                    "does not exist",
                    "is not a network namespace"
                ]
                .iter()
                .any(|words| answer.body.contains(words)),
                "{answer:?}"
            );
        }
        let acting = ctl
            .faults()
            .iter()
            .filter(|fault| fault.phase() == "Active")
            .count();
        assert_eq!(acting, if accepted { 30 } else { 0 });
        ctl.ok(&["halt"]);
        ctl.ok(&["halt", "--release"]);
        assert_nothing_attached(&daemon);
        Snapshot::of_devices(&[&stays.client.device]).assert_same_as(&before);
        drop(pairs);
    }
    println!(
        "accepted: {outcomes:?}, undisturbed within {} ms",
        whole / 1_000_000
    );
    assert!(
        outcomes.contains_key(&true) && outcomes.contains_key(&false),
        "{outcomes:?}"
    );
    assert_no_panic(&daemon);
}

/// A device that comes and goes while faults on it are planned and applied.
#[test]
fn a_device_that_goes_between_plan_and_apply_is_named() {
    let bed = Bed::new();
    let client = &bed.net.client.netns;
    let (lost, _) = veth((client, "v0"), (&bed.net.server.netns, "w0"));
    let fault = FaultFile::on_device("on-v0", &lost, json!({"delay": {"latency": "5ms"}}));
    assert_eq!(bed.ctl.try_plan(std::slice::from_ref(&fault)).code, 0);
    lost.delete_now();
    let refused = bed.ctl.try_apply(std::slice::from_ref(&fault));
    assert_eq!(refused.code, 2, "{refused}");
    assert!(
        refused.stderr.contains("v0") && refused.stderr.contains("c0"),
        "{refused}"
    );

    // And now at any moment. The namespace has its programs already, or they would take longer than any device lives.
    let anchor = FaultFile::on_device(
        "anchor",
        &bed.net.client.device,
        json!({"drop": {"chance": "1%"}}),
    );
    bed.ctl.apply(&[anchor]);
    let api = Api::of(&bed.daemon);
    let over = AtomicBool::new(false);
    let mut accepted = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut lives = 1;
            while !over.load(Ordering::SeqCst) {
                let (device, _) = veth((client, "v0"), (&bed.net.server.netns, "w0"));
                // Another moment each time.
                lives = (lives * 2) % 127;
                until(monotonic_nanos() + lives * 1_000_000);
                device.delete_now();
            }
        });
        let _over = AtTheEnd(&over);
        let end = Instant::now() + Duration::from_secs(4);
        while Instant::now() < end {
            let answer = api.apply(std::slice::from_ref(&fault));
            assert_proper("apply", &answer);
            accepted += u32::from(answer.status < 300);
            assert!(answer.status < 300 || answer.status == 422, "{answer:?}");
        }
    });
    println!("{accepted} times it was there");
    assert!(accepted > 0);
    if bed.ctl.find("on-v0").is_some_and(|view| view.phase() == "Active") {
        // The device of its last time has gone.
        let view = bed.ctl.wait_for_phase("on-v0", "Ended");
        assert_eq!(view.reason(), "TargetGone", "{}", view.0);
    }
    bed.ctl.delete("anchor");
    assert_nothing_attached(&bed.daemon);
    bed.assert_untouched();
    assert_no_panic(&bed.daemon);
}

/// A device with an `ingress` qdisc has no place for clsact, and the kernel says so only when it is asked.
#[test]
fn a_device_that_takes_no_filter_is_refused_and_its_qdisc_stays() {
    let net = Pair::new();
    net.client.device.netns().tc("qdisc add dev c0 ingress");
    let look = || Snapshot::of_devices(&[&net.client.device]);
    let before = look();
    let daemon = Daemon::builder()
        .args(&["--attach", "clsact", "--xdp", "never"])
        .start();
    let ctl = daemon.ctl();
    let cut = |direction: &str| {
        FaultFile::on_netns("cut", &net.client.netns, json!({"partition": {}}))
            .traffic(json!({"direction": direction}))
    };
    for direction in ["egress", "both"] {
        let refused = ctl.try_apply(&[cut(direction)]);
        assert_eq!(refused.code, 2, "{direction}: {refused}");
        assert!(refused.stderr.contains("c0"), "{direction}: {refused}");
        assert!(refused.stderr.contains("`ingress`"), "{direction}: {refused}");
        look().assert_same_as(&before);
    }
    assert!(ctl.faults().is_empty());
    // What arrives has its place in such a qdisc.
    ctl.apply(&[cut("ingress")]);
    ctl.delete("cut");
    look().assert_same_as(&before);
    assert_no_panic(&daemon);
    assert_eq!(daemon.bpf_objects().links, BpfObjects::default().links);
    net.client.device.netns().tc("qdisc del dev c0 ingress");
    eventually(SOON, "it is gone", || look() != before);
}

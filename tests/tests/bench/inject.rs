//! How soon a fault acts, and how long many take.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use aya::programs::TcAttachType;
use chaos_bench::{Better, Row, Target};
use chaos_tests::{
    FaultFile, ForeignTcx, Pair, Skip, Ticker, eventually, monotonic_nanos, require_tcx, settled, until,
};
use serde_json::{Value, json};

use crate::paths::{self, Bed, Times};
use crate::run::{Run, in_turns};

const PORT: u16 = 9001;
const SOON: Duration = Duration::from_secs(10);
/// Longer than the verifier takes over one program, on a busy machine, too.
const AHEAD: Duration = Duration::from_secs(3);
const PACE: Duration = Duration::from_micros(100);
/// Before the request, so that the traffic runs, and after the answer, so that what is lost is seen.
const AROUND: u64 = 20_000_000;
/// Several grace periods of RCU.
const AFTER: u64 = 200_000_000;

pub(crate) fn measure(run: &mut Run) -> Result<(), Skip> {
    require_tcx()?;
    let trials = if run.is_quick() { 10 } else { 100 };
    first(run, trials, "first fault of a namespace");
    let elsewhere = Pair::new();
    let other = ForeignTcx::attach(&elsewhere.client.device, TcAttachType::Egress);
    first(run, trials, "first fault of a namespace, tc in use elsewhere");
    drop(other);
    further(run, trials);
    change(run, trials);
    many(run);
    Ok(())
}

/// Milliseconds from before `act` to the first packet that is lost.
fn until_lost(bed: &Bed, act: impl FnOnce()) -> f64 {
    let ticker = Ticker::start(&bed.net.client, &bed.net.server, bed.net.server.at(PORT), PACE);
    until(monotonic_nanos() + AROUND);
    let trigger = monotonic_nanos();
    act();
    until(monotonic_nanos() + AROUND);
    let ticks = ticker.stop();
    assert_eq!(ticks.lost_before(trigger), 0, "nothing is lost before");
    let lost = ticks.first_lost(trigger).expect("the fault acts");
    (lost - trigger) as f64 / 1e6
}

fn udp(port: u16) -> Value {
    json!({"protocol": "udp", "remote": {"ports": [port]}})
}

fn apply(bed: &Bed, faults: &[FaultFile]) {
    let answer = bed.api.apply(faults);
    assert!((200..300).contains(&answer.status), "{answer:?}");
}

fn delete(bed: &Bed, name: &str) {
    let answer = bed.api.send("DELETE", &format!("/v1/faults/{name}"), "");
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// A classic BPF program for cls_bpf: UDP over IPv4 without options to `port` is dropped, the rest goes on.
fn bytecode(port: u16) -> String {
    // ldh [12]; jne #0x800, on; ldb [23]; jne #17, on; ldh [36]; jne #port, on; ret #TC_ACT_SHOT; on: ret #TC_ACT_UNSPEC
    format!("8,40 0 0 12,21 0 5 2048,48 0 0 23,21 0 3 17,40 0 0 36,21 0 1 {port},6 0 0 2,6 0 0 4294967295")
}

/// Puts `tc filter`s for these ports onto the client's device.
fn filter(bed: &Bed, verb: &str, handle: u32, port: u16) {
    let device = &bed.net.client.device;
    let handle = handle.to_string();
    let code = bytecode(port);
    let argv = [
        "tc",
        "filter",
        verb,
        "dev",
        device.name(),
        "egress",
        "pref",
        "1",
        "handle",
        &handle,
        "bpf",
        "da",
        "bytecode",
        &code,
    ];
    device.netns().run(&argv);
}

fn qdisc(bed: &Bed, verb: &str) {
    let device = &bed.net.client.device;
    let name = device.name();
    device.netns().tc(&format!("qdisc {verb} dev {name} clsact"));
}

const TC: &str = "tc: clsact and a BPF filter";

/// The first fault of a namespace: programs are given to it, and attached. When nobody on the host uses tc, the kernel
/// looks at its hooks only once the first link is made, a grace period of RCU later (`tcx_skeys_inc`).
fn first(run: &mut Run, trials: usize, name: &'static str) {
    let bed = Bed::with(&[]);
    let fault = bed.fault("cut", json!({"partition": {}})).traffic(udp(PORT));
    // It loads programs for the next namespace ahead, beside its work: so many it has then.
    let programs = || bed.daemon.bpf_objects().programs.len();
    let mut loaded = None;
    let pairs = in_turns(
        trials,
        || {
            let took = until_lost(&bed, || apply(&bed, std::slice::from_ref(&fault)));
            let wanted = *loaded.get_or_insert_with(|| {
                settled(AHEAD, programs);
                programs()
            });
            eventually(SOON, "programs are loaded ahead", || programs() >= wanted);
            delete(&bed, "cut");
            // A first fault does not come right after another's end, which the kernel is still tidying up behind.
            until(monotonic_nanos() + AFTER);
            took
        },
        || {
            let took = until_lost(&bed, || {
                qdisc(&bed, "add");
                filter(&bed, "add", 1, PORT);
            });
            qdisc(&bed, "del");
            took
        },
    );
    let times = Times {
        name,
        against: TC,
        within: Some(5.0),
        remark: "two runs of tc, from their start".to_owned(),
    };
    paths::times(run, &times, &pairs);
}

fn further(run: &mut Run, trials: usize) {
    let bed = Bed::with(&[]);
    let other = bed
        .fault("other", json!({"partition": {}}))
        .traffic(udp(PORT + 1));
    let fault = bed.fault("cut", json!({"partition": {}})).traffic(udp(PORT));
    apply(&bed, &[other]);
    bed.calm();
    let mut ours = Vec::new();
    for _ in 0..trials {
        ours.push(until_lost(&bed, || apply(&bed, std::slice::from_ref(&fault))));
        delete(&bed, "cut");
    }
    delete(&bed, "other");
    qdisc(&bed, "add");
    filter(&bed, "add", 1, PORT + 1);
    let mut pairs = Vec::new();
    for ours in ours {
        let theirs = until_lost(&bed, || filter(&bed, "add", 2, PORT));
        let device = &bed.net.client.device;
        let gone = format!("filter del dev {} egress pref 1 handle 2 bpf", device.name());
        device.netns().tc(&gone);
        pairs.push((ours, theirs));
    }
    qdisc(&bed, "del");
    let times = Times {
        name: "a further fault",
        against: TC,
        within: Some(5.0),
        remark: "one run of tc, from its start".to_owned(),
    };
    paths::times(run, &times, &pairs);
}

/// Milliseconds in which the disk of the daemon's state takes what the audit log writes of a change.
fn one_sync(bed: &Bed) -> f64 {
    let path = bed.daemon.state_dir().join("of-the-benchmark");
    let mut file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(path)
        .expect("the daemon's state can be written");
    // Some time after what was written before, as a change comes.
    until(monotonic_nanos() + AROUND);
    let start = monotonic_nanos();
    file.write_all(&[b'x'; 550])
        .and_then(|()| file.sync_data())
        .expect("the disk takes it");
    (monotonic_nanos() - start) as f64 / 1e6
}

/// A running fault that did nothing takes all.
fn change(run: &mut Run, trials: usize) {
    let bed = Bed::with(&[]);
    let with = |chance: &str| {
        bed.fault("cut", json!({"drop": {"chance": chance}}))
            .traffic(udp(PORT))
    };
    let (none, all) = (with("0%"), with("100%"));
    apply(&bed, std::slice::from_ref(&none));
    bed.calm();
    let mut ours = Vec::new();
    for _ in 0..trials {
        ours.push(until_lost(&bed, || apply(&bed, std::slice::from_ref(&all))));
        apply(&bed, std::slice::from_ref(&none));
    }
    delete(&bed, "cut");
    let synced: Vec<(f64, f64)> = ours.iter().map(|ours| (*ours, one_sync(&bed))).collect();
    run.row(
        Row::new(
            "live change, 0 % to 100 %, and the disk",
            "ms",
            Better::Lower,
            "fdatasync of as many bytes on the same disk",
            &synced,
        )
        .remark("each change is in the audit log, on the disk, before it is made"),
    );
    qdisc(&bed, "add");
    filter(&bed, "add", 1, PORT + 1);
    let mut pairs = Vec::new();
    for ours in ours {
        let theirs = until_lost(&bed, || filter(&bed, "change", 1, PORT));
        filter(&bed, "change", 1, PORT + 1);
        pairs.push((ours, theirs));
    }
    qdisc(&bed, "del");
    let times = Times {
        name: "live change, 0 % to 100 %",
        against: TC,
        within: Some(1.0),
        remark: "one run of tc, from its start".to_owned(),
    };
    paths::times(run, &times, &pairs);
}

/// Each with a port of its own, in one request, beside one `tc -batch`.
fn many(run: &mut Run) {
    let counts: &[(u16, usize)] = if run.is_quick() {
        &[(1, 3), (100, 3), (10_000, 1)]
    } else {
        &[(1, 20), (100, 10), (10_000, 5)]
    };
    let bed = Bed::with(&[]);
    // Programs are attached once; here the faults count.
    apply(
        &bed,
        &[bed.fault("other", json!({"partition": {}})).traffic(udp(PORT))],
    );
    bed.calm();
    let device = &bed.net.client.device;
    for &(count, rounds) in counts {
        let ports = 10_000..10_000 + count;
        let faults: Vec<FaultFile> = ports
            .clone()
            .map(|port| {
                bed.fault(&format!("f{port}"), json!({"partition": {}}))
                    .traffic(udp(port))
            })
            .collect();
        let mut batch = String::new();
        for (port, handle) in ports.zip(1_u32..) {
            let (name, code) = (device.name(), bytecode(port));
            let _ = writeln!(
                batch,
                "filter add dev {name} egress pref 1 handle {handle} bpf da bytecode \"{code}\""
            );
        }
        let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
        std::fs::write(file.path(), batch).expect("it can be written");
        let path = file.path().to_str().expect("a path of tempfile's is text");
        let pairs = in_turns(
            rounds,
            || {
                let start = monotonic_nanos();
                apply(&bed, &faults);
                let took = (monotonic_nanos() - start) as f64 / 1e6;
                for answer in [
                    bed.api.send("POST", "/v1/halt", ""),
                    bed.api.send("DELETE", "/v1/halt", ""),
                ] {
                    assert_eq!(answer.status, 200, "{answer:?}");
                }
                apply(
                    &bed,
                    &[bed.fault("other", json!({"partition": {}})).traffic(udp(PORT))],
                );
                bed.calm();
                took
            },
            || {
                qdisc(&bed, "add");
                let start = monotonic_nanos();
                device.netns().run(&["tc", "-batch", path]);
                let took = (monotonic_nanos() - start) as f64 / 1e6;
                qdisc(&bed, "del");
                took
            },
        );
        let mut row = Row::new(
            format!("{count} faults in one request"),
            "ms",
            Better::Lower,
            "tc -batch: as many BPF filters",
            &pairs,
        );
        if count == 10_000 {
            row = row.target(Target::AtMost(1000.0));
        }
        run.row(row);
    }
}

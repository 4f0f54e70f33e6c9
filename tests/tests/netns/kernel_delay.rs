//! Delay by `fq`, in the kernel alone: as late as asked, nothing lost, nothing swapped, and nothing left.

use std::net::SocketAddr;
use std::time::Duration;

use chaos_tests::{
    Device, FaultFile, Process, Snapshot, View, eventually, is_emulated, monotonic_nanos, need, oneway,
    require_fq, require_processors, require_tcx, vlan,
};
use serde_json::{Value, json};

use crate::bed::{Bed, SOON};
use crate::line::lines;
use crate::probes::{MS, delay, deviation, mean, overtaken, quantile, questions, udp, waits};

const PACE: Duration = Duration::from_millis(10);

/// The words for the lines of a fault, sorted, each once.
pub(crate) fn ways(view: &View) -> Vec<String> {
    let attachments = view.0["status"]["attachments"].as_array().expect("a list");
    let mut words: Vec<String> = attachments
        .iter()
        .map(|at| at["line"].as_str().unwrap_or("none").to_owned())
        .collect();
    words.sort();
    words.dedup();
    words
}

/// All that its lines have lost themselves, as the metrics say.
pub(crate) fn lost(bed: &Bed) -> u64 {
    chaos_tests::rate::lost_by_lines(&bed.daemon)
}

fn tcp(direction: &str, port: u16) -> Value {
    json!({"direction": direction, "protocol": "tcp", "remote": {"ports": [port]}})
}

#[test]
fn sixty_questions_come_back_as_late_as_asked_in_both_directions() {
    need!(require_fq());
    let bed = Bed::new();
    let netns = &bed.net.client.netns;
    for (direction, to, latency, least) in [
        ("egress", bed.net.server.at(7000), "50ms", 50.0),
        ("ingress", bed.net.server.at6(7001), "50ms", 50.0),
        ("both", bed.net.server.at(7002), "25ms", 50.0),
    ] {
        bed.server.udp_echo(to);
        let healthy = waits(&bed, to, PACE, 60);
        bed.ctl.apply(&[bed
            .on_client("late", delay(latency))
            .traffic(json!({"direction": direction, "protocol": "udp", "remote": {"ports": [to.port()]}}))]);
        assert_eq!(lines(netns), 1, "{direction}");
        let late = waits(&bed, to, PACE, 60);
        let added = mean(&late) - mean(&healthy);
        let told = format!(
            "{direction}: healthy {:.3}, late: least {:.3}, mean {:.3}, deviation {:.3}, added {added:.3}",
            mean(&healthy),
            quantile(&late, 0.0),
            mean(&late),
            deviation(&late)
        );
        println!("{told}");
        assert!(quantile(&late, 0.0) >= least, "{told}");
        // An emulated processor takes its time for each packet.
        let slack = if is_emulated() { 5.0 } else { 1.0 };
        assert!(added < least + slack, "{told}");
        let view = bed.ctl.fault("late");
        assert_eq!(ways(&view), ["kernel"], "{direction}");
        assert_eq!(view.packets("delayed"), view.packets("matched"));
        assert!(view.packets("matched") >= 60, "{direction}");
        assert_eq!(view.packets("dropped"), 0);
        assert_eq!(lost(&bed), 0);
        bed.delete("late");
        assert_eq!(lines(netns), 0, "{direction}");
    }
}

/// Whole super-packets wait, and TCP sees a longer way, and nothing else.
#[test]
fn a_stream_arrives_whole_and_nothing_is_sent_again() {
    need!(require_fq());
    let mut bed = Bed::new();
    let mut places = vec![bed.net.server.at(7000), bed.net.server.at6(7001)];
    let tagged = |device: &Device, n: u8| {
        let device = vlan(device, 7);
        if let Ok(device) = &device {
            device.add_v4([10, 79, 0, n].into(), 24);
        }
        device
    };
    let devices = (
        tagged(&bed.net.client.device, 1),
        tagged(&bed.net.server.device, 2),
    );
    if let (Ok(_), Ok(_)) = &devices {
        places.push(([10, 79, 0, 2], 7002).into());
    }
    // The kernel says a moment later that a new device is up.
    let up = |kind: &str| {
        let netns = [&bed.net.client.netns, &bed.net.server.netns];
        netns.map(|netns| netns.ip(&format!("-j link show type {kind}")))
    };
    eventually(SOON, "the devices are up", || {
        let told = [up("veth"), up("vlan")].concat().concat();
        !told.contains("UNKNOWN") && !told.contains("DOWN\"")
    });
    // What is swapped then, the line has swapped.
    bed.net.client.device.steer();
    bed.net.server.device.steer();
    bed.remember();
    for to in places {
        bed.server.tcp_serve(to);
        for direction in ["egress", "ingress"] {
            stream(&bed, direction, to);
        }
    }
}

fn stream(bed: &Bed, direction: &str, to: SocketAddr) {
    let (client, server) = (&bed.net.client.netns, &bed.net.server.netns);
    let patience = Duration::from_secs(30);
    bed.ctl.apply(&[
        FaultFile::on_device("late", &bed.net.client.device, delay("20ms"))
            .traffic(tcp(direction, to.port()))
            .seed(1),
    ]);
    assert_eq!(ways(&bed.ctl.fault("late")), ["kernel"]);
    let count = |what: &str| client.tcp_count(what) + server.tcp_count(what);
    let (from, receiver) = if direction == "egress" {
        (client, server)
    } else {
        (server, client)
    };
    let counts = || {
        [
            from.tcp_count("RetransSegs"),
            count("InCsumErrors"),
            receiver.tcp_count("TCPOFOQueue"),
            from.tcp_count("TCPOFOQueue"),
        ]
    };
    let opened = bed.client.tcp_open(None, to, patience);
    assert!(opened.micros >= 20_000, "{opened:?}");
    // The first packets of an emulated processor take as long as they like.
    assert!(is_emulated() || opened.micros < 60_000, "{opened:?}");
    let before = counts();
    let mut took = 0;
    for _ in 0..4 {
        let exchanged = bed.client.tcp_exchange(opened.stream(), 4 << 20, patience);
        assert_eq!(exchanged.result, Ok(0), "{direction} {to}: {exchanged:?}");
        took += exchanged.micros;
    }
    let after = counts();
    bed.client.close(opened.stream());
    let [again, broken, swapped, beside] = std::array::from_fn(|i| after[i] - before[i]);
    let view = bed.delete("late");
    let told = format!(
        "{direction} {to}: {took} µs, {again} sent again, {swapped} out of order and {beside} of those that did not wait, {} matched, {} lost by the line",
        view.packets("matched"),
        lost(bed)
    );
    println!("{told}");
    assert_eq!(view.packets("delayed"), view.packets("matched"), "{told}");
    assert_eq!((lost(bed), broken), (0, 0), "{told}");
    assert_eq!(swapped, 0, "{told}");
    // A probe for a loss, now and then, is no loss (`TCPLossProbes`).
    assert!(again <= view.packets("matched") / 1_000 + 4, "{told}");
    let warnings = view.own_warnings();
    assert!(warnings.is_empty(), "{warnings:?}");
}

/// Packets of a flow wait where the first of them came; those that come after it has ended, where they come.
#[test]
fn a_sender_that_moves_from_processor_to_processor_is_not_overtaken_by_itself() {
    need!(require_fq());
    need!(require_processors(2));
    let bed = Bed::new();
    bed.ctl
        .apply(&[bed.on_client("late", delay("10ms")).traffic(udp(7000))]);
    assert_eq!(ways(&bed.ctl.fault("late")), ["kernel"]);
    // While others wait, and each alone.
    for (count, pace) in [(4_000, 500), (4_000, 50), (60, 40_000)] {
        let moved = oneway::run_moving(&bed.net, count, Duration::from_micros(pace));
        let least = quantile(&moved.delays(0.0), 0.0);
        let told = format!(
            "{count} each {pace} µs: least {least:.4}, {} came",
            moved.came.len()
        );
        println!("{told}");
        assert_eq!((moved.came.len(), moved.reordered()), (count, 0.0), "{told}");
        assert!(least >= 10.0, "{told}");
    }
    assert_eq!(lost(&bed), 0);
    bed.delete("late");
}

#[test]
fn jitter_is_the_asked_one_and_order_is_kept_or_not() {
    need!(require_fq());
    const COUNT: usize = 1_000;
    let pace = Duration::from_millis(if is_emulated() { 5 } else { 1 });
    for order in ["free", "keep"] {
        let bed = Bed::new();
        let to = bed.net.server.at(7000);
        bed.server.udp_echo(to);
        let spec = json!({"delay": {
            "latency": "100ms", "jitter": "20ms", "distribution": "normal", "correlation": "25%", "order": order,
        }});
        bed.ctl
            .apply(&[bed.on_client("jittery", spec).traffic(udp(7000)).seed(42)]);
        assert_eq!(ways(&bed.ctl.fault("jittery")), ["kernel"]);
        let report = questions(&bed, to, pace, COUNT);
        let swapped = overtaken(&report, COUNT);
        let late = crate::probes::millis(&report, COUNT);
        let told = format!(
            "{order}: mean {:.2}, deviation {:.2}, {swapped} overtook",
            mean(&late),
            deviation(&late)
        );
        println!("{told}");
        if order == "keep" {
            assert_eq!(swapped, 0, "{told}");
        } else {
            assert!(swapped > COUNT / 5, "{told}");
            // 3.3 standard errors, wider for the correlation, and what an emulated processor adds.
            let slack = if is_emulated() { 4.0 } else { 1.0 };
            assert!((-2.8..2.8 + slack).contains(&(mean(&late) - 100.0)), "{told}");
            assert!((-2.0..2.0 + slack).contains(&(deviation(&late) - 20.0)), "{told}");
        }
        assert_eq!(lost(&bed), 0, "{told}");
    }
}

/// Shorter and longer, while packets wait: each comes, after those before it.
#[test]
fn a_changed_delay_loses_and_swaps_nothing() {
    need!(require_fq());
    let bed = Bed::new();
    let to = bed.net.server.at(7000);
    bed.server.udp_echo(to);
    let late = |latency: &str| bed.on_client("late", delay(latency)).traffic(udp(7000));
    bed.ctl.apply(&[late("100ms")]);
    let probe = bed.client.probe(to, Duration::from_millis(5));
    let asked_until = |at: u64| {
        eventually(Duration::from_secs(10), "questions go on", || {
            let samples = bed.client.probe_report(probe).samples;
            samples.last().is_some_and(|sample| sample.asked > at)
        });
    };
    let wait = 700_000_000;
    let mut changes = Vec::new();
    for latency in ["300ms", "20ms", "150ms"] {
        asked_until(monotonic_nanos() + wait);
        let before = monotonic_nanos();
        bed.ctl.apply(&[late(latency)]);
        changes.push((before, monotonic_nanos()));
    }
    asked_until(monotonic_nanos() + wait);
    let end = monotonic_nanos();
    let samples = || {
        let samples = bed.client.probe_report(probe).samples;
        samples
            .into_iter()
            .filter(|sample| sample.asked < end)
            .collect::<Vec<_>>()
    };
    eventually(SOON, "all are answered", || {
        samples().iter().all(|sample| sample.answered.is_some())
    });
    let samples = samples();
    let answered: Vec<u64> = samples.iter().map(|s| s.answered.expect("waited for")).collect();
    assert!(answered.is_sorted(), "answers came in another order");
    // Once those before are out, each waits as long as is said now.
    for (n, least) in [300.0, 20.0, 150.0].into_iter().enumerate() {
        let from = changes[n].1 + 350_000_000;
        let to = changes.get(n + 1).map_or(end, |next| next.0);
        let found: Vec<f64> = samples
            .iter()
            .filter(|s| (from..to).contains(&s.asked))
            .map(|s| (s.answered.expect("waited for") - s.asked) as f64 / MS)
            .collect();
        let told = format!(
            "{least}: {:.2} to {:.2} of {}",
            quantile(&found, 0.0),
            quantile(&found, 0.5),
            found.len()
        );
        println!("{told}");
        let slack = if is_emulated() { 8.0 } else { 1.5 };
        assert!(
            quantile(&found, 0.0) >= least && quantile(&found, 0.5) < least + slack,
            "{told}"
        );
    }
    assert_eq!(ways(&bed.ctl.fault("late")), ["kernel"]);
    assert_eq!(lost(&bed), 0);
}

/// What waits when its fault ends comes at its time; what is sent after that does not wait; and then the device goes.
#[test]
fn an_end_loses_nothing_and_takes_the_device_with_it() {
    need!(require_fq());
    let bed = Bed::new();
    let to = bed.net.server.at(9000);
    let sink = bed.server.udp_sink(to);
    let arrived = || bed.server.sink_report(sink).received();
    bed.ctl
        .apply(&[bed.on_client("late", delay("1500ms")).traffic(udp(9000))]);
    assert_eq!(bed.client.udp_send(to, 50).accepted, 50);
    assert_eq!(arrived(), 0);
    bed.ctl.delete("late");
    assert_eq!(bed.client.udp_send(to, 5).accepted, 5);
    eventually(SOON, "those after it arrive at once", || arrived() >= 5);
    eventually(2 * SOON, "those before it as well", || arrived() == 55);
    eventually(SOON, "the device is gone", || lines(&bed.net.client.netns) == 0);
    bed.assert_untouched();
}

/// Who deletes a delay hears when its device is gone, once the last packet is out; nobody else has to wait for that.
#[test]
fn the_last_packets_of_one_fault_do_not_hold_up_the_end_of_another() {
    need!(require_fq());
    let bed = Bed::new();
    let (to, beside) = (bed.net.server.at(9000), bed.net.server.at(9001));
    let sink = bed.server.udp_sink(to);
    let api = chaos_tests::Api::of(&bed.daemon);
    let has_ended = || {
        let view = api.try_get("/v1/faults/late").map(View);
        view.is_some_and(|view| view.phase() == "Ended")
    };
    let delete = |name: &str| {
        let answer = api.send("DELETE", &format!("/v1/faults/{name}"), "");
        assert_eq!(answer.status, 200, "{answer:?}");
        monotonic_nanos()
    };
    let sooner = (1..=5).filter(|round| {
        bed.ctl.apply(&[
            bed.on_client("late", delay("100ms")).traffic(udp(to.port())),
            bed.on_client("lost", json!({"drop": {"chance": "100%"}}))
                .traffic(udp(beside.port())),
        ]);
        assert_eq!(bed.client.udp_send(to, 10).accepted, 10);
        std::thread::scope(|scope| {
            let late = scope.spawn(|| delete("late"));
            eventually(SOON, "it ends", has_ended);
            let lost = delete("lost");
            let late = late.join().expect("it is deleted");
            assert_eq!(bed.server.sink_report(sink).received(), 10 * round);
            assert_eq!(lines(&bed.net.client.netns), 0, "its device is gone");
            println!("{:.1} ms sooner", (late as f64 - lost as f64) / MS);
            lost < late
        })
    });
    // An emulated processor may be too slow to ask twice in that time.
    assert!(sooner.count() >= 1, "the other waited each time");
}

/// Two faults of the same packets act in their order, by one way, and by that of the kernel again when one is left.
#[test]
fn beside_other_faults_the_user_line_takes_the_packets_of_both() {
    need!(require_fq());
    let bed = Bed::new();
    let to = bed.net.server.at(7000);
    bed.server.udp_echo(to);
    let netns = &bed.net.client.netns;
    let late = || bed.on_client("late", delay("50ms")).traffic(udp(7000));
    let twice = || {
        bed.on_client("twice", json!({"duplicate": {"chance": "100%"}}))
            .traffic(udp(7000))
    };
    bed.ctl.apply(&[late()]);
    assert_eq!(
        (ways(&bed.ctl.fault("late")), lines(netns)),
        (vec!["kernel".to_owned()], 1)
    );
    bed.ctl.apply(&[twice()]);
    let both = waits(&bed, to, PACE, 30);
    assert!(quantile(&both, 0.0) >= 50.0, "{both:?}");
    let view = bed.ctl.fault("twice");
    assert!(view.packets("duplicated") >= 30, "{}", view.0);
    bed.ctl.delete("twice");
    assert_eq!(lines(netns), 1);
    let alone = waits(&bed, to, PACE, 30);
    assert!(quantile(&alone, 0.0) >= 50.0, "{alone:?}");
    bed.delete("late");
    // The other way round the delay finds company.
    bed.ctl.apply(&[twice()]);
    bed.ctl.apply(&[late()]);
    assert_eq!(ways(&bed.ctl.fault("late")), ["user"]);
    bed.ctl.delete("twice");
    bed.delete("late");
}

#[test]
fn the_mark_of_a_packet_is_kept() {
    need!(require_fq());
    let mut bed = Bed::new();
    let device = bed.net.client.device.clone();
    let netns = device.netns();
    // Somebody else's filter, which loses what has this mark.
    if require_tcx().is_ok() {
        netns.tc(&format!("qdisc add dev {} clsact", device.name()));
    }
    netns.tc(&format!(
        "filter add dev {} egress prio 50 protocol ip handle 0xabcd1234 fw action drop",
        device.name()
    ));
    bed.remember();
    let answered = |mark: &str| {
        let argv = [
            "ping",
            "-c",
            "5",
            "-i",
            "0.05",
            "-W",
            "1",
            "-m",
            mark,
            "10.77.0.2",
        ];
        let done = Process::spawn(netns, None, &argv).finish(Duration::from_secs(10));
        done.stdout.lines().filter(|line| line.contains("time=")).count()
    };
    bed.ctl.apply(&[bed
        .on_client("late", delay("20ms"))
        .traffic(json!({"protocol": "icmp"}))]);
    assert_eq!(ways(&bed.ctl.fault("late")), ["kernel"]);
    let found = [2882343476_u32, 0x1234, 0xabcd_0000, 0x1_1234].map(|mark| answered(&mark.to_string()));
    assert_eq!(found, [0, 5, 5, 5]);
    assert!(bed.ctl.fault("late").packets("delayed") >= 20);
    bed.delete("late");
}

#[test]
fn a_killed_daemon_leaves_nothing_of_its_kernel_lines() {
    need!(require_fq());
    let mut bed = Bed::new();
    let netns = bed.net.client.netns.clone();
    let look = || Snapshot::of_devices(&[&bed.net.client.device]);
    let (before, sysctls) = (look(), netns.sysctls());
    bed.ctl.apply(&[bed
        .on_client("late", delay("1800ms"))
        .traffic(json!({"direction": "both"}))]);
    assert_eq!(lines(&netns), 1);
    let to = bed.net.server.at(9000);
    assert!(!bed.reaches(to), "it waits");
    bed.daemon.sigkill();
    eventually(SOON, "the fault is gone", || bed.reaches(to));
    // The namespace at the far end goes, and the device with it.
    eventually(2 * SOON, "the device is gone", || lines(&netns) == 0);
    assert_eq!(netns.sysctls(), sysctls);
    bed.daemon.start_again();
    assert!(bed.ctl.faults().is_empty(), "nothing comes back by itself");
    if require_tcx().is_ok() {
        look().assert_same_as(&before);
    }
    bed.assert_untouched();
}

#[test]
fn the_choice_is_said_and_what_does_not_suit_is_refused_with_its_reason() {
    need!(require_fq());
    for (line, want) in [
        ("auto", "kernel line"),
        ("kernel", "kernel line"),
        ("user", "user line"),
    ] {
        let bed = Bed::with(&["--line", line]);
        let netns = &bed.net.client.netns;
        let plan = |latency: &str, more: &[&str]| {
            let argv = [
                "inject",
                "delay",
                latency,
                "--netns",
                netns.name(),
                "--for",
                "1m",
                "--dry-run",
            ];
            bed.ctl.ok(&[&argv[..], more].concat()).stdout
        };
        let told = plan("50ms", &[]);
        assert!(told.contains(want), "{line}: {told}");
        let device = if want == "kernel line" {
            "with fq in"
        } else {
            "a TAP device"
        };
        assert!(told.contains(device), "{line}: {told}");
        bed.ctl.apply(&[bed.on_client("late", delay("50ms"))]);
        let wide = bed.ctl.ok(&["get", "faults", "-o", "wide"]).stdout;
        assert!(wide.contains(want), "{line}: {wide}");
        bed.delete("late");
        let doctor = bed.ctl.ok(&["doctor"]).stdout;
        assert!(doctor.contains("line-kernel-delay"), "{doctor}");
        // Too long for it.
        if line == "kernel" {
            let answer = chaos_tests::Api::of(&bed.daemon).apply(&[bed.on_client("late", delay("3s"))]);
            assert_eq!(answer.status, 422, "{answer:?}");
            let text = format!("{answer:?}");
            assert!(text.contains("--line kernel") && text.contains("2 s"), "{text}");
        } else {
            assert!(plan("3s", &[]).contains("user line"));
        }
    }
}

//! Packets that come later, as late as asked, and nothing else about them changed.

use std::net::SocketAddr;
use std::time::Duration;

use chaos_tests::workload::Probed;
use chaos_tests::{
    FaultFile, Process, Workload, eventually, lag1_correlation, monotonic_nanos, need, patience,
    require_program,
};
use serde_json::{Value, json};

use crate::bed::{Bed, SOON};

const MS: f64 = 1e6;
/// What a busy machine may add to a single answer, microseconds; waiting twice would be more.
const BUSY: u64 = 30_000;

/// Asks an echo of the server at this pace until `count` answers are there; what each took, in milliseconds, in the
/// order of the questions.
fn waits(bed: &Bed, to: SocketAddr, pace: Duration, count: usize) -> Vec<f64> {
    millis(&questions(bed, to, pace, count), count)
}

fn questions(bed: &Bed, to: SocketAddr, pace: Duration, count: usize) -> Probed {
    let probe = bed.client.probe(to, pace);
    let patience = pace * u32::try_from(count).expect("a small number") * 2 + Duration::from_secs(5);
    eventually(patience, "all questions are answered", || {
        let samples = bed.client.probe_report(probe).samples;
        samples.len() >= count && samples[..count].iter().all(|sample| sample.answered.is_some())
    });
    bed.client.probe_report(probe)
}

fn millis(report: &Probed, count: usize) -> Vec<f64> {
    report.samples[..count]
        .iter()
        .map(|sample| {
            let answered = sample.answered.expect("answered");
            (answered - sample.asked) as f64 / MS
        })
        .collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let middle = mean(values);
    (values.iter().map(|v| (v - middle).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

/// So many milliseconds; more where they mean little.
fn slack(millis: f64) -> f64 {
    patience(Duration::from_secs(1)).as_secs_f64() * millis
}

fn delay(latency: &str) -> Value {
    json!({"delay": {"latency": latency}})
}

fn udp(port: u16) -> Value {
    json!({"protocol": "udp", "remote": {"ports": [port]}})
}

#[test]
fn every_packet_waits_and_none_a_moment_less() {
    let bed = Bed::new();
    for to in [bed.net.server.at(7000), bed.net.server.at6(7001)] {
        bed.server.udp_echo(to);
        let healthy = waits(&bed, to, Duration::from_millis(5), 60);
        bed.ctl
            .apply(&[bed.on_client("late", delay("50ms")).traffic(udp(to.port()))]);
        let late = waits(&bed, to, Duration::from_millis(5), 200);
        let told = format!(
            "{to}: healthy {:.3}, late: least {:.3}, median {:.3}, mean {:.3}, deviation {:.3}, p99 {:.3}",
            quantile(&healthy, 0.5),
            quantile(&late, 0.0),
            quantile(&late, 0.5),
            mean(&late),
            deviation(&late),
            quantile(&late, 0.99)
        );
        println!("{told}");
        assert!(quantile(&late, 0.0) >= 50.0, "{told}");
        assert!(quantile(&late, 0.5) <= 50.0 + slack(1.0), "{told}");
        let view = bed.ctl.fault("late");
        assert_eq!(view.packets("delayed"), view.packets("matched"));
        assert_eq!(view.packets("dropped"), 0);
        bed.delete("late");
        let after = waits(&bed, to, Duration::from_millis(5), 20);
        assert!(quantile(&after, 0.5) < slack(1.0), "{after:?}");
    }
}

/// Scenario 1: a connection and each request on it, and nobody else.
#[test]
fn connecting_and_asking_wait_once_each_and_the_neighbours_do_not() {
    let bed = Bed::new();
    let (hit, spared) = (bed.net.server.at(8080), bed.net.server.at(8081));
    for place in [hit, spared] {
        bed.server.tcp_serve(place);
    }
    bed.ctl.apply(&[bed
        .on_client("late", delay("100ms"))
        .traffic(json!({"protocol": "tcp", "remote": {"ports": [8080]}}))]);
    let patience = Duration::from_secs(2);
    let took = |place| {
        let opened = bed.client.tcp_open(None, place, patience);
        let asked: Vec<u64> = (0..5)
            .map(|_| {
                let exchanged = bed.client.tcp_exchange(opened.stream(), 100, patience);
                assert_eq!(exchanged.result, Ok(0), "{exchanged:?}");
                exchanged.micros
            })
            .collect();
        (opened.micros, asked)
    };
    let (opened, asked) = took(hit);
    assert!(
        (100_000..100_000 + BUSY).contains(&opened),
        "connecting: {opened} µs"
    );
    let mut sorted = asked;
    sorted.sort_unstable();
    let (least, middle, most) = (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1]);
    let told = format!("asking: {sorted:?} µs");
    assert!(
        least >= 100_000 && middle < 103_000 && most < 100_000 + BUSY,
        "{told}"
    );
    let (opened, asked) = took(spared);
    assert!(
        opened < BUSY && asked.iter().all(|micros| *micros < BUSY),
        "{opened} {asked:?}"
    );
    let view = bed.delete("late");
    assert_eq!(view.packets("dropped"), 0);
}

/// Scenario 2.
#[test]
fn jitter_is_the_asked_one_and_the_same_seed_draws_it_again() {
    const COUNT: usize = 5_000;
    let overtaken = |report: &Probed| {
        report.samples[..COUNT]
            .windows(2)
            .filter(|pair| pair[1].answered < pair[0].answered)
            .count()
    };
    // Of a bed each, so that nobody else asks meanwhile.
    let run = |order: &str| {
        let bed = Bed::new();
        let to = bed.net.server.at(7000);
        bed.server.udp_echo(to);
        let spec = json!({"delay": {
            "latency": "100ms", "jitter": "20ms", "distribution": "normal", "correlation": "25%", "order": order,
        }});
        bed.ctl
            .apply(&[bed.on_client("jittery", spec).traffic(udp(7000)).seed(42)]);
        questions(&bed, to, Duration::from_millis(1), COUNT)
    };
    let free = run("free");
    let free_order = overtaken(&free);
    let free = millis(&free, COUNT);
    let told = format!(
        "mean {:.2}, deviation {:.2}, lag-1 correlation {:.3}",
        mean(&free),
        deviation(&free),
        lag1_correlation(&free)
    );
    println!("{told}");
    assert!((mean(&free) - 100.0).abs() < 2.0, "{told}");
    assert!((deviation(&free) - 20.0).abs() < 1.5, "{told}");
    assert!((lag1_correlation(&free) - 0.25).abs() < 0.08, "{told}");
    assert!(free_order > 1_000, "{free_order} overtook");
    let again = millis(&run("free"), COUNT);
    let same = free
        .iter()
        .zip(&again)
        .filter(|(a, b)| (*a - *b).abs() < 3.0)
        .count();
    assert!(same > 4_500, "{same} of 5000 as before");
    assert_eq!(overtaken(&run("keep")), 0, "order: keep");
}

#[test]
fn what_arrives_waits_as_well_and_for_the_named_cgroup_only() {
    let bed = Bed::new();
    let to = bed.net.server.at(7000);
    bed.server.udp_echo(to);
    bed.ctl.apply(&[bed
        .on_server("arriving", delay("30ms"))
        .traffic(json!({"direction": "ingress", "protocol": "udp", "local": {"ports": [7000]}}))]);
    let late = waits(&bed, to, Duration::from_millis(5), 50);
    assert!(
        quantile(&late, 0.0) >= 30.0 && quantile(&late, 0.5) < 31.0,
        "{late:?}"
    );
    bed.delete("arriving");

    bed.ctl.apply(&[bed
        .on_client("both", delay("20ms"))
        .traffic(json!({"direction": "both", "protocol": "udp", "remote": {"ports": [7000]}}))]);
    let late = waits(&bed, to, Duration::from_millis(5), 50);
    assert!(
        quantile(&late, 0.0) >= 40.0 && quantile(&late, 0.5) < 42.0,
        "{late:?}"
    );
    bed.delete("both");
}

#[test]
fn of_two_cgroups_in_one_namespace_one_waits_both_ways() {
    let bed = Bed::new();
    let cgroup = chaos_tests::Cgroup::new();
    let inside = Workload::start(&bed.net.client.netns, Some(&cgroup));
    let to = bed.net.server.at(8080);
    bed.server.tcp_serve(to);
    bed.ctl
        .apply(&[FaultFile::on_cgroup("late", &cgroup, delay("30ms"))
            .traffic(json!({"direction": "both", "protocol": "tcp"}))]);
    let patience = Duration::from_secs(2);
    let took = |who: &Workload| {
        let opened = who.tcp_open(None, to, patience);
        let exchanged = who.tcp_exchange(opened.stream(), 100, patience);
        assert_eq!(exchanged.result, Ok(0));
        (opened.micros, exchanged.micros)
    };
    let (opened, asked) = took(&inside);
    assert!(
        (60_000..60_000 + BUSY).contains(&opened) && (60_000..60_000 + BUSY).contains(&asked),
        "{opened} {asked}"
    );
    let (opened, asked) = took(&bed.client);
    assert!(opened < BUSY && asked < BUSY, "the neighbour: {opened} {asked}");
    bed.delete("late");
}

/// Scenario 15.
#[test]
fn a_changed_delay_acts_at_once_and_loses_and_swaps_nothing() {
    let bed = Bed::new();
    let (hit, spared) = (bed.net.server.at(7000), bed.net.server.at(7001));
    for place in [hit, spared] {
        bed.server.udp_echo(place);
    }
    let late = |latency: &str, ports: &[u16]| {
        bed.on_client("late", delay(latency))
            .traffic(json!({"protocol": "udp", "remote": {"ports": ports}}))
    };
    let pace = Duration::from_millis(1);
    let probes = [hit, spared].map(|to| bed.client.probe(to, pace));
    let asked = |at: u64| {
        eventually(Duration::from_secs(5), "questions go on", || {
            probes.iter().all(|probe| {
                bed.client
                    .probe_report(*probe)
                    .samples
                    .last()
                    .is_some_and(|s| s.asked > at)
            })
        });
    };
    let half = 500_000_000;
    bed.ctl.apply(&[late("100ms", &[7000, 7001])]);
    asked(monotonic_nanos() + half);
    let slower = monotonic_nanos();
    bed.ctl.apply(&[late("300ms", &[7000, 7001])]);
    asked(monotonic_nanos() + half);
    let narrowed = monotonic_nanos();
    bed.ctl.apply(&[late("300ms", &[7000])]);
    let done = monotonic_nanos();
    asked(done + half);
    let end = monotonic_nanos();
    eventually(SOON, "the last answers are there", || {
        probes.iter().all(|probe| {
            let report = bed.client.probe_report(*probe);
            report
                .samples
                .iter()
                .filter(|s| s.asked < end)
                .all(|s| s.answered.is_some())
        })
    });
    for (probe, place) in probes.into_iter().zip([hit, spared]) {
        let report = bed.client.probe_report(probe);
        let samples: Vec<_> = report.samples.iter().filter(|s| s.asked < end).collect();
        // None lost, none swapped.
        let answered: Vec<u64> = samples.iter().map(|s| s.answered.expect("waited for")).collect();
        assert!(answered.is_sorted(), "{place}: answers came in another order");
        let wait = |from: u64, to: u64| {
            let found: Vec<f64> = samples
                .iter()
                .filter(|s| (from..to).contains(&s.asked))
                .map(|s| (s.answered.expect("waited for") - s.asked) as f64 / MS)
                .collect();
            quantile(&found, 0.5)
        };
        // Those that were on their way when they were no longer named were let go at once.
        let slow = wait(slower + 100_000_000, narrowed - 300_000_000);
        assert!(
            (300.0..301.5).contains(&slow),
            "{place}: {slow} after the first change"
        );
        let after = wait(done + 100_000_000, end);
        if place == hit {
            assert!(
                (300.0..301.5).contains(&after),
                "{place}: {after} after the second"
            );
        } else {
            assert!(after < 2.0, "{place}: {after} after it was let go");
        }
    }
    let view = bed.delete("late");
    assert_eq!(view.packets("dropped"), 0);
}

#[test]
fn a_bulk_stream_keeps_its_window_full_and_sends_nothing_twice() {
    need!(require_program("iperf3"));
    let bed = Bed::new();
    let _iperf =
        Process::spawn(&bed.net.server.netns, None, &["iperf3", "-s"]).listens(&bed.net.server.netns, 5201);
    bed.ctl.apply(&[bed
        .on_client("late", delay("20ms"))
        .traffic(json!({"protocol": "tcp", "remote": {"ports": [5201]}}))]);
    let server = bed.net.server.v4.to_string();
    let argv = [
        "iperf3", "-c", &server, "-C", "cubic", "-w", "1M", "-t", "4", "-J",
    ];
    let done = Process::spawn(&bed.net.client.netns, None, &argv).finish(Duration::from_secs(20));
    let report: Value = serde_json::from_str(&done.stdout).expect("iperf3 speaks JSON");
    let sum = &report["end"]["sum_sent"];
    assert_eq!(sum["retransmits"], 0, "{sum}");
    // A window of w bytes every 20 ms is all that TCP can do; Linux doubles what SO_SNDBUF asks and uses half of it.
    let most = 2.0 * 1_048_576.0 * 8.0 / 0.020;
    let got = sum["bits_per_second"].as_f64().expect("a rate");
    println!("{:.0} Mbit/s of at most {:.0}", got / 1e6, most / 1e6);
    assert!(got > 0.4 * most, "{got} of {most}");
    let view = bed.delete("late");
    assert_eq!(view.packets("dropped"), 0);
}

#[test]
fn some_overtake_when_asked_to() {
    let bed = Bed::new();
    let to = bed.net.server.at(7000);
    bed.server.udp_echo(to);
    bed.ctl.apply(&[bed
        .on_client(
            "swapped",
            json!({"delay": {"latency": "20ms"}, "reorder": {"chance": "25%", "gap": 5}}),
        )
        .traffic(udp(7000))]);
    let found = waits(&bed, to, Duration::from_millis(1), 2_000);
    let quick = found.iter().filter(|wait| **wait < 10.0).count() as u64;
    let view = bed.delete("swapped");
    assert!(view.packets("reordered") >= quick && view.packets("reordered") < quick + 60);
    // One in five may, one in four of those does, and then the count begins anew: 4 + 4 packets on average.
    assert!((200..300).contains(&quick), "{quick} of 2000 overtook");
}

#[test]
fn without_a_delay_those_that_are_hit_are_overtaken() {
    let bed = Bed::new();
    let to = bed.net.server.at(7000);
    bed.server.udp_echo(to);
    bed.ctl.apply(&[bed
        .on_client("swapped", json!({"reorder": {"chance": "10%"}}))
        .traffic(udp(7000))]);
    let found = waits(&bed, to, Duration::from_millis(1), 2_000);
    let view = bed.delete("swapped");
    let held = found.iter().filter(|wait| **wait >= 10.0).count() as u64;
    assert!(
        chaos_tests::binomial_999(2_000, 0.10).contains(&held),
        "{held} of 2000 held back"
    );
    assert!(view.packets("reordered") >= held);
    assert!(
        quantile(&found, 0.5) < 2.0,
        "the others are not: {}",
        quantile(&found, 0.5)
    );
}

#[test]
fn a_loopback_has_no_line_and_says_so() {
    let bed = Bed::new();
    bed.net.client.netns.ip("link set lo up");
    let target = json!({"interface": {"name": "lo", "netns": bed.net.client.netns.path()}});
    let file = FaultFile::new("looped", target, delay("10ms"));
    let answer = chaos_tests::Api::of(&bed.daemon).apply(&[file]);
    assert_eq!(answer.status, 422, "{answer:?}");
    assert!(format!("{answer:?}").contains("loopback"), "{answer:?}");
}

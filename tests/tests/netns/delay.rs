//! Packets that come later, as late as asked, and nothing else about them changed.

use std::net::SocketAddr;
use std::time::Duration;

use chaos_tests::{
    FaultFile, Process, Workload, eventually, is_emulated, monotonic_nanos, need, require_program, stalled,
};
use serde_json::{Value, json};

use crate::bed::{Bed, SOON};
use crate::probes::{
    MS, calm, calm_or_none, correlation_of_neighbours, delay, deviation, enough_undisturbed, mean, overtaken,
    quantile, questions, slack, udp, waits,
};
use crate::stream::Stream;

/// What a busy machine may add to a single answer, microseconds; waiting twice would be more.
const BUSY: u64 = 30_000;

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
        // An emulated processor does not carry two hundred packets a second in time.
        assert!(
            is_emulated() || quantile(&late, 0.5) <= 50.0 + slack(1.0),
            "{told}"
        );
        let view = bed.ctl.fault("late");
        assert_eq!(view.packets("delayed"), view.packets("matched"));
        assert_eq!(view.packets("dropped"), 0);
        bed.delete("late");
        let after = waits(&bed, to, Duration::from_millis(5), 20);
        assert!(is_emulated() || quantile(&after, 0.5) < slack(1.0), "{after:?}");
    }
}

/// Scenario 1: a connection and each request on it, and nobody else.
#[test]
fn connecting_and_asking_wait_once_each_and_the_neighbours_do_not() {
    let mut bed = Bed::new();
    bed.net
        .server
        .also_v4("10.77.0.3".parse().expect("an address"), 24);
    bed.remember();
    let (hit, port) = (bed.net.server.at(8080), bed.net.server.at(8081));
    let host = "10.77.0.3:8080".parse().expect("an address");
    for place in [hit, port, host] {
        bed.server.tcp_serve(place);
    }
    let patience = Duration::from_secs(2);
    // Microseconds of connections and of requests on them.
    let took = |place, connections: usize, requests: usize| {
        let (mut opened, mut asked) = (Vec::new(), Vec::new());
        for _ in 0..connections {
            let connection = bed.client.tcp_open(None, place, patience);
            opened.push(connection.micros as f64);
            for _ in 0..requests {
                let exchanged = bed.client.tcp_exchange(connection.stream(), 100, patience);
                assert_eq!(exchanged.result, Ok(0), "{exchanged:?}");
                asked.push(exchanged.micros as f64);
            }
            bed.client.close(connection.stream());
        }
        (opened, asked)
    };
    // Half of them are quicker than this, microseconds: connecting to port and host, asking there, and pings.
    let neighbours = || {
        let (port, host) = (took(port, 30, 10), took(host, 30, 10));
        let pings = pings(&bed, "10.77.0.2", 100);
        [port.0, port.1, host.0, host.1, pings].map(|times| quantile(&times, 0.5))
    };
    let healthy = neighbours();
    bed.ctl
        .apply(&[bed.on_client("late", delay("100ms")).traffic(json!({
            "protocol": "tcp", "remote": {"cidrs": [bed.net.server.v4], "ports": [8080]},
        }))]);
    let (opened, asked) = took(hit, 5, 5);
    for (what, times) in [("connecting", opened), ("asking", asked)] {
        let told = format!("{what}: {times:?} µs");
        assert!(quantile(&times, 0.0) >= 100_000.0, "{told}");
        let most = if is_emulated() { 115_000.0 } else { 102_000.0 };
        assert!(quantile(&times, 0.5) < most, "{told}");
        // Waiting twice would be more than a busy machine adds.
        assert!(quantile(&times, 1.0) < (100_000 + BUSY) as f64, "{told}");
    }
    // Somebody else may have the machine for a moment; not for three.
    let rounds: Vec<[f64; 5]> = (0..3).map(|_| neighbours()).collect();
    for kind in 0..healthy.len() {
        let least = rounds.iter().map(|round| round[kind]).fold(f64::MAX, f64::min);
        assert!(
            least < healthy[kind] + 100.0,
            "{kind}: {healthy:?}, then {rounds:?}"
        );
    }
    let view = bed.delete("late");
    assert_eq!(view.packets("dropped"), 0);
    assert_eq!(view.packets("delayed"), view.packets("matched"));
}

/// What each of `count` pings took, microseconds.
fn pings(bed: &Bed, to: &str, count: usize) -> Vec<f64> {
    let count = count.to_string();
    let argv = ["ping", "-c", &count, "-i", "0.002", to];
    let done = Process::spawn(&bed.net.client.netns, None, &argv).finish(Duration::from_secs(20));
    done.stdout
        .lines()
        .filter_map(|line| {
            line.split_once("time=")?
                .1
                .strip_suffix(" ms")?
                .parse::<f64>()
                .ok()
        })
        .map(|millis| millis * 1000.0)
        .collect()
}

/// A bed of its own, so that nobody else asks meanwhile, with an echo behind a normal jitter.
fn jittery(latency: &str, jitter: &str, order: &str, seed: u64) -> (Bed, SocketAddr) {
    let bed = Bed::new();
    let to = bed.net.server.at(7000);
    bed.server.udp_echo(to);
    let spec = json!({"delay": {
        "latency": latency, "jitter": jitter, "distribution": "normal", "correlation": "25%", "order": order,
    }});
    bed.ctl
        .apply(&[bed.on_client("jittery", spec).traffic(udp(7000)).seed(seed)]);
    (bed, to)
}

/// Scenario 2.
#[test]
fn jitter_is_the_asked_one_and_the_same_seed_draws_it_again() {
    const COUNT: usize = 10_000;
    const PACE: Duration = Duration::from_millis(1);
    let run = |order: &str, seed: u64, count: usize| {
        let (bed, to) = jittery("100ms", "20ms", order, seed);
        questions(&bed, to, PACE, count)
    };
    let (bed, to) = jittery("100ms", "20ms", "free", 42);
    let free = questions(&bed, to, PACE, COUNT);
    let swapped = overtaken(&free, COUNT);
    let free = calm_or_none(&free, COUNT);
    let calm = calm(&bed, to, PACE, &free, COUNT / 2);
    // The others have beds of their own, and the machine for themselves.
    drop(bed);
    let told = format!(
        "mean {:.2}, deviation {:.2}, {swapped} overtook",
        mean(&calm),
        deviation(&calm),
    );
    println!("{told}");
    let late = if is_emulated() { 3.0 } else { 1.0 };
    assert!((mean(&calm) - 100.0).abs() < late, "{told}");
    assert!((deviation(&calm) - 20.0).abs() < 1.0, "{told}");
    assert!(swapped > COUNT / 5, "order: free: {told}");
    let like_before = |seed| {
        let again = calm_or_none(&run("free", seed, COUNT / 5), COUNT / 5);
        let both = free.iter().zip(&again).filter_map(|(a, b)| a.zip(*b));
        let (alike, others): (Vec<_>, Vec<_>) = both.partition(|(a, b)| (a - b).abs() < 2.0);
        (alike.len(), alike.len() + others.len())
    };
    // Of another seed's only those are alike that happen to be.
    let ((same, of), (other, of_others)) = (like_before(42), like_before(43));
    let told = format!("{same} of {of} as before, {other} of {of_others} by another seed");
    println!("{told}");
    // An emulated processor is late by more than the 2 ms now and then.
    let most = if is_emulated() { of / 2 } else { of * 9 / 10 };
    assert!(of > COUNT / 20 && same > most, "{told}");
    assert!(of_others > COUNT / 20 && other < of_others / 5, "{told}");
    assert_eq!(overtaken(&run("keep", 42, COUNT), COUNT), 0, "order: keep");
}

/// Scenario 2, a fifth as long: between two stops of the machine there are not often 200 ms.
#[test]
fn jitter_follows_itself_as_asked() {
    /// Five deviations, and what the way itself takes.
    const LONGEST: Duration = Duration::from_millis(42);
    let (bed, to) = jittery("20ms", "4ms", "free", 42);
    let found = enough_undisturbed(&bed, to, Duration::from_millis(1), 10_000, LONGEST);
    let correlation = correlation_of_neighbours(&found);
    println!("lag-1 correlation {correlation:.3}; {} questions", found.len());
    assert!((correlation - 0.25).abs() < 0.05, "{correlation}");
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
    // Microseconds; and without the time for which the machine stood still.
    let took = |who: &Workload| {
        let begun = monotonic_nanos();
        let opened = who.tcp_open(None, to, patience);
        let open = monotonic_nanos();
        let exchanged = who.tcp_exchange(opened.stream(), 100, patience);
        assert_eq!(exchanged.result, Ok(0));
        let moved = |micros, from, to| Duration::from_micros(micros).saturating_sub(stalled(from, to));
        [
            (opened.micros, moved(opened.micros, begun, open)),
            (exchanged.micros, moved(exchanged.micros, open, monotonic_nanos())),
        ]
    };
    let busy = Duration::from_micros(BUSY);
    let both = took(&inside);
    for (took, moved) in both {
        assert!(
            took >= 60_000 && moved < Duration::from_millis(60) + busy,
            "{both:?}"
        );
    }
    let both = took(&bed.client);
    assert!(
        both.iter().all(|(_, moved)| *moved < busy),
        "the neighbour: {both:?}"
    );
    bed.delete("late");
}

/// Scenario 15.
#[test]
fn a_changed_delay_acts_at_once_and_loses_and_swaps_nothing() {
    // The kernel line lets nothing go before its time; its own test of a change is `kernel_delay`.
    let bed = Bed::with(&["--line", "user"]);
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
    bed.ctl.apply(&[late("300ms", &[7000, 7001])]);
    let slower = monotonic_nanos();
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
            (quantile(&found, 0.0), quantile(&found, 0.5))
        };
        let late = if is_emulated() { 30.0 } else { 1.5 };
        // Those that were on their way when they were no longer named were let go at once.
        let slow = wait(slower, narrowed - 300_000_000);
        assert!(
            slow.0 >= 300.0 && slow.1 < 300.0 + late,
            "{place}: {slow:?} after the first change"
        );
        let after = wait(done, end);
        if place == hit {
            assert!(
                after.0 >= 300.0 && after.1 < 300.0 + late,
                "{place}: {after:?} after the second"
            );
        } else {
            assert!(after.1 < 2.0, "{place}: {after:?} after it was let go");
        }
    }
    let view = bed.delete("late");
    assert_eq!(view.packets("dropped"), 0);
}

/// Scenario 15, as TCP sees it: one stream stays delayed, the other is let go.
#[test]
fn streams_send_nothing_twice_when_the_delay_under_them_changes() {
    need!(require_program("iperf3"));
    // As above: there, those that need not wait any more overtake those that do.
    let bed = Bed::with(&["--line", "user"]);
    let server = &bed.net.server;
    let ports: [u16; 2] = [5201, 5202];
    let _servers = ports.map(|port| {
        Process::spawn(&server.netns, None, &["iperf3", "-s", "-p", &port.to_string()])
            .listens(&server.netns, port)
    });
    let late = |latency: &str, ports: &[u16]| {
        bed.on_client("late", delay(latency))
            .traffic(json!({"protocol": "tcp", "remote": {"ports": ports}}))
    };
    bed.ctl.apply(&[late("100ms", &ports)]);
    let address = server.v4.to_string();
    let streams = ports.map(|port| {
        let port = port.to_string();
        let seconds = if is_emulated() { "30" } else { "6" };
        // Small writes at an even pace: there is always something on its way.
        let argv = [
            "iperf3", "-c", &address, "-p", &port, "-b", "4M", "-l", "1000", "-t", seconds,
        ];
        Process::spawn(&bed.net.client.netns, None, &argv)
    });
    let state = |port| Stream::of(&bed.net.client.netns, port);
    let sent = |port| state(port).map_or(0, |stream| stream.segments);
    let go_on = |by: u64| {
        let want = ports.map(|port| sent(port) + by);
        eventually(Duration::from_secs(5), "both streams go on", || {
            ports.iter().zip(want).all(|(port, want)| sent(*port) >= want)
        });
    };
    go_on(400);
    bed.ctl.apply(&[late("300ms", &ports)]);
    go_on(500);
    bed.ctl.apply(&[late("300ms", &ports[..1])]);
    go_on(500);
    let [kept, let_go] = ports.map(|port| state(port).expect("it still runs"));
    let told = format!("{kept:?} {let_go:?}");
    assert_eq!((kept.retransmitted, let_go.retransmitted), (0, 0), "{told}");
    assert!(kept.rtt >= 250.0 && let_go.rtt < 50.0, "{told}");
    for stream in streams {
        assert!(stream.finish(Duration::from_secs(50)).status.success());
    }
    let view = bed.delete("late");
    assert_eq!(view.packets("dropped"), 0);
}

#[test]
fn a_bulk_stream_keeps_its_window_full_and_sends_nothing_twice() {
    need!(require_program("iperf3"));
    let bed = Bed::new();
    // As much as SO_SNDBUF of 1 MiB comes to, of which hosts allow less by themselves.
    bed.net
        .client
        .netns
        .sysctl("ipv4/tcp_wmem", "4096 2097152 2097152");
    bed.net
        .server
        .netns
        .sysctl("ipv4/tcp_rmem", "4096 4194304 6291456");
    let _iperf =
        Process::spawn(&bed.net.server.netns, None, &["iperf3", "-s"]).listens(&bed.net.server.netns, 5201);
    bed.ctl.apply(&[bed
        .on_client("late", delay("20ms"))
        .traffic(json!({"protocol": "tcp", "remote": {"ports": [5201]}}))]);
    let server = bed.net.server.v4.to_string();
    let argv = ["iperf3", "-c", &server, "-C", "cubic", "-t", "4", "-J"];
    let done = Process::spawn(&bed.net.client.netns, None, &argv).finish(Duration::from_secs(20));
    let report: Value = serde_json::from_str(&done.stdout).expect("iperf3 speaks JSON");
    let sum = &report["end"]["sum_sent"];
    assert_eq!(sum["retransmits"], 0, "{report}");
    // A window of w bytes every 20 ms is all that TCP can do; Linux uses half of the buffer for them, or more.
    let most = 2.0 * 1_048_576.0 * 8.0 / 0.020;
    let got = sum["bits_per_second"].as_f64().expect("a rate");
    println!("{:.0} Mbit/s of at most {:.0}", got / 1e6, most / 1e6);
    assert!(got > 0.4 * most, "{got} of {most}");
    let view = bed.delete("late");
    assert_eq!(view.packets("dropped"), 0);
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

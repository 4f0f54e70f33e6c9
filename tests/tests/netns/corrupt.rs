//! `corrupt`: with `checksum: fix` exactly one wrong bit a hit reaches the application, with `checksum: leave` none.

use std::time::Duration;

use chaos_tests::{Netns, Process, binomial_999, need, require_program};
use serde_json::json;

use crate::bed::{Bed, SOON};

fn checksum_errors(netns: &Netns) -> u64 {
    let text = netns
        .enter(|| std::fs::read_to_string("/proc/thread-self/net/snmp").expect("every namespace has it"));
    let v6 = netns.enter(|| std::fs::read_to_string("/proc/thread-self/net/snmp6").expect("IPv6 is on"));
    let mut sum = 0;
    let lines: Vec<&str> = text.lines().collect();
    for pair in lines.chunks(2).filter(|pair| pair.len() == 2) {
        for (name, value) in pair[0].split(' ').zip(pair[1].split(' ')) {
            if name == "InCsumErrors" {
                sum += value.parse::<u64>().unwrap_or(0);
            }
        }
    }
    for line in v6.lines().filter(|line| line.contains("InCsumErrors")) {
        sum += line
            .split_whitespace()
            .nth(1)
            .and_then(|n| n.parse::<u64>().ok())
            .unwrap_or(0);
    }
    sum
}

#[test]
fn datagrams_have_exactly_one_flipped_bit_a_hit_and_a_good_checksum() {
    let bed = Bed::new();
    const COUNT: u64 = 10_000;
    for leg in bed.ways(9000) {
        let name = leg.name("flip");
        bed.ctl.apply(&[bed.on_leg(
            &leg,
            &name,
            json!({"corrupt": {"chance": "5%", "checksum": "fix"}}),
        )]);
        let before = checksum_errors(&bed.net.server.netns);
        let report = bed.send(leg.to, COUNT);
        assert_eq!(report.received(), COUNT, "{name}: nothing is lost");
        let hits = report.flipped.len() as u64;
        assert!(binomial_999(COUNT, 0.05).contains(&hits), "{name}: {hits}");
        assert!(
            report.flipped.iter().all(|(_, bits)| *bits == 1),
            "{name}: {:?}",
            report.flipped
        );
        bed.wait_for_packets(&name, "corrupted", hits);
        assert_eq!(checksum_errors(&bed.net.server.netns), before, "{name}");
        bed.delete(&name);
    }
    assert!(
        bed.send(bed.net.server.at(9010), 1000).flipped.is_empty(),
        "after the end"
    );
}

#[test]
fn a_tcp_stream_has_one_wrong_byte_a_hit_and_no_retransmission() {
    let bed = Bed::new();
    for (name, to) in [("v4", bed.net.server.at(7000)), ("v6", bed.net.server.at6(7000))] {
        bed.server.tcp_serve(to);
        let beside = std::net::SocketAddr::new(to.ip(), 7001);
        bed.server.tcp_serve(beside);
        let traffic = json!({"protocol": "tcp", "remote": {"ports": [7000]}});
        bed.ctl.apply(&[bed
            .on_client(name, json!({"corrupt": {"chance": "2%", "checksum": "fix"}}))
            .traffic(traffic)]);
        let before = checksum_errors(&bed.net.server.netns);
        let stream = bed.client.tcp_open(None, to, SOON).stream();
        let mut wrong = 0;
        // Small exchanges: what is in flight is then one packet, not a train of them.
        for _ in 0..2000 {
            wrong += bed
                .client
                .tcp_exchange(stream, 1000, SOON)
                .result
                .expect("the stream goes on");
        }
        let corrupted = bed.ctl.fault(name).packets("corrupted");
        assert_eq!(wrong, corrupted, "{name}");
        assert!(wrong > 0, "{name}");
        assert_eq!(checksum_errors(&bed.net.server.netns), before, "{name}");
        let spared = bed.client.tcp_open(None, beside, SOON).stream();
        assert_eq!(
            bed.client.tcp_exchange(spared, 1 << 20, SOON).result,
            Ok(0),
            "{name}: the port beside it"
        );
        bed.delete(name);
    }
}

#[test]
fn redis_stores_a_value_with_exactly_the_flipped_bits() {
    need!(require_program("redis-server"));
    need!(require_program("redis-cli"));
    let bed = Bed::new();
    let server = &bed.net.server;
    let argv = [
        "redis-server",
        "--port",
        "6379",
        "--bind",
        "0.0.0.0",
        "--save",
        "",
        "--appendonly",
        "no",
        "--protected-mode",
        "no",
    ];
    let _redis = Process::spawn(&server.netns, None, &argv).listens(&server.netns, 6379);
    let (remote, local) = (server.v4.to_string(), "127.0.0.1");
    let cli = |netns: &Netns, host: &str, args: &[&str]| {
        let argv: Vec<&str> = ["redis-cli", "-h", host, "--raw"]
            .iter()
            .chain(args)
            .copied()
            .collect();
        Process::spawn(netns, None, &argv)
            .finish(Duration::from_secs(10))
            .stdout
    };
    let value = "the quick brown fox jumps over the lazy dog ".repeat(20);
    assert_eq!(
        cli(&bed.net.client.netns, &remote, &["set", "fox", &value]).trim(),
        "OK",
        "before"
    );
    // Established only, and never more than one: redis-cli also asks for its commands' descriptions.
    let traffic = json!({"protocol": "tcp", "remote": {"ports": [6379]}});
    let fault = bed.on_client("flip", json!({"corrupt": {"chance": "100%", "checksum": "fix"}}));
    bed.ctl.apply(&[fault.traffic(traffic).max_packets(1).seed(3)]);
    assert_eq!(
        cli(&bed.net.client.netns, &remote, &["set", "fox", &value]).trim(),
        "OK",
        "redis took it"
    );
    let stored = cli(&server.netns, local, &["get", "fox"]);
    let stored = stored.strip_suffix('\n').unwrap_or(&stored);
    let bits: u32 = stored
        .bytes()
        .zip(value.bytes())
        .map(|(a, b)| (a ^ b).count_ones())
        .sum();
    assert_eq!((stored.len(), bits), (value.len(), 1), "{stored}");
    assert_eq!(bed.ctl.fault("flip").packets("corrupted"), 1);
    assert_eq!(checksum_errors(&server.netns), 0);
}

/// Scenario 11. Datagrams and segments leave with checksums that a veth would never make; the line makes them.
#[test]
fn left_checksums_are_noticed_one_by_one_and_no_bad_byte_is_read() {
    let bed = Bed::new();
    const COUNT: u64 = 10_000;
    for leg in bed.ways(9000) {
        let name = leg.name("flip");
        bed.ctl
            .apply(&[bed.on_leg(&leg, &name, json!({"corrupt": {"chance": "5%"}}))]);
        let before = checksum_errors(&bed.net.server.netns);
        let report = bed.send(leg.to, COUNT);
        assert!(report.flipped.is_empty(), "{name}: {:?}", report.flipped);
        let hits = COUNT - report.received();
        assert!(binomial_999(COUNT, 0.05).contains(&hits), "{name}: {hits}");
        bed.wait_for_packets(&name, "corrupted", hits);
        assert_eq!(checksum_errors(&bed.net.server.netns) - before, hits, "{name}");
        bed.delete(&name);
    }
    let stream = bed.net.server.at(7000);
    bed.server.tcp_serve(stream);
    bed.ctl.apply(&[bed
        .on_client("bulk", json!({"corrupt": {"chance": "1%"}}))
        .traffic(json!({"protocol": "tcp", "remote": {"ports": [7000]}}))]);
    let before = checksum_errors(&bed.net.server.netns);
    let patience = Duration::from_secs(20);
    let opened = bed.client.tcp_open(None, stream, patience);
    let exchanged = bed.client.tcp_exchange(opened.stream(), 4 << 20, patience);
    assert_eq!(exchanged.result, Ok(0), "every byte is right: {exchanged:?}");
    let view = bed.delete("bulk");
    let noticed = checksum_errors(&bed.net.server.netns) - before;
    assert_eq!(noticed, view.packets("corrupted"), "{noticed} noticed");
    assert!(noticed > 0);
}

//! `drop`: as many as asked for, in silence, of nobody else.

use std::time::{Duration, Instant};

use chaos_tests::{
    Cgroup, FaultFile, Netns, Process, binomial_999, eventually, is_emulated, lag1_correlation,
};
use serde_json::json;

use crate::bed::{Bed, SOON};

/// Percent of pings lost, and the whole output.
fn ping(netns: &Netns, cgroup: &Cgroup, count: u32, to: &str) -> (f64, String) {
    let count = count.to_string();
    let argv = ["ping", "-c", &count, "-i", "0.005", "-W", "1", to];
    let ping = Process::spawn(netns, Some(cgroup), &argv).finish(Duration::from_secs(20));
    let text = format!("{}{}", ping.stdout, ping.stderr);
    let loss = text
        .split(", ")
        .find_map(|part| {
            part.strip_suffix("% packet loss")
                .or_else(|| part.split_once("% packet loss").map(|p| p.0))
        })
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or_else(|| panic!("ping gives no loss: {text}"));
    (loss, text)
}

#[test]
fn half_of_a_cgroups_pings_are_lost_without_an_error_and_its_neighbour_loses_none() {
    let bed = Bed::new();
    let (hit, spared) = (Cgroup::new(), Cgroup::new());
    for (name, to) in [
        ("half-v4", bed.net.server.v4.to_string()),
        ("half-v6", bed.net.server.v6.to_string()),
    ] {
        // Something of the cgroup's must live in the namespace, for that is how the daemon finds it.
        let _resident = Process::spawn(&bed.net.client.netns, Some(&hit), &["sleep", "60"]);
        bed.ctl
            .apply(&[FaultFile::on_cgroup(name, &hit, json!({"drop": {"chance": "50%"}})).seed(42)]);
        let (loss, text) = ping(&bed.net.client.netns, &hit, 200, &to);
        assert!((40.0..=60.0).contains(&loss), "{text}");
        assert!(
            !text.contains("errors") && !text.contains("No buffer space"),
            "{text}"
        );
        let (loss, text) = ping(&bed.net.client.netns, &spared, 200, &to);
        assert!(loss == 0.0, "the neighbour: {text}");
        let packets = bed.ctl.fault(name);
        assert_eq!(packets.packets("matched"), 200);
        assert_eq!(packets.packets("dropped") + packets.packets("passed"), 200);
        bed.delete(name);
        let (loss, text) = ping(&bed.net.client.netns, &hit, 50, &to);
        assert!(loss == 0.0, "after the end: {text}");
    }
}

#[test]
fn ingress_loss_is_counted_to_the_packet_and_the_sender_gets_no_error() {
    let bed = Bed::new();
    const COUNT: u64 = 10_000;
    for (name, to) in [
        ("dns-v4", bed.net.server.at(53)),
        ("dns-v6", bed.net.server.at6(53)),
    ] {
        let fault = bed
            .on_server(name, json!({"drop": {"chance": "30%"}}))
            .traffic(json!({"direction": "ingress", "protocol": "udp", "local": {"ports": [53]}}));
        bed.ctl.apply(&[fault]);
        let report = bed.send(to, COUNT);
        bed.wait_for_packets(name, "matched", COUNT);
        let lost = COUNT - report.received();
        bed.wait_for_packets(name, "dropped", lost);
        assert!(binomial_999(COUNT, 0.3).contains(&lost), "{lost} lost");
        assert!(report.in_order() && report.duplicates() == 0 && report.flipped.is_empty());
        let neighbour = std::net::SocketAddr::new(to.ip(), 54);
        assert_eq!(bed.send(neighbour, 1000).received(), 1000, "the port beside it");
        bed.delete(name);
        assert_eq!(bed.send(neighbour, 100).received(), 100);
    }
}

#[test]
fn every_fifth_is_every_fifth() {
    let bed = Bed::new();
    let fault = bed
        .on_client("fifth", json!({"drop": {"every": 5}}))
        .traffic(json!({"protocol": "udp"}));
    bed.ctl.apply(&[fault]);
    let lost = bed.send(bed.net.server.at(9000), 1000).lost(1000);
    assert_eq!(lost.len(), 200);
    assert!(lost.windows(2).all(|w| w[1] - w[0] == 5), "{lost:?}");
    bed.wait_for_packets("fifth", "dropped", 200);
}

#[test]
fn gilbert_elliott_loses_its_share_in_bursts_of_its_length() {
    let bed = Bed::new();
    const COUNT: u64 = 100_000;
    let model = json!({"drop": {"gilbertElliott": {"p": "1%", "r": "10%", "h": "0%", "k": "100%"}}});
    bed.ctl
        .apply(&[bed.on_client("bursts", model).traffic(json!({"protocol": "udp"}))]);
    let lost = bed.send(bed.net.server.at(9000), COUNT).lost(COUNT);
    let share = lost.len() as f64 / COUNT as f64;
    // Successive losses depend on each other (0.89), which widens the deviation to 0.38 %; 3.3 of them.
    assert!((share - 0.0909).abs() < 0.0125, "{share}");
    let bursts = 1 + lost.windows(2).filter(|w| w[1] != w[0] + 1).count();
    let mean = lost.len() as f64 / bursts as f64;
    assert!((mean - 10.0).abs() < 1.1, "mean burst {mean} of {bursts}");
    bed.wait_for_packets("bursts", "dropped", lost.len() as u64);
}

#[test]
fn correlation_makes_losses_alike_but_not_more() {
    let bed = Bed::new();
    const COUNT: u64 = 100_000;
    let model = json!({"drop": {"chance": "20%", "correlation": "75%"}});
    bed.ctl
        .apply(&[bed.on_client("alike", model).traffic(json!({"protocol": "udp"}))]);
    let lost = bed.send(bed.net.server.at(9000), COUNT).lost(COUNT);
    let share = lost.len() as f64 / COUNT as f64;
    // Correlation widens the deviation of the share by the root of (1 + 0.75) / (1 - 0.75): 0.33 %.
    assert!((share - 0.2).abs() < 0.011, "{share}");
    let mut fate = vec![0.0; COUNT as usize];
    lost.iter().for_each(|n| fate[*n as usize] = 1.0);
    let correlation = lag1_correlation(&fate);
    assert!((correlation - 0.75).abs() < 0.02, "{correlation}");
}

#[test]
fn a_full_loss_is_silent_unless_the_local_signal_is_asked_for() {
    let bed = Bed::new();
    for (name, to) in [("v4", bed.net.server.at(9000)), ("v6", bed.net.server.at6(9000))] {
        let quiet = bed
            .on_client(name, json!({"drop": {"chance": "100%"}}))
            .traffic(json!({"protocol": "udp"}));
        bed.ctl.apply(std::slice::from_ref(&quiet));
        let sent = bed.client.udp_send(to, 100);
        assert_eq!((sent.accepted, sent.errors.len()), (100, 0), "{sent:?}");
        bed.wait_for_packets(name, "dropped", 100);
        bed.delete(name);

        let told = format!("{name}-told");
        let fault = bed.on_client(&told, json!({"drop": {"chance": "100%", "signal": "local"}}));
        bed.ctl.apply(&[fault.traffic(json!({"protocol": "udp"}))]);
        let sent = bed.client.udp_send(to, 100);
        assert_eq!(sent.errors.get("ENOBUFS"), Some(&100), "{sent:?}");
        bed.wait_for_packets(&told, "dropped", 100);
        bed.delete(&told);
    }
}

#[test]
fn tcp_backs_off_as_on_a_real_dead_link() {
    let bed = Bed::new();
    let to = bed.net.server.at(7000);
    bed.server.tcp_serve(to);
    let stream = bed.client.tcp_open(None, to, SOON).stream();
    assert_eq!(bed.client.tcp_exchange(stream, 100, SOON).result, Ok(0));
    bed.ctl.apply(&[bed
        .on_client("dead", json!({"drop": {"chance": "100%"}}))
        .traffic(json!({"protocol": "tcp"}))]);
    let mut attempts: Vec<(Instant, u64)> = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| bed.client.tcp_exchange(stream, 100, Duration::from_secs(7)));
        // The segment itself, a loss probe, and retransmissions whose distance doubles: .2 .4 .8 1.6 seconds.
        eventually(Duration::from_secs(8), "six attempts", || {
            let matched = bed.ctl.fault("dead").packets("matched");
            if matched > attempts.last().map_or(0, |last| last.1) {
                attempts.push((Instant::now(), matched));
            }
            matched >= 6
        });
    });
    let gaps: Vec<f64> = attempts
        .windows(2)
        .map(|w| (w[1].0 - w[0].0).as_secs_f64())
        .collect();
    let [.., b, c] = gaps.as_slice() else {
        panic!("too few attempts: {gaps:?}")
    };
    // The last two, of about a second: the earlier ones are no longer than it takes to ask for the counter on a busy
    // machine. Without silence the kernel knows that its own queue was full, and tries again every half second.
    let doubles = (1.6..2.5).contains(&(c / b));
    // To ask takes an emulated machine half a second.
    assert!(*b > 0.6 && (doubles || is_emulated()), "{gaps:?}");
}

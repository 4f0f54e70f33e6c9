//! The kernel line: super-packets that leave are cut at the hook when one of their wire packets is hit, and only then.

use std::net::SocketAddr;
use std::time::Duration;

use chaos_tests::{
    Host, Netns, binomial_999, eventually, monotonic_nanos, need, require_program, require_tcx, stalled, vlan,
};
use serde_json::json;

use crate::bed::{Bed, SOON};
use crate::line::{Saturated, cpus, lines, saturate, seconds};

/// One byte in a stream of a few super-packets after another.
const BULK: usize = 1 << 20;
/// How often.
const ROUNDS: u64 = 8;
/// Bytes that timestamps take in a TCP header.
const TIMESTAMPS: u64 = 12;
/// The least time after which TCP sends again what may have arrived (`TCP_RTO_MIN`).
const TCP_PATIENCE: Duration = Duration::from_millis(200);

/// A bed whose daemon was told which line to use.
fn told(line: &str) -> Bed {
    Bed::with(&["--line", line])
}

/// A congestion control without a pacer, whose timer sends from any CPU: a veth has a queue for each that sends, and what
/// is in one is overtaken by what is in another, with and without a daemon.
fn without_pacing(netns: &Netns) {
    let write = || std::fs::write("/proc/sys/net/ipv4/tcp_congestion_control", "reno");
    netns
        .enter(write)
        .expect("every kernel has it, for every namespace");
}

fn iperf(bed: &Bed) -> chaos_tests::Process {
    let server = &bed.net.server.netns;
    chaos_tests::Process::spawn(server, None, &["iperf3", "-s"]).listens(server, 5201)
}

#[test]
fn a_fault_that_never_acts_costs_a_stream_next_to_nothing() {
    need!(require_program("iperf3"));
    let bed = told("kernel");
    let _iperf = iperf(&bed);
    for streams in [1, 8] {
        let healthy = saturate(&bed, streams, cpus::ANY);
        bed.ctl.apply(&[bed
            .on_client(
                "never",
                json!({"drop": {"chance": "0%"}, "duplicate": {"chance": "0%"}}),
            )
            .lasting("5m")]);
        let found = saturate(&bed, streams, cpus::ANY);
        let alone = saturate(&bed, streams, cpus::ONE);
        println!("{streams}: {found:?}, without: {healthy:?}, on one CPU: {alone:?}");
        assert_eq!(lines(&bed.net.client.netns), 0, "no device");
        // Where the network itself swaps nothing, nothing is.
        let Saturated { again, swapped, .. } = alone;
        assert!(again <= 1 && swapped <= 1, "{alone:?}");
        let segments = (found.mbit + alone.mbit) * 1e6 / 8.0 / 1448.0 * seconds() as f64;
        assert!(
            found.mbit > 0.35 * healthy.mbit,
            "{found:?}, without: {healthy:?}"
        );
        let view = bed.delete("never");
        assert_eq!(view.packets("dropped") + view.packets("duplicated"), 0);
        // All was looked at, as single packets.
        assert!(view.packets("matched") as f64 > segments * 0.9, "{segments}");
        assert_eq!(view.own_warnings(), ["NeverActs"]);
    }
}

/// Every fault on streams of super-packets, over both families and all sizes of wire packets: what arrives is whole, but
/// for the bits that were flipped.
#[test]
fn what_was_cut_arrives_as_the_stack_would_have_cut_it() {
    let mut bed = told("kernel");
    for (mtu, port) in [(1280, 7000), (1500, 7001), (9000, 7002)] {
        for Host { device, netns, .. } in [&bed.net.client, &bed.net.server] {
            netns.ip(&format!("link set {} mtu {mtu}", device.name()));
        }
        bed.remember();
        for to in [bed.net.server.at(port), bed.net.server.at6(port)] {
            all_faults(&bed, &format!("{mtu}"), mtu, to);
        }
    }
}

#[test]
fn frames_of_a_vlan_are_cut_as_well() {
    need!(require_tcx());
    let mut bed = told("kernel");
    let c7 = need!(vlan(&bed.net.client.device, 7));
    let s7 = need!(vlan(&bed.net.server.device, 7));
    for (device, n) in [(&c7, 1), (&s7, 2)] {
        device.add_v4(std::net::Ipv4Addr::new(10, 79, 0, n), 24);
    }
    bed.remember();
    all_faults(&bed, "vlan", 1500, ([10, 79, 0, 2], 7000).into());
}

fn all_faults(bed: &Bed, name: &str, mtu: u64, to: SocketAddr) {
    let (client, server) = (&bed.net.client.netns, &bed.net.server.netns);
    for netns in [client, server] {
        without_pacing(netns);
    }
    let patience = Duration::from_secs(20);
    bed.server.tcp_serve(to);
    let traffic = json!({"protocol": "tcp", "remote": {"ports": [to.port()]}});
    for (fault, counter) in [
        (json!({"drop": {"chance": "1%"}}), "dropped"),
        (json!({"drop": {"every": 50}}), "dropped"),
        (json!({"duplicate": {"chance": "5%"}}), "duplicated"),
        (
            json!({"corrupt": {"chance": "5%", "checksum": "fix"}}),
            "corrupted",
        ),
    ] {
        let told = format!("{name} {to} {fault}");
        let fault_file = bed.on_client("acts", fault.clone()).traffic(traffic.clone());
        bed.ctl.apply(&[fault_file]);
        let count = |what: &str| [client.tcp_count(what), server.tcp_count(what)];
        let before = ["RetransSegs", "InCsumErrors", "TCPDSACKRecv"].map(count);
        let begun = monotonic_nanos();
        let stream = bed.client.tcp_open(None, to, SOON).stream();
        let mut wrong = 0;
        for _ in 0..ROUNDS {
            let exchanged = bed.client.tcp_exchange(stream, BULK, patience);
            wrong += exchanged.result.unwrap_or_else(|e| panic!("{told}: {e:?}"));
        }
        bed.client.close(stream);
        let after = ["RetransSegs", "InCsumErrors", "TCPDSACKRecv"].map(count);
        let [again, broken, twice] =
            std::array::from_fn(|i| [0, 1].map(|end| after[i][end] - before[i][end]));
        let view = bed.ctl.fault("acts");
        bed.delete("acts");
        let hits = view.packets(counter);
        println!(
            "{told}: {hits} of {}; {again:?} {twice:?}",
            view.packets("matched")
        );
        assert!(hits > 0, "{told}");
        assert!(
            !view.warnings().contains(&"SuperPackets"),
            "{told}: {:?}",
            view.warnings()
        );
        assert_eq!(broken, [0, 0], "{told}: checksums");
        match counter {
            // TCP sends again what was lost, but for acknowledgements without data.
            "dropped" => {
                let headers = if to.is_ipv4() { 20 } else { 40 } + 20 + TIMESTAMPS;
                let data = ROUNDS * (BULK as u64).div_ceil(mtu - headers);
                let matched = view.packets("matched");
                let bare = matched.saturating_sub(data + again[0]);
                let unanswered = binomial_999(bare, hits as f64 / matched as f64);
                assert!(
                    again[0] + unanswered.end() + 2 >= hits,
                    "{told} {again:?}, {bare} without data"
                );
                // And no more, unless the machine stood still, when TCP no longer waits for an answer that comes.
                let stood_still = stalled(begun, monotonic_nanos());
                assert!(
                    again[0] <= hits + hits / 4 + 5 || stood_still > TCP_PATIENCE,
                    "{told} {again:?}, the machine stood still for {stood_still:?}"
                );
            }
            "duplicated" => assert!(
                twice[0] > 0 && again[0] <= hits / 10 + 5,
                "{told} {again:?} {twice:?}"
            ),
            // One byte each, but for one that a flip has hit in something sent twice.
            _ => assert!(wrong <= hits && wrong + again[0] + 5 >= hits, "{told}: {wrong}"),
        }
    }
}

/// Long trains, few losses: most super-packets go whole, and still the chance is that of a wire packet.
#[test]
fn a_chance_is_of_wire_packets_and_tcp_sends_again_no_more() {
    need!(require_program("iperf3"));
    let bed = told("auto");
    // What is swapped then, the veth has not.
    for end in [&bed.net.client, &bed.net.server] {
        end.device.steer();
    }
    let _iperf = iperf(&bed);
    for chance in [0.0005, 0.01] {
        bed.ctl.apply(&[bed
            .on_client(
                "lossy",
                json!({"drop": {"chance": format!("{}%", chance * 100.0)}}),
            )
            .traffic(json!({"protocol": "tcp", "remote": {"ports": [5201]}}))]);
        let found = saturate(&bed, 1, cpus::ONE);
        let attachments = bed.ctl.fault("lossy").0["status"]["attachments"].clone();
        assert_eq!(attachments[0]["line"], "kernel", "{attachments}");
        let view = bed.delete("lossy");
        let (matched, dropped) = (view.packets("matched"), view.packets("dropped"));
        let told = format!("{chance}: {dropped} of {matched}, {found:?}");
        println!("{told}");
        assert!(binomial_999(matched, chance).contains(&dropped), "{told}");
        // And what a veth swaps by itself at such speeds: unfaulted streams here have sent 1 in 10,000 again.
        let noise = matched / 2_000;
        assert!(found.again <= dropped + dropped / 5 + 20 + noise, "{told}");
        assert!(view.own_warnings().is_empty(), "{:?}", view.own_warnings());
    }
}

/// A fault that needs no waiting before one that does, and after it: both act on the same stream, and nothing is
/// swapped.
#[test]
fn pieces_go_on_to_the_user_line_and_keep_their_order() {
    let bed = told("auto");
    let to = bed.net.server.at(7000);
    bed.server.tcp_serve(to);
    let traffic = || json!({"protocol": "tcp", "remote": {"ports": [7000]}});
    let lossy = || {
        bed.on_client("lossy", json!({"drop": {"chance": "0.2%"}}))
            .traffic(traffic())
    };
    let late = || {
        bed.on_client("late", json!({"delay": {"latency": "5ms"}}))
            .traffic(traffic())
    };
    for (first, second) in [(lossy(), late()), (late(), lossy())] {
        let told = format!("{} first", first.name());
        bed.ctl.apply(&[first]);
        bed.ctl.apply(&[second]);
        let swapped = bed.net.server.netns.tcp_count("TCPOFOQueue");
        let stream = bed.client.tcp_open(None, to, SOON).stream();
        for _ in 0..8 {
            let exchanged = bed.client.tcp_exchange(stream, BULK, Duration::from_secs(20));
            assert_eq!(exchanged.result, Ok(0), "{told}");
        }
        bed.client.close(stream);
        let view = bed.ctl.fault("lossy");
        let (matched, dropped) = (view.packets("matched"), view.packets("dropped"));
        println!("{told}: {dropped} of {matched}");
        assert!(
            binomial_999(matched, 0.002).contains(&dropped),
            "{told}: {dropped} of {matched}"
        );
        // Nothing comes out of its order but what follows a loss.
        if dropped == 0 {
            assert_eq!(bed.net.server.netns.tcp_count("TCPOFOQueue"), swapped, "{told}");
        }
        assert!(bed.ctl.fault("late").packets("delayed") > 0, "{told}");
        for name in ["lossy", "late"] {
            bed.ctl.delete(name);
        }
    }
}

#[test]
fn the_choice_is_said_and_can_be_forced() {
    let lossy = |bed: &Bed, direction: &str| {
        bed.on_client("lossy", json!({"drop": {"chance": "1%"}}))
            .traffic(json!({"direction": direction}))
    };
    for (line, egress, ingress) in [
        ("auto", "kernel line", "user line"),
        ("kernel", "kernel line", ""),
        ("user", "user line", "user line"),
        ("never", "", ""),
    ] {
        let bed = told(line);
        let netns = &bed.net.client.netns;
        for (direction, want) in [("egress", egress), ("ingress", ingress)] {
            let plan = bed.ctl.ok(&[
                "inject",
                "drop",
                "1%",
                "--netns",
                netns.name(),
                "--direction",
                direction,
                "--for",
                "1m",
                "--dry-run",
            ]);
            bed.ctl.apply(&[lossy(&bed, direction)]);
            let wide = bed.ctl.ok(&["get", "faults", "-o", "wide"]).stdout;
            for text in [&plan.stdout, &wide] {
                assert!(text.contains(want), "{line} {direction}: {text}");
                assert_eq!(
                    text.contains(" line"),
                    !want.is_empty(),
                    "{line} {direction}: {text}"
                );
            }
            assert_eq!(
                lines(netns),
                usize::from(want == "user line"),
                "{line} {direction}"
            );
            bed.delete("lossy");
        }
        let doctor = bed.ctl.ok(&["doctor"]).stdout;
        assert!(
            doctor.contains("line-kernel") && doctor.contains("line-user"),
            "{doctor}"
        );
        let answer = chaos_tests::Api::of(&bed.daemon)
            .apply(&[bed.on_client("late", json!({"delay": {"latency": "3s"}}))]);
        if ["kernel", "never"].contains(&line) {
            assert_eq!(answer.status, 422, "{answer:?}");
            assert!(
                format!("{answer:?}").contains(&format!("--line {line}")),
                "{answer:?}"
            );
        } else {
            bed.ctl.wait_for_phase("late", "Active");
        }
    }
}

#[test]
fn a_killed_daemon_leaves_nothing_since_nothing_was_made() {
    need!(require_tcx());
    let mut bed = told("kernel");
    let netns = bed.net.client.netns.clone();
    let sysctls = netns.sysctls();
    bed.ctl
        .apply(&[bed.on_client("gone", json!({"drop": {"chance": "99.9%"}}))]);
    let to = bed.net.server.at(9000);
    bed.daemon.sigkill();
    eventually(SOON, "the fault is gone", || bed.reaches(to));
    bed.assert_untouched();
    assert_eq!(netns.sysctls(), sysctls);
    bed.daemon.start_again();
    assert!(bed.ctl.faults().is_empty(), "nothing comes back by itself");
}

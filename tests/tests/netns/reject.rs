//! `reject` answers, and so fails fast; `reset` tears down at both ends.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use chaos_tests::{Capture, Way, binomial_999, eventually, patience};
use serde_json::json;

use crate::bed::{BRIEF, Bed, SOON};

#[test]
fn a_rejected_connection_is_refused_before_anything_leaves() {
    let bed = Bed::new();
    // Nobody is there: a refusal can only come from our own side, in less than any round trip.
    let nobody: [IpAddr; 2] = ["10.77.0.99".parse().expect("v4"), "fd77::99".parse().expect("v6")];
    for address in nobody {
        bed.net
            .client
            .netns
            .ip(&format!("neigh add {address} lladdr 02:00:00:00:00:99 dev c0"));
    }
    for (n, (with, to)) in ["reset", "icmp"]
        .into_iter()
        .flat_map(|w| nobody.map(|a| (w, a)))
        .enumerate()
    {
        let name = format!("refuse-{n}");
        let traffic = json!({"protocol": "tcp", "remote": {"ports": [80]}});
        bed.ctl.apply(&[bed
            .on_client(&name, json!({"reject": {"with": with}}))
            .traffic(traffic)]);
        let arriving = Capture::start(
            &bed.net.server.device,
            Way::In,
            "tcp dst port 80 and tcp[tcpflags] & tcp-syn != 0 or ip6 and dst port 80 and ip6[53] & 2 != 0",
        );
        let opened = bed.client.tcp_open(None, SocketAddr::new(to, 80), SOON);
        assert_eq!(opened.error(), "ECONNREFUSED", "{with} {to}");
        // An ICMP error that comes while connect() still holds the socket is only noted (tcp_v4_err); the next SYN,
        // a second later, then fails for good. So it is with every firewall on the same host.
        let limit = Duration::from_millis(if with == "reset" { 20 } else { 1500 });
        let limit = patience(limit).as_micros() as u64;
        assert!(opened.micros < limit, "{with} {to}: {opened:?}");
        assert_eq!(
            bed.client.tcp_open(None, SocketAddr::new(to, 81), BRIEF).error(),
            "timeout",
            "the port beside it"
        );
        assert_eq!(arriving.count(), 0, "{with} {to}: no SYN leaves");
        assert!(bed.ctl.fault(&name).packets("rejected") >= 1);
        bed.delete(&name);
    }
}

#[test]
fn an_established_connection_is_reset_at_both_ends() {
    let bed = Bed::new();
    for (n, (side, to)) in [
        ("egress", bed.net.server.at(7000)),
        ("egress", bed.net.server.at6(7001)),
        ("ingress", bed.net.server.at(7002)),
        ("ingress", bed.net.server.at6(7003)),
    ]
    .into_iter()
    .enumerate()
    {
        let server = bed.server.tcp_serve(to);
        let spared_to = SocketAddr::new(to.ip(), to.port() + 1000);
        bed.server.tcp_serve(spared_to);
        let stream = bed.client.tcp_open(None, to, SOON).stream();
        let spared = bed.client.tcp_open(None, spared_to, SOON).stream();
        assert_eq!(bed.client.tcp_exchange(stream, 1000, SOON).result, Ok(0));
        let name = format!("tear-{n}");
        let fault = json!({"reject": {"with": "reset"}});
        let fault = if side == "egress" {
            bed.on_client(&name, fault)
                .traffic(json!({"protocol": "tcp", "remote": {"ports": [to.port()]}}))
        } else {
            bed.on_server(&name, fault)
                .traffic(json!({"direction": "ingress", "protocol": "tcp", "local": {"ports": [to.port()]}}))
        };
        bed.ctl.apply(&[fault]);
        let end = bed.client.tcp_exchange(stream, 1000, SOON);
        assert_eq!(
            end.result,
            Err("ECONNRESET".to_owned()),
            "{side} {to}: the client's end"
        );
        eventually(SOON, &format!("{side} {to}: the server's end is reset"), || {
            bed.server.server_report(server).reset == 1
        });
        assert_eq!(
            bed.client.tcp_exchange(spared, 1000, SOON).result,
            Ok(0),
            "the connection beside it"
        );
        bed.delete(&name);
    }
}

#[test]
fn a_rejected_datagram_is_answered_port_unreachable_in_both_families() {
    let bed = Bed::new();
    for (n, (side, to)) in [
        ("egress", bed.net.server.at(9001)),
        ("egress", bed.net.server.at6(9002)),
        ("ingress", bed.net.server.at(9003)),
        ("ingress", bed.net.server.at6(9004)),
    ]
    .into_iter()
    .enumerate()
    {
        let beside = SocketAddr::new(to.ip(), to.port() + 1000);
        bed.server.udp_echo(to);
        bed.server.udp_echo(beside);
        let name = format!("unreachable-{n}");
        let fault = json!({"reject": {"with": "icmp"}});
        let fault = if side == "egress" {
            bed.on_client(&name, fault)
                .traffic(json!({"protocol": "udp", "remote": {"ports": [to.port()]}}))
        } else {
            bed.on_server(&name, fault)
                .traffic(json!({"direction": "ingress", "protocol": "udp", "local": {"ports": [to.port()]}}))
        };
        let (asker, spared) = (
            bed.client.udp_open(None, Some(to)),
            bed.client.udp_open(None, Some(beside)),
        );
        assert_eq!(bed.client.udp_ask(asker, SOON).result, Ok(()), "before");
        bed.ctl.apply(&[fault]);
        let asked = bed.client.udp_ask(asker, SOON);
        assert_eq!(asked.result, Err("ECONNREFUSED".to_owned()), "{side} {to}");
        assert!(
            Duration::from_nanos(asked.nanos) < patience(Duration::from_millis(20)),
            "{asked:?}"
        );
        assert_eq!(
            bed.client.udp_ask(spared, SOON).result,
            Ok(()),
            "{side}: the port beside it"
        );
        bed.delete(&name);
        assert_eq!(bed.client.udp_ask(asker, SOON).result, Ok(()), "after");
    }
}

/// Opens, exchanges and closes a connection from each port; gives those that were reset and the others' times.
fn connect_from(bed: &Bed, ports: std::ops::Range<u16>, to: SocketAddr) -> (Vec<u16>, Vec<u64>) {
    let (mut reset, mut times) = (Vec::new(), Vec::new());
    for port in ports {
        let from = SocketAddr::new(
            if to.is_ipv4() {
                bed.net.client.v4.into()
            } else {
                bed.net.client.v6.into()
            },
            port,
        );
        let stream = bed.client.tcp_open(Some(from), to, SOON).stream();
        let exchanged = bed.client.tcp_exchange(stream, 200, SOON);
        match exchanged.result {
            Ok(0) => times.push(exchanged.micros),
            Err(why) if why == "ECONNRESET" => reset.push(port),
            other => panic!("from port {port}: {other:?}"),
        }
        bed.client.close(stream);
    }
    times.sort_unstable();
    (reset, times)
}

#[test]
fn a_fifth_of_a_thousand_connections_is_reset_at_both_ends_and_always_the_same_ones() {
    let bed = Bed::new();
    // Else a port could not be used again for the same peer within a minute.
    bed.net.client.netns.sysctl("ipv4/tcp_max_tw_buckets", "0");
    let to = bed.net.server.at(5432);
    let server = bed.server.tcp_serve(to);
    let (none, healthy) = connect_from(&bed, 20_000..20_200, to);
    assert!(none.is_empty(), "before: {none:?}");
    let traffic = json!({"protocol": "tcp", "remote": {"ports": [5432]}});
    bed.ctl.apply(&[bed
        .on_client("fifth", json!({"reset": {"chance": "20%"}}))
        .traffic(traffic)]);

    let (first, times) = connect_from(&bed, 20_000..21_000, to);
    assert!(
        binomial_999(1000, 0.2).contains(&(first.len() as u64)),
        "{} of 1000",
        first.len()
    );
    assert!((160..=240).contains(&first.len()), "{} of 1000", first.len());
    eventually(SOON, "the server's ends are reset, too", || {
        bed.server.server_report(server).reset == first.len() as u64
    });
    let median = |times: &[u64]| times[times.len() / 2];
    assert!(
        median(&times) < 2 * median(&healthy) + 100,
        "{} µs, before {} µs",
        median(&times),
        median(&healthy)
    );

    let (second, _) = connect_from(&bed, 20_000..21_000, to);
    assert_eq!(first, second, "the choice is stable per 5-tuple");
    assert_eq!(bed.ctl.fault("fifth").packets("reset"), 2 * first.len() as u64);
    bed.delete("fifth");
    assert!(
        connect_from(&bed, 20_000..20_200, to).0.is_empty(),
        "after the end"
    );
}

#[test]
fn reset_leaves_the_handshake_alone_and_reaches_ipv6_too() {
    let bed = Bed::new();
    let (to, beside) = (bed.net.server.at6(5432), bed.net.server.at6(5433));
    let server = bed.server.tcp_serve(to);
    bed.server.tcp_serve(beside);
    let traffic = json!({"protocol": "tcp", "remote": {"ports": [5432]}});
    bed.ctl
        .apply(&[bed.on_client("tear", json!({"reset": {}})).traffic(traffic)]);
    let stream = bed.client.tcp_open(None, to, SOON).stream();
    assert_eq!(
        bed.client.tcp_exchange(stream, 10, SOON).result,
        Err("ECONNRESET".to_owned())
    );
    eventually(SOON, "the server's end is reset", || {
        bed.server.server_report(server).reset == 1
    });
    let spared = bed.client.tcp_open(None, beside, SOON).stream();
    assert_eq!(bed.client.tcp_exchange(spared, 10, SOON).result, Ok(0));
}

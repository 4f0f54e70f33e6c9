//! `traffic`: which packets are meant. Each case is tried on neighbours that must not be hit, too.

use std::net::SocketAddr;

use chaos_tests::workload::Handle;
use chaos_tests::{Capture, Way, binomial_999, eventually, raw, settled};
use serde_json::{Value, json};

use crate::bed::{BRIEF, Bed, SOON};

/// Sinks on several ports and addresses of the server.
struct Board<'a> {
    bed: &'a Bed,
    sinks: Vec<(SocketAddr, Handle)>,
}

impl<'a> Board<'a> {
    fn new(bed: &'a Bed, places: &[&str]) -> Self {
        let sinks = places.iter().map(|place| {
            let place: SocketAddr = place.parse().expect("an address and a port");
            (place, bed.server.udp_sink(place))
        });
        Self {
            bed,
            sinks: sinks.collect(),
        }
    }

    /// Indexes of the places that get nothing of three datagrams each.
    fn cut_off(&self) -> Vec<usize> {
        let counts = || -> Vec<u64> {
            self.sinks
                .iter()
                .map(|(_, sink)| self.bed.server.sink_report(*sink).received())
                .collect()
        };
        let before = counts();
        for (place, _) in &self.sinks {
            self.bed.client.udp_send(*place, 3);
        }
        let after = settled(BRIEF / 3, counts);
        let got: Vec<u64> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
        assert!(got.iter().all(|n| [0, 3].contains(n)), "all or nothing: {got:?}");
        (0..got.len()).filter(|i| got[*i] == 0).collect()
    }
}

const PLACES: [&str; 7] = [
    "10.77.0.2:5000",
    "10.77.0.2:5005",
    "10.77.0.2:6000",
    "10.77.0.3:5000",
    "[fd77::2]:5000",
    "[fd77::2]:6000",
    "[fd77::3]:5000",
];

#[test]
fn ports_ranges_prefixes_exceptions_and_protocols_name_what_they_say() {
    let mut bed = Bed::new();
    bed.net.server.device.add_v4("10.77.0.3".parse().expect("v4"), 24);
    bed.net.server.device.add_v6("fd77::3".parse().expect("v6"), 64);
    bed.remember();
    let board = Board::new(&bed, &PLACES);
    assert!(board.cut_off().is_empty(), "before any fault");
    let many: Vec<u16> = (0..12).map(|n| 4900 + n * 3).chain([5005]).collect();
    let addresses: Vec<String> = (0..65_535_u32)
        .map(|n| format!("10.200.{}.{}/32", n >> 8, n & 255))
        .chain(["10.77.0.3/32".into()])
        .collect();
    assert_eq!(addresses.len(), 65_536);
    let cases: Vec<(&str, Value, &[usize])> = vec![
        ("everything", json!({}), &[0, 1, 2, 3, 4, 5, 6]),
        ("one-port", json!({"remote": {"ports": [5000]}}), &[0, 3, 4, 6]),
        (
            "a-range",
            json!({"remote": {"ports": ["5000-5010"]}}),
            &[0, 1, 3, 4, 6],
        ),
        (
            "range-and-port",
            json!({"remote": {"ports": ["5001-5010", 6000]}}),
            &[1, 2, 5],
        ),
        ("thirteen-ports", json!({"remote": {"ports": many}}), &[1]),
        (
            "one-address",
            json!({"remote": {"cidrs": ["10.77.0.2/32"]}}),
            &[0, 1, 2],
        ),
        (
            "one-v6-address",
            json!({"remote": {"cidrs": ["fd77::2/128"]}}),
            &[4, 5],
        ),
        (
            "all-of-v4",
            json!({"remote": {"cidrs": ["0.0.0.0/0"]}}),
            &[0, 1, 2, 3],
        ),
        ("all-of-v6", json!({"remote": {"cidrs": ["::/0"]}}), &[4, 5, 6]),
        (
            "an-exception",
            json!({"remote": {"cidrs": ["10.77.0.0/24"], "except": ["10.77.0.3/32"]}}),
            &[0, 1, 2],
        ),
        (
            "a-v6-exception",
            json!({"remote": {"cidrs": ["fd77::/64"], "except": ["fd77::3/128"]}}),
            &[4, 5],
        ),
        (
            "only-an-exception",
            json!({"remote": {"except": ["10.77.0.2/32", "fd77::/64"]}}),
            &[3],
        ),
        (
            "both-families-one-port",
            json!({"remote": {"cidrs": ["10.77.0.0/24", "fd77::/64"], "ports": [6000]}}),
            &[2, 5],
        ),
        (
            "five-prefixes",
            json!({"remote": {"cidrs":
            ["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16", "10.4.0.0/16", "10.77.0.3/32"]}}),
            &[3],
        ),
        (
            "sixty-five-thousand",
            json!({"remote": {"cidrs": addresses, "ports": ["1-65535"]}}),
            &[3],
        ),
        ("udp", json!({"protocol": "udp"}), &[0, 1, 2, 3, 4, 5, 6]),
        ("tcp", json!({"protocol": "tcp"}), &[]),
        ("icmp", json!({"protocol": "icmp"}), &[]),
        ("nowhere", json!({"remote": {"cidrs": ["192.0.2.0/24"]}}), &[]),
        ("other-direction", json!({"direction": "ingress"}), &[]),
    ];
    // All of them are tried, for one mistake often shows in several.
    let mut wrong = Vec::new();
    for (name, traffic, want) in cases {
        bed.ctl
            .apply(&[bed.on_client(name, json!({"partition": {}})).traffic(traffic)]);
        let got = board.cut_off();
        if got == want {
            // The namespace itself may report a multicast group meanwhile, which belongs to no test.
            let matched = || bed.ctl.fault(name).packets("matched");
            let all = 3 * want.len() as u64;
            eventually(SOON, &format!("{name} counts {all}, not {}", matched()), || {
                (all..all + 3).contains(&matched())
            });
        } else {
            wrong.push(format!("{name}: {got:?} instead of {want:?}"));
        }
        bed.ctl.delete(name);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(board.cut_off().is_empty(), "after the last fault");
}

#[test]
fn at_ingress_local_is_the_targets_end_and_remote_the_senders() {
    let mut bed = Bed::new();
    bed.net.server.device.add_v4("10.77.0.3".parse().expect("v4"), 24);
    bed.net.server.device.add_v6("fd77::3".parse().expect("v6"), 64);
    bed.remember();
    let board = Board::new(&bed, &PLACES);
    let cases: Vec<(&str, Value, &[usize])> = vec![
        ("local-port", json!({"local": {"ports": [5000]}}), &[0, 3, 4, 6]),
        (
            "local-range",
            json!({"local": {"ports": ["5001-6000"]}}),
            &[1, 2, 5],
        ),
        (
            "remote-v4",
            json!({"remote": {"cidrs": ["10.77.0.1/32"]}}),
            &[0, 1, 2, 3],
        ),
        (
            "remote-v6",
            json!({"remote": {"cidrs": ["fd77::1/128"]}}),
            &[4, 5, 6],
        ),
        (
            "remote-is-not-local",
            json!({"remote": {"cidrs": ["10.77.0.2/32"], "ports": [5000]}}),
            &[],
        ),
    ];
    for (name, mut traffic, want) in cases {
        traffic["direction"] = json!("ingress");
        bed.ctl
            .apply(&[bed.on_server(name, json!({"partition": {}})).traffic(traffic)]);
        assert_eq!(board.cut_off(), want, "{name}");
        bed.ctl.delete(name);
    }
}

#[test]
fn a_local_port_is_the_senders_own() {
    let bed = Bed::new();
    let sink = bed.server.udp_sink(bed.net.server.at(9000));
    let traffic = json!({"local": {"ports": [4000, "4100-4199"]}});
    bed.ctl.apply(&[bed
        .on_client("own-port", json!({"partition": {}}))
        .traffic(traffic)]);
    for (n, port) in [4000, 4001, 4099, 4100, 4199, 4200].into_iter().enumerate() {
        let socket = bed.client.udp_open(Some(bed.net.client.at(port)), None);
        bed.client
            .udp_send_from(Some(socket), bed.net.server.at(9000), n as u64, 1, 64);
    }
    eventually(SOON, "three arrive", || {
        bed.server.sink_report(sink).received() == 3
    });
    assert_eq!(bed.server.sink_report(sink).sequences, [1, 2, 5]);
    bed.wait_for_packets("own-port", "dropped", 3);
}

#[test]
fn a_share_of_flows_is_hit_and_a_flow_stays_in_or_out() {
    let bed = Bed::new();
    const FLOWS: u64 = 1000;
    let to = bed.net.server.at(9000);
    let sink = bed.server.udp_sink(to);
    bed.ctl.apply(&[bed
        .on_client("some", json!({"partition": {}}))
        .traffic(json!({"flows": "20%"}))]);
    let sockets: Vec<Handle> = (0..FLOWS)
        .map(|n| {
            bed.client
                .udp_open(Some(bed.net.client.at(20_000 + n as u16)), None)
        })
        .collect();
    // Three rounds, so that a flow's packets are far apart.
    for round in 0..3 {
        for (flow, socket) in sockets.iter().enumerate() {
            bed.client
                .udp_send_from(Some(*socket), to, flow as u64 * 3 + round, 1, 64);
        }
    }
    settled(BRIEF, || bed.server.sink_report(sink).received());
    let lost = bed.server.sink_report(sink).lost(3 * FLOWS);
    let mut per_flow = vec![0; FLOWS as usize];
    lost.iter().for_each(|n| per_flow[(*n / 3) as usize] += 1);
    assert!(
        per_flow.iter().all(|n| [0, 3].contains(n)),
        "a flow is hit as a whole or not at all"
    );
    let hit = per_flow.iter().filter(|n| **n == 3).count() as u64;
    assert!(binomial_999(FLOWS, 0.2).contains(&hit), "{hit} of {FLOWS}");
}

#[test]
fn new_connections_and_established_ones_are_told_apart() {
    let bed = Bed::new();
    let to = bed.net.server.at(7000);
    bed.server.tcp_serve(to);
    let stream = bed.client.tcp_open(None, to, SOON).stream();
    let opens = || bed.client.tcp_open(None, to, BRIEF).result.is_ok();
    let talks = || bed.client.tcp_exchange(stream, 1000, BRIEF).result == Ok(0);
    assert!(opens() && talks(), "before");
    let fault = |name, which| {
        bed.on_client(name, json!({"partition": {}}))
            .traffic(json!({"protocol": "tcp", "connections": which}))
    };
    bed.ctl.apply(&[fault("new", "new")]);
    assert!(!opens() && talks(), "new: {}", bed.ctl.fault("new").0["status"]);
    bed.delete("new");
    bed.ctl.apply(&[fault("established", "established")]);
    // The SYN passes, and the server's SYN-ACK is not the target's: connect() succeeds, nothing after it does.
    assert!(
        opens() && !talks(),
        "established: {}",
        bed.ctl.fault("established").0["status"]
    );
    bed.delete("established");
}

#[test]
fn all_fragments_of_a_datagram_share_its_fate() {
    let bed = Bed::new();
    for (name, hit, spared) in [
        ("v4", bed.net.server.at(9000), bed.net.server.at(9001)),
        ("v6", bed.net.server.at6(9000), bed.net.server.at6(9001)),
    ] {
        let sinks = (bed.server.udp_sink(hit), bed.server.udp_sink(spared));
        let traffic = json!({"protocol": "udp", "remote": {"ports": [9000]}});
        bed.ctl
            .apply(&[bed.on_client(name, json!({"partition": {}})).traffic(traffic)]);
        let wire = Capture::start(&bed.net.server.device, Way::In, "ip or ip6");
        bed.client.udp_send_from(None, hit, 0, 5, 8000);
        assert_eq!(
            settled(BRIEF, || wire
                .frames()
                .iter()
                .filter(|f| f.bytes.len() > 500)
                .count()),
            0,
            "{name}"
        );
        bed.client.udp_send_from(None, spared, 0, 5, 8000);
        eventually(SOON, "the neighbour's arrive", || {
            bed.server.sink_report(sinks.1).received() == 5
        });
        assert_eq!(bed.server.sink_report(sinks.0).received(), 0);
        // 8,008 bytes in pieces of at most 1,480.
        bed.wait_for_packets(name, "dropped", 5 * 6);
        bed.delete(name);
    }
}

#[test]
fn vlan_tags_and_extension_headers_hide_nothing() {
    let bed = Bed::new();
    let (client, server) = (&bed.net.client, &bed.net.server);
    let traffic = json!({"protocol": "udp", "remote": {"ports": [9000]}});
    bed.ctl
        .apply(&[bed.on_client("seen", json!({"partition": {}})).traffic(traffic)]);
    let wire = Capture::start(&server.device, Way::In, "");
    let mut frames = Vec::new();
    let mut marks = Vec::new();
    for port in [9000, 9001] {
        let mut add = |name: &str, frame: &dyn Fn(&[u8]) -> Vec<u8>| {
            let mark = format!("<{name} to {port}>");
            frames.push(frame(mark.as_bytes()));
            marks.push((mark, port));
        };
        add("plain", &|mark| {
            raw::ethernet(
                client,
                server,
                &[],
                0x0800,
                &raw::udp_v4(client, server, port, mark),
            )
        });
        add("vlan", &|mark| {
            raw::ethernet(
                client,
                server,
                &[7],
                0x0800,
                &raw::udp_v4(client, server, port, mark),
            )
        });
        add("two vlans", &|mark| {
            raw::ethernet(
                client,
                server,
                &[7, 8],
                0x86dd,
                &raw::udp_v6(client, server, &[], port, mark),
            )
        });
        add("destination options", &|mark| {
            raw::ethernet(
                client,
                server,
                &[],
                0x86dd,
                &raw::udp_v6(client, server, &[60], port, mark),
            )
        });
        add("hop by hop and options", &|mark| {
            raw::ethernet(
                client,
                server,
                &[],
                0x86dd,
                &raw::udp_v6(client, server, &[0, 60], port, mark),
            )
        });
        add("vlan and options", &|mark| {
            raw::ethernet(
                client,
                server,
                &[9],
                0x86dd,
                &raw::udp_v6(client, server, &[60, 60], port, mark),
            )
        });
    }
    // What cannot be classified passes: an unknown protocol, and an IPv4 header that ends too early.
    let odd = b"<odd>";
    frames.push(raw::ethernet(client, server, &[], 0x88b5, odd));
    frames.push(raw::ethernet(
        client,
        server,
        &[],
        0x0800,
        &[&[0x4f_u8; 8][..], &odd[..]].concat(),
    ));
    raw::send_frames(&client.device, &frames);
    let seen = |mark: &[u8]| {
        wire.frames()
            .iter()
            .filter(|f| f.bytes.windows(mark.len()).any(|w| w == mark))
            .count()
    };
    for (mark, port) in &marks {
        if *port == 9001 {
            eventually(SOON, &format!("{mark} arrives"), || seen(mark.as_bytes()) == 1);
        }
    }
    eventually(SOON, "odd frames pass", || seen(odd) == 2);
    for (mark, port) in &marks {
        assert_eq!(seen(mark.as_bytes()), usize::from(*port == 9001), "{mark}");
    }
    bed.wait_for_packets("seen", "dropped", 6);
}

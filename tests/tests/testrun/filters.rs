//! Which packets a fault names.

use chaos_tests::packet::{At, Expect, Family, Injection, Lab, Packet, Transport, flag, is_lost};
use chaos_tests::{binomial_999, veth};

use super::support::{BOTH, DATA, SYN, check, datagram, lab, tcp};

/// Loses what `traffic` names, leaving.
fn lose(traffic: &str) -> Injection {
    Injection::new(traffic, "{partition: {}}")
}

#[track_caller]
fn expect(lab: &Lab, packet: &Packet, named: bool, what: &str) {
    check(
        lab,
        At::Egress,
        packet,
        if named {
            &Expect::Vanished
        } else {
            &Expect::Untouched
        },
        what,
    );
}

#[test]
fn protocols() {
    let Some(mut lab) = lab("filters::protocols") else {
        return;
    };
    for asked in ["tcp", "udp", "icmp", "any"] {
        let id = lab.inject(&lose(&format!("{{protocol: {asked}}}")));
        for family in BOTH {
            for (found, transport) in [
                ("tcp", DATA),
                ("udp", Transport::Udp),
                ("icmp", Transport::EchoRequest),
                ("icmp", Transport::EchoReply),
                ("gre", Transport::Other(47)),
            ] {
                let packet = Packet::leaving(family, transport);
                expect(
                    &lab,
                    &packet,
                    asked == found || asked == "any",
                    &format!("{asked}: {found} {family:?}"),
                );
            }
        }
        lab.end(&[id]);
    }
}

#[test]
fn ports_and_ranges() {
    let Some(mut lab) = lab("filters::ports_and_ranges") else {
        return;
    };
    let named = |lab: &Lab, ports: &[(u16, bool)], local: bool, what: &str| {
        for family in BOTH {
            for transport in [DATA, Transport::Udp] {
                for (port, named) in ports {
                    let (near, far) = if local { (*port, 9) } else { (9, *port) };
                    let packet = Packet::leaving(family, transport).with_ports(near, far);
                    expect(lab, &packet, *named, &format!("{what}: port {port}"));
                }
            }
        }
    };
    let small = [
        (5431, false),
        (5432, true),
        (5433, false),
        (5999, false),
        (6000, true),
        (6010, true),
        (6011, false),
    ];
    let wide = [(999, false), (1000, true), (40_000, true), (65_535, true)];
    // Twenty ranges of 1501 ports, too many for one rule and too wide for the index.
    let ranges: Vec<String> = (0..20)
        .map(|n| format!("{}-{}", 1000 + n * 2000, 2500 + n * 2000))
        .collect();
    let many = [
        (999, false),
        (1000, true),
        (2500, true),
        (2501, false),
        (40_500, true),
        (40_501, false),
        (20_999, false),
    ];
    let ranges = ranges.join(", ");
    for (list, ports) in [
        ("5432, 6000-6010", &small[..]),
        ("1000-65535", &wide[..]),
        (&ranges, &many[..]),
    ] {
        let id = lab.inject(&lose(&format!("{{remote: {{ports: [{list}]}}}}")));
        named(&lab, ports, false, "remote");
        lab.end(&[id]);
        let id = lab.inject(&lose(&format!("{{local: {{ports: [{list}]}}}}")));
        named(&lab, ports, true, "local");
        lab.end(&[id]);
    }
}

#[test]
fn local_and_remote_are_the_targets_own_in_both_directions() {
    let Some(mut lab) = lab("filters::local_and_remote_are_the_targets_own_in_both_directions") else {
        return;
    };
    lab.inject(&lose(
        "{direction: both, local: {ports: [40000]}, remote: {ports: [7777]}}",
    ));
    for family in BOTH {
        for (near, far, named) in [
            (40_000, 7_777, true),
            (7_777, 40_000, false),
            (40_000, 1, false),
            (1, 7_777, false),
        ] {
            let what = format!("{family:?} near {near} far {far}");
            expect(&lab, &datagram(family).with_ports(near, far), named, &what);
            let arriving = Packet::arriving(family, Transport::Udp).with_ports(near, far);
            let back = if named { Expect::Shot } else { Expect::Untouched };
            check(&lab, At::Ingress, &arriving, &back, &what);
        }
    }
}

/// The far ends that a list of addresses names, and others.
#[track_caller]
fn far_ends(lab: &mut Lab, remote: &str, named: &[&str], others: &[&str]) {
    let id = lab.inject(&lose(&format!("{{direction: both, remote: {{{remote}}}}}")));
    let list = named
        .iter()
        .map(|far| (far, true))
        .chain(others.iter().map(|far| (far, false)));
    for (far, named) in list {
        let far = far.parse().expect("an address");
        let what = format!("{remote}: {far}");
        expect(lab, &datagram(Family::V4).with_far(far), named, &what);
        let arriving = Packet::arriving(Family::V4, Transport::Udp).with_far(far);
        check(
            lab,
            At::Ingress,
            &arriving,
            if named { &Expect::Shot } else { &Expect::Untouched },
            &what,
        );
    }
    lab.end(&[id]);
}

#[test]
fn addresses_prefixes_and_exceptions() {
    let Some(mut lab) = lab("filters::addresses_prefixes_and_exceptions") else {
        return;
    };
    far_ends(
        &mut lab,
        "cidrs: [10.9.8.7, '2001:db8::7']",
        &["10.9.8.7", "2001:db8::7"],
        &["10.9.8.6", "2001:db8::6"],
    );
    far_ends(
        &mut lab,
        "cidrs: [10.0.0.0/9, '2001:db8:8000::/33']",
        &[
            "10.0.0.0",
            "10.127.255.255",
            "2001:db8:8000::",
            "2001:db8:ffff::1",
        ],
        &["10.128.0.0", "9.255.255.255", "2001:db8:7fff::1"],
    );
    far_ends(
        &mut lab,
        "cidrs: [10.0.0.0/8], except: [10.1.0.0/16]",
        &["10.0.0.1", "10.2.0.1"],
        &["10.1.0.1", "10.1.2.3", "11.0.0.1", "2001:db8::1"],
    );
    far_ends(
        &mut lab,
        "except: [10.0.0.0/8, '2001:db8::/32']",
        &["192.0.2.1", "2001:db9::1"],
        &["10.255.0.1", "2001:db8:ffff::1"],
    );
    let five: Vec<String> = (1..=5).map(|n| format!("10.{n}.0.0/16")).collect();
    far_ends(
        &mut lab,
        &format!("cidrs: [{}]", five.join(", ")),
        &["10.1.0.0", "10.5.255.255"],
        &["10.6.0.0", "10.0.9.9"],
    );
    far_ends(&mut lab, "cidrs: [0.0.0.0/0]", &["192.0.2.1"], &["2001:db8::1"]);
}

#[test]
fn sixty_five_thousand_addresses() {
    let Some(mut lab) = lab("filters::sixty_five_thousand_addresses") else {
        return;
    };
    let mut list: Vec<String> = (0..32_768_u32)
        .map(|n| format!("10.{}.{}.1", n >> 8, n & 255))
        .collect();
    list.extend((0..32_768_u32).map(|n| format!("'2001:db8::{n:x}:1'")));
    far_ends(
        &mut lab,
        &format!("cidrs: [{}], ports: [7777]", list.join(",")),
        &[
            "10.0.0.1",
            "10.127.255.1",
            "10.77.7.1",
            "2001:db8::0:1",
            "2001:db8::7fff:1",
        ],
        &["10.128.0.1", "10.0.0.2", "2001:db8::8000:1", "2001:db8::7fff:2"],
    );
    let mut prefixes: Vec<String> = (0..32_768_u32)
        .map(|n| format!("10.{}.{}.0/25", n >> 8, n & 255))
        .collect();
    prefixes.extend((0..32_768_u32).map(|n| format!("'2001:db8:{n:x}::/49'")));
    far_ends(
        &mut lab,
        &format!("cidrs: [{}], except: [10.7.7.7]", prefixes.join(",")),
        &["10.0.0.127", "10.127.255.1", "10.7.7.8", "2001:db8:7fff:7fff::1"],
        &["10.0.0.128", "10.128.0.1", "10.7.7.7", "2001:db8:7fff:8000::1"],
    );
}

#[test]
fn new_and_established_connections() {
    let Some(mut lab) = lab("filters::new_and_established_connections") else {
        return;
    };
    let segments = [
        (SYN, true),
        (tcp(flag::SYN | flag::ACK), true),
        (DATA, false),
        (tcp(flag::ACK), false),
        (tcp(flag::FIN | flag::ACK), false),
        (tcp(flag::RST), false),
    ];
    for asked in ["new", "established"] {
        let id = lab.inject(&lose(&format!("{{protocol: tcp, connections: {asked}}}")));
        for family in BOTH {
            for (transport, is_new) in segments {
                let named = is_new == (asked == "new");
                expect(
                    &lab,
                    &Packet::leaving(family, transport),
                    named,
                    &format!("{asked}: {transport:?}"),
                );
            }
            expect(
                &lab,
                &datagram(family),
                false,
                "a datagram belongs to no connection",
            );
        }
        lab.end(&[id]);
    }
}

#[test]
fn a_share_of_flows_is_sticky_and_the_same_in_both_directions() {
    const FLOWS: u64 = 2_000;
    let Some(mut lab) = lab("filters::a_share_of_flows_is_sticky_and_the_same_in_both_directions") else {
        return;
    };
    for family in BOTH {
        let id = lab.inject(&lose("{direction: both, flows: 20%}"));
        let mut hit = 0;
        for port in 1..=FLOWS as u16 {
            let leaving = datagram(family).with_ports(10_000 + port, 443).frame();
            let arriving = Packet::arriving(family, Transport::Udp)
                .with_ports(10_000 + port, 443)
                .frame();
            let fates = [
                (At::Egress, &leaving),
                (At::Ingress, &arriving),
                (At::Egress, &leaving),
            ]
            .map(|(at, frame)| is_lost(&lab.run(at, frame)));
            assert!(fates == [fates[0]; 3], "port {port}: {fates:?}");
            hit += u64::from(fates[0]);
        }
        let bounds = binomial_999(FLOWS, 0.2);
        assert!(bounds.contains(&hit), "{family:?}: {hit} not in {bounds:?}");
        lab.end(&[id]);
    }
}

#[test]
fn devices() {
    use chaos_daemon::sys::bpf::TestPacket;
    const LOOPBACK: u32 = 1;
    let Some(mut lab) = lab("filters::devices") else {
        return;
    };
    let (other, _) = veth((lab.near().netns(), "other0"), (lab.far().netns(), "other1"));
    let other = other.ifindex();
    let near = lab.near().ifindex();
    let frame = datagram(Family::V4).frame();
    let lost_at = |lab: &Lab| {
        let packet = |ifindex| TestPacket {
            frame: &frame,
            ifindex,
            ..TestPacket::default()
        };
        let packets = [near, other, LOOPBACK].map(packet);
        lab.run_all(At::Egress, packets)
            .iter()
            .map(is_lost)
            .collect::<Vec<_>>()
    };
    let id = lab.inject(&lose("{}"));
    assert_eq!(
        lost_at(&lab),
        [true, true, false],
        "a namespace: every device but the loopback"
    );
    lab.end(&[id]);
    let netns = lab.near().netns().path();
    let named = format!("{{interface: {{name: near0, netns: {}}}}}", netns.display());
    lab.inject(&lose("{}").target(named));
    assert_eq!(lost_at(&lab), [true, false, false], "a device: that one alone");
}

//! `reject`, `reset` and `corrupt` in their corners: every byte of an answer is compared.

use chaos_tests::packet::{At, Expect, Extension, Family, Injection, Packet, Transport, flag};
use chaos_tests::{Capture, Way};

use super::support::{BOTH, DATA, SYN, check, datagram, lab, owing, tcp};

fn reject(with: &str) -> Injection {
    Injection::new("{direction: both}", format!("{{reject: {{with: {with}}}}}"))
}

fn both_ways(family: Family, transport: Transport) -> [(At, Packet); 2] {
    [
        (At::Egress, Packet::leaving(family, transport)),
        (At::Ingress, Packet::arriving(family, transport)),
    ]
}

#[test]
fn segments_of_every_kind_are_refused_by_the_book() {
    let Some(mut lab) = lab("answers::segments_of_every_kind_are_refused_by_the_book") else {
        return;
    };
    lab.inject(&reject("reset"));
    let kinds = [
        flag::SYN,
        flag::SYN | flag::ACK,
        flag::ACK,
        flag::ACK | flag::PSH,
        flag::FIN | flag::ACK,
        flag::FIN,
        0,
    ];
    for family in BOTH {
        for flags in kinds {
            for payload in [0, 1, 1_400] {
                for (at, packet) in both_ways(family, tcp(flags)) {
                    let packet = packet.with_payload(payload);
                    let what = format!("{family:?} flags {flags:#x} payload {payload} {at:?}");
                    check(&lab, at, &packet, &Expect::Answered(packet.reset_back()), &what);
                }
            }
        }
        let end = Transport::Tcp {
            flags: flag::SYN,
            sequence: u32::MAX,
            acknowledgement: 0,
        };
        let wraps = Packet::leaving(family, end).with_payload(0);
        check(
            &lab,
            At::Egress,
            &wraps,
            &Expect::Answered(wraps.reset_back()),
            "sequence numbers wrap",
        );
        for flags in [flag::RST, flag::RST | flag::ACK] {
            for (at, packet) in both_ways(family, tcp(flags)) {
                check(
                    &lab,
                    at,
                    &packet,
                    &Expect::Untouched,
                    "a reset is not answered with one",
                );
            }
        }
    }
    assert_eq!(lab.stat("helper_failed"), 0);
}

#[test]
fn an_opening_segment_tells_nobody_else() {
    let Some(mut lab) = lab("answers::an_opening_segment_tells_nobody_else") else {
        return;
    };
    lab.inject(&reject("reset"));
    let far = Capture::start(lab.far(), Way::In, "tcp");
    for family in BOTH {
        let syn = Packet::leaving(family, SYN);
        check(&lab, At::Egress, &syn, &Expect::Answered(syn.reset_back()), "syn");
        let data = Packet::leaving(family, DATA);
        check(
            &lab,
            At::Egress,
            &data,
            &Expect::Answered(data.reset_back()),
            "data",
        );
    }
    let frames = far.wait_for(2);
    let want = BOTH.map(|family| Packet::leaving(family, DATA).reset_onward());
    assert_eq!(
        [&frames[0].bytes, &frames[1].bytes],
        [&want[0], &want[1]],
        "only data is passed on as a reset"
    );
}

/// A checksum can look like one that the device owes; here nobody owes any. For owed ones see `dns_messages` of the
/// netns suite: no test run has them.
#[test]
fn a_checksum_that_only_looks_owed_is_answered_with_a_right_one() {
    let Some(mut lab) = lab("answers::a_checksum_that_only_looks_owed_is_answered_with_a_right_one") else {
        return;
    };
    lab.inject(&reject("reset"));
    for family in BOTH {
        for transport in [SYN, DATA] {
            let packet = Packet::leaving(family, transport);
            let result = lab.run(At::Egress, &owing(&packet, packet.frame()));
            assert_eq!(result.verdict, 7);
            assert!(result.frame == packet.reset_back(), "{family:?} {transport:?}");
        }
    }
}

#[test]
fn what_is_not_tcp_gets_the_icmp_message() {
    let Some(mut lab) = lab("answers::what_is_not_tcp_gets_the_icmp_message") else {
        return;
    };
    for with in ["reset", "icmp"] {
        let id = lab.inject(&reject(with));
        for family in BOTH {
            for transport in [Transport::Udp, Transport::EchoRequest, Transport::Other(132)] {
                for (at, packet) in both_ways(family, transport) {
                    for packet in [
                        packet.clone(),
                        packet.clone().with_payload(8),
                        packet.clone().with_payload(8).with_ip_options(),
                        packet
                            .clone()
                            .with_payload(8)
                            .with_extensions(&[Extension::HopByHop, Extension::DestinationOptions]),
                        packet.with_payload(1_200),
                    ] {
                        let what = format!("{with}: {packet:?} {at:?}");
                        check(&lab, at, &packet, &Expect::Answered(packet.unreachable()), &what);
                    }
                }
            }
        }
        lab.end(&[id]);
    }
    assert_eq!(lab.stat("helper_failed"), 0);
}

#[test]
fn errors_and_groups_are_not_answered() {
    let Some(mut lab) = lab("answers::errors_and_groups_are_not_answered") else {
        return;
    };
    lab.inject(&reject("icmp"));
    for (family, kinds) in [(Family::V4, [0, 3, 11]), (Family::V6, [1, 2, 3])] {
        for kind in kinds {
            for (at, packet) in both_ways(family, Transport::Icmp { kind }) {
                let lost = if at == At::Egress {
                    Expect::Vanished
                } else {
                    Expect::Shot
                };
                check(&lab, at, &packet, &lost, &format!("{family:?} ICMP type {kind}"));
            }
        }
    }
    for group in ["224.0.0.251", "255.255.255.255", "ff02::fb"] {
        let packet = datagram(Family::V4).with_far(group.parse().expect("an address"));
        check(&lab, At::Egress, &packet, &Expect::Vanished, group);
    }
}

#[test]
fn reset_waits_for_the_handshake_and_spares_what_already_ends() {
    let Some(mut lab) = lab("answers::reset_waits_for_the_handshake_and_spares_what_already_ends") else {
        return;
    };
    lab.inject(&Injection::new("{direction: both}", "{reset: {}}"));
    for family in BOTH {
        for flags in [flag::SYN, flag::SYN | flag::ACK, flag::RST, flag::RST | flag::ACK] {
            for (at, packet) in both_ways(family, tcp(flags)) {
                check(
                    &lab,
                    at,
                    &packet,
                    &Expect::Untouched,
                    &format!("flags {flags:#x}"),
                );
            }
        }
        for flags in [flag::ACK, flag::ACK | flag::PSH, flag::FIN | flag::ACK] {
            for (at, packet) in both_ways(family, tcp(flags)) {
                let what = format!("flags {flags:#x} {at:?}");
                check(&lab, at, &packet, &Expect::Answered(packet.reset_back()), &what);
            }
        }
    }
    let v6 = Packet::leaving(Family::V6, DATA).with_extensions(&[Extension::HopByHop]);
    check(
        &lab,
        At::Egress,
        &v6,
        &Expect::Answered(v6.reset_back()),
        "behind an extension header",
    );
}

#[test]
fn the_chance_of_a_reset_is_the_flows() {
    let Some(mut lab) = lab("answers::the_chance_of_a_reset_is_the_flows") else {
        return;
    };
    lab.inject(&Injection::new("{direction: both}", "{reset: {chance: 50%}}"));
    let mut torn = 0;
    for port in 1..=1_000 {
        let packet = Packet::leaving(Family::V4, DATA).with_ports(10_000 + port, 443);
        let back = Packet::arriving(Family::V4, DATA).with_ports(10_000 + port, 443);
        let verdicts = [(At::Egress, &packet), (At::Ingress, &back), (At::Egress, &packet)]
            .map(|(at, packet)| lab.run(at, &packet.frame()).verdict);
        assert!(verdicts == [verdicts[0]; 3], "port {port}: {verdicts:?}");
        torn += u64::from(verdicts[0] == 7);
    }
    let bounds = chaos_tests::binomial_999(1_000, 0.5);
    assert!(bounds.contains(&torn), "{torn} not in {bounds:?}");
}

#[test]
fn a_datagram_without_a_checksum_gets_none() {
    let Some(mut lab) = lab("answers::a_datagram_without_a_checksum_gets_none") else {
        return;
    };
    lab.inject(&Injection::new("{}", "{corrupt: {checksum: fix}}"));
    let packet = datagram(Family::V4);
    let mut frame = packet.frame();
    let field = packet.l4() + 6;
    frame[field..field + 2].fill(0);
    let result = lab.run(At::Egress, &frame);
    let flips: u32 = frame
        .iter()
        .zip(&result.frame)
        .map(|(a, b)| (a ^ b).count_ones())
        .sum();
    assert_eq!((result.verdict as i32, flips), (-1, 1));
    assert_eq!(result.frame[field..field + 2], [0, 0]);
}

#[test]
fn a_packet_without_payload_cannot_be_corrupted() {
    let Some(mut lab) = lab("answers::a_packet_without_payload_cannot_be_corrupted") else {
        return;
    };
    let id = lab.inject(&Injection::new("{}", "{corrupt: {checksum: fix}}"));
    for family in BOTH {
        for transport in [
            tcp(flag::ACK),
            Transport::Udp,
            Transport::EchoRequest,
            Transport::Other(47),
        ] {
            let packet = Packet::leaving(family, transport).with_payload(0);
            check(&lab, At::Egress, &packet, &Expect::Untouched, "no payload");
        }
    }
    let count = lab.counters(id);
    assert_eq!((count.unseen, count.corrupted, count.matched), (8, 0, 8));
}

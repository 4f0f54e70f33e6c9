//! Headers of every shape: what is understood is faulted, what is not passes and is counted.

use chaos_tests::packet::{At, Expect, Extension, Family, Injection, Lab, Packet, Transport};

use super::support::{BOTH, DATA, SYN, check, datagram, lab};

const DOT1Q: u16 = 0x8100;
const DOT1AD: u16 = 0x88a8;

/// UDP to and from port 7777, lost.
fn lose_udp(direction: &str) -> Injection {
    let traffic = format!("{{direction: {direction}, protocol: udp, remote: {{ports: [7777]}}}}");
    Injection::new(traffic, "{partition: {}}")
}

#[test]
fn vlan_tags_in_the_frame() {
    let Some(mut lab) = lab("parsing::vlan_tags_in_the_frame") else {
        return;
    };
    lab.inject(&lose_udp("both"));
    lab.inject(&Injection::new("{protocol: tcp}", "{reject: {with: reset}}"));
    lab.inject(&Injection::new("{protocol: icmp}", "{corrupt: {checksum: fix}}"));
    for family in BOTH {
        for tags in [
            &[(DOT1Q, 5)][..],
            &[(DOT1AD, 5), (DOT1Q, 6)],
            &[(DOT1Q, 5), (DOT1Q, 4094)],
        ] {
            let what = format!("{family:?} {tags:x?}");
            let udp = datagram(family).with_tags(tags);
            check(&lab, At::Egress, &udp, &Expect::Vanished, &what);
            check(
                &lab,
                At::Egress,
                &udp.with_ports(40_000, 7_778),
                &Expect::Untouched,
                &what,
            );
            let arriving = Packet::arriving(family, Transport::Udp).with_tags(tags);
            check(&lab, At::Ingress, &arriving, &Expect::Shot, &what);
            let syn = Packet::leaving(family, SYN).with_tags(tags);
            check(&lab, At::Egress, &syn, &Expect::Answered(syn.reset_back()), &what);
            let echo = Packet::leaving(family, Transport::EchoRequest).with_tags(tags);
            check(&lab, At::Egress, &echo, &Expect::Corrupted, &what);
        }
        let three = datagram(family).with_tags(&[(DOT1AD, 1), (DOT1Q, 2), (DOT1Q, 3)]);
        check(
            &lab,
            At::Egress,
            &three,
            &Expect::Untouched,
            "three tags are no IP we know",
        );
    }
}

#[test]
fn ipv4_options_and_ipv6_extension_headers() {
    use Extension::{DestinationOptions, HopByHop, Routing};
    let Some(mut lab) = lab("parsing::ipv4_options_and_ipv6_extension_headers") else {
        return;
    };
    lab.inject(&lose_udp("both"));
    lab.inject(&Injection::new("{protocol: tcp}", "{reject: {with: reset}}"));
    lab.inject(&Injection::new("{protocol: icmp}", "{corrupt: {checksum: fix}}"));
    let shapes = |transport| {
        let v6 = Packet::leaving(Family::V6, transport);
        let mut all = vec![Packet::leaving(Family::V4, transport).with_ip_options()];
        for list in [
            &[HopByHop][..],
            &[Routing],
            &[DestinationOptions],
            &[HopByHop, DestinationOptions, Routing],
        ] {
            all.push(v6.clone().with_extensions(list));
        }
        all
    };
    for packet in shapes(Transport::Udp) {
        let what = format!("{packet:?}");
        check(&lab, At::Egress, &packet, &Expect::Vanished, &what);
        check(
            &lab,
            At::Egress,
            &packet.with_ports(40_000, 9),
            &Expect::Untouched,
            &what,
        );
    }
    for packet in shapes(DATA) {
        check(
            &lab,
            At::Egress,
            &packet,
            &Expect::Answered(packet.reset_back()),
            &format!("{packet:?}"),
        );
    }
    for packet in shapes(Transport::EchoRequest) {
        check(
            &lab,
            At::Egress,
            &packet,
            &Expect::Corrupted,
            &format!("{packet:?}"),
        );
    }
    assert_eq!(lab.stat("unclassified"), 0);
    assert_eq!(lab.stat("helper_failed"), 0);
}

#[test]
fn fragments_follow_their_first() {
    let Some(mut lab) = lab("parsing::fragments_follow_their_first") else {
        return;
    };
    lab.inject(&lose_udp("both"));
    for family in BOTH {
        let first = |id| datagram(family).as_fragment(id, 0, true);
        let later = |id| datagram(family).as_fragment(id, 9, false);
        let what = format!("{family:?}");
        // Its ports were never seen: nobody can say whose it is.
        check(&lab, At::Egress, &later(1), &Expect::Untouched, &what);
        check(&lab, At::Egress, &first(2), &Expect::Vanished, &what);
        check(&lab, At::Egress, &later(2), &Expect::Vanished, &what);
        check(&lab, At::Egress, &later(3), &Expect::Untouched, &what);
        let other = first(4).with_ports(40_000, 9);
        check(&lab, At::Egress, &other, &Expect::Untouched, &what);
        check(&lab, At::Egress, &later(4), &Expect::Untouched, &what);
        let arriving = Packet::arriving(family, Transport::Udp);
        check(
            &lab,
            At::Ingress,
            &arriving.clone().as_fragment(5, 0, true),
            &Expect::Shot,
            &what,
        );
        check(
            &lab,
            At::Ingress,
            &arriving.as_fragment(5, 9, false),
            &Expect::Shot,
            &what,
        );
    }
    assert_eq!(lab.stat("orphan_fragments"), 2 * BOTH.len() as u64);
}

#[test]
fn an_atomic_fragment_is_a_whole_packet() {
    let Some(mut lab) = lab("parsing::an_atomic_fragment_is_a_whole_packet") else {
        return;
    };
    lab.inject(&Injection::new(
        "{protocol: udp, remote: {ports: [7777]}}",
        "{corrupt: {checksum: fix}}",
    ));
    // RFC 6946: a fragment header with offset 0 and nothing to follow.
    let atomic = datagram(Family::V6).as_fragment(7, 0, false);
    check(&lab, At::Egress, &atomic, &Expect::Corrupted, "atomic");
    assert_eq!(lab.stat("orphan_fragments"), 0);
}

#[test]
fn what_changes_packets_leaves_fragments_alone_or_loses_them() {
    let Some(mut lab) = lab("parsing::what_changes_packets_leaves_fragments_alone_or_loses_them") else {
        return;
    };
    let corrupt = lab.inject(&Injection::new("{protocol: udp}", "{corrupt: {checksum: fix}}"));
    for family in BOTH {
        check(
            &lab,
            At::Egress,
            &datagram(family).as_fragment(1, 0, true),
            &Expect::Untouched,
            "corrupt",
        );
    }
    assert_eq!(lab.counters(corrupt).unseen, 2);
    lab.end(&[corrupt]);
    lab.inject(&Injection::new("{protocol: udp}", "{reject: {with: icmp}}"));
    for family in BOTH {
        check(
            &lab,
            At::Egress,
            &datagram(family).as_fragment(1, 0, true),
            &Expect::Vanished,
            "reject",
        );
    }
}

#[test]
fn frames_cut_short_pass_and_are_counted() {
    let Some(mut lab) = lab("parsing::frames_cut_short_pass_and_are_counted") else {
        return;
    };
    lab.inject(&Injection::new("{direction: both}", "{partition: {}}"));
    let mut unclassified = 0;
    let mut cut = |packet: &Packet, length: usize| {
        let frame = &packet.frame()[..length];
        for at in [At::Egress, At::Ingress] {
            let result = lab.run(at, frame);
            assert_eq!(
                (result.verdict as i32, &result.frame[..]),
                (-1, frame),
                "{packet:?} cut to {length} at {at:?}"
            );
            unclassified += 1;
        }
        assert_eq!(
            lab.stat("unclassified"),
            unclassified,
            "{packet:?} cut to {length}"
        );
    };
    for family in BOTH {
        for transport in [DATA, Transport::Udp] {
            let packet = Packet::leaving(family, transport);
            for length in [packet.l4(), packet.l4() + 3] {
                cut(&packet, length);
            }
            // The kernel's test run itself refuses an IP header that is cut, unless a tag stands before it.
            let tagged = packet.with_tags(&[(DOT1Q, 5)]);
            for length in [tagged.l3() + 1, tagged.l4() - 1] {
                cut(&tagged, length);
            }
        }
        let echo = Packet::leaving(family, Transport::EchoRequest);
        cut(&echo, echo.l4());
    }
    let hops = datagram(Family::V6).with_extensions(&[Extension::HopByHop]);
    cut(&hops, 14 + 40 + 1);
    let mut lies = datagram(Family::V4).frame();
    lies[14] = 0x42;
    assert_eq!(
        lab.run(At::Egress, &lies).verdict as i32,
        -1,
        "a header of eight bytes"
    );
    lies[14] = 0x65;
    assert_eq!(
        lab.run(At::Egress, &lies).verdict as i32,
        -1,
        "IPv6 under IPv4's type"
    );
    assert_eq!(lab.stat("unclassified"), unclassified + 2);
    whole_ones_are_lost(&lab);
}

fn whole_ones_are_lost(lab: &Lab) {
    for family in BOTH {
        check(lab, At::Egress, &datagram(family), &Expect::Vanished, "whole");
        check(
            lab,
            At::Egress,
            &Packet::leaving(family, Transport::Other(47)),
            &Expect::Vanished,
            "GRE",
        );
    }
}

#[test]
fn a_filter_of_ports_leaves_protocols_without_ports_alone() {
    let Some(mut lab) = lab("parsing::a_filter_of_ports_leaves_protocols_without_ports_alone") else {
        return;
    };
    lab.inject(&Injection::new("{remote: {ports: [7777]}}", "{partition: {}}"));
    for family in BOTH {
        check(&lab, At::Egress, &datagram(family), &Expect::Vanished, "udp");
        for transport in [Transport::EchoRequest, Transport::Other(47)] {
            check(
                &lab,
                At::Egress,
                &Packet::leaving(family, transport),
                &Expect::Untouched,
                "no ports",
            );
        }
    }
}

#[test]
fn padding_behind_a_small_packet_is_no_payload() {
    let Some(mut lab) = lab("parsing::padding_behind_a_small_packet_is_no_payload") else {
        return;
    };
    let id = lab.inject(&Injection::new("{}", "{corrupt: {checksum: fix}}"));
    for family in BOTH {
        let empty = datagram(family).with_payload(0).with_padding(18);
        for _ in 0..50 {
            check(
                &lab,
                At::Egress,
                &empty,
                &Expect::Untouched,
                "nothing but padding",
            );
        }
    }
    assert_eq!(lab.counters(id).unseen, 100);
}

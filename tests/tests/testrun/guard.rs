//! What no fault may touch.

use chaos_daemon::safety::guard::GuardList;
use chaos_tests::packet::{At, Expect, FAR_MAC, Family, Injection, NEAR_MAC, Packet, Settings, Transport};

use super::support::{BOTH, DATA, SYN, check, datagram, lab, lab_with};

fn everything() -> Injection {
    Injection::new("{direction: both}", "{partition: {}}")
}

#[test]
fn arp_passes() {
    let Some(mut lab) = lab("guard::arp_passes") else {
        return;
    };
    lab.inject(&everything());
    let mut arp = [FAR_MAC, NEAR_MAC].concat();
    arp.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
    arp.extend(NEAR_MAC);
    arp.extend([10, 99, 0, 1, 0, 0, 0, 0, 0, 0, 10, 99, 0, 2]);
    for at in [At::Egress, At::Ingress] {
        let result = lab.run(at, &arp);
        assert_eq!((result.verdict as i32, &result.frame), (-1, &arp));
    }
    assert_eq!(
        lab.stat("unclassified"),
        0,
        "another protocol is not a broken one"
    );
}

#[test]
fn neighbour_discovery_passes_and_other_icmpv6_does_not() {
    let Some(mut lab) = lab("guard::neighbour_discovery_passes_and_other_icmpv6_does_not") else {
        return;
    };
    lab.inject(&everything());
    for kind in 133..=137 {
        let leaving = Packet::leaving(Family::V6, Transport::Icmp { kind });
        check(&lab, At::Egress, &leaving, &Expect::Untouched, "discovery leaves");
        let arriving = Packet::arriving(Family::V6, Transport::Icmp { kind });
        check(
            &lab,
            At::Ingress,
            &arriving,
            &Expect::Untouched,
            "discovery arrives",
        );
        let v4 = Packet::leaving(Family::V4, Transport::Icmp { kind });
        check(
            &lab,
            At::Egress,
            &v4,
            &Expect::Vanished,
            "the same number in IPv4 is none",
        );
    }
    assert_eq!(lab.stat("guarded"), 10);
    for kind in [132, 138] {
        let other = Packet::leaving(Family::V6, Transport::Icmp { kind });
        check(&lab, At::Egress, &other, &Expect::Vanished, "not discovery");
    }
}

#[test]
fn ssh_passes_at_either_end_and_only_in_tcp() {
    let Some(mut lab) = lab("guard::ssh_passes_at_either_end_and_only_in_tcp") else {
        return;
    };
    let id = lab.inject(&everything());
    for family in BOTH {
        for transport in [SYN, DATA] {
            for ports in [(22, 40_000), (40_000, 22)] {
                let leaving = Packet::leaving(family, transport).with_ports(ports.0, ports.1);
                check(&lab, At::Egress, &leaving, &Expect::Untouched, "ssh leaves");
                let arriving = Packet::arriving(family, transport).with_ports(ports.0, ports.1);
                check(&lab, At::Ingress, &arriving, &Expect::Untouched, "ssh arrives");
            }
        }
        let udp = datagram(family).with_ports(40_000, 22);
        check(&lab, At::Egress, &udp, &Expect::Vanished, "udp 22 is not ssh");
        let near = Packet::leaving(family, DATA).with_ports(40_000, 23);
        check(&lab, At::Egress, &near, &Expect::Vanished, "23 is not ssh");
    }
    assert_eq!(lab.stat("guarded"), 16);
    assert_eq!(lab.counters(id).matched, 4, "guarded packets are not the fault's");
}

#[test]
fn configured_ports_and_networks_pass() {
    let guard = GuardList::with(
        &["etcd=tcp/2379-2380".to_owned()],
        &["backup=10.9.0.0/16".to_owned(), "six=2001:db8:9::/48".to_owned()],
    )
    .expect("a guard list");
    for xdp in [false, true] {
        let settings = Settings {
            guard: guard.clone(),
            xdp,
            ..Settings::default()
        };
        let Some(mut lab) = lab_with("guard::configured_ports_and_networks_pass", settings) else {
            return;
        };
        lab.inject(&everything());
        let (arrive, lost, pass) = if xdp {
            (At::Xdp, Expect::XdpDrop, Expect::XdpPass)
        } else {
            (At::Ingress, Expect::Shot, Expect::Untouched)
        };
        for (far, guarded) in [
            ("10.9.200.1", true),
            ("10.10.0.1", false),
            ("2001:db8:9::1", true),
            ("2001:db8:a::1", false),
        ] {
            let far = far.parse().expect("an address");
            let (out, back) = if guarded {
                (&Expect::Untouched, &pass)
            } else {
                (&Expect::Vanished, &lost)
            };
            check(
                &lab,
                At::Egress,
                &datagram(Family::V4).with_far(far),
                out,
                &format!("to {far}"),
            );
            let arriving = Packet::arriving(Family::V4, Transport::Udp).with_far(far);
            check(&lab, arrive, &arriving, back, &format!("from {far}"));
        }
        for (port, guarded) in [(2378, false), (2379, true), (2380, true), (2381, false)] {
            let expect = if guarded {
                Expect::Untouched
            } else {
                Expect::Vanished
            };
            let packet = Packet::leaving(Family::V6, SYN).with_ports(40_000, port);
            check(&lab, At::Egress, &packet, &expect, &format!("to port {port}"));
        }
    }
}

#[test]
fn a_guard_is_lifted_for_one_fault_alone_and_one_by_one() {
    let Some(mut lab) = lab("guard::a_guard_is_lifted_for_one_fault_alone_and_one_by_one") else {
        return;
    };
    let ssh = Packet::leaving(Family::V4, SYN).with_ports(40_000, 22);
    let metadata = "169.254.169.254".parse().expect("an address");
    let both = Packet::leaving(Family::V4, SYN)
        .with_ports(40_000, 22)
        .with_far(metadata);
    lab.inject(&everything());
    check(&lab, At::Egress, &ssh, &Expect::Untouched, "guarded");
    let id = lab.inject(&everything().unguard("ssh"));
    check(&lab, At::Egress, &ssh, &Expect::Vanished, "lifted");
    check(
        &lab,
        At::Egress,
        &both,
        &Expect::Untouched,
        "two guards, one lifted",
    );
    let web = Packet::leaving(Family::V4, SYN)
        .with_ports(40_000, 80)
        .with_far(metadata);
    check(&lab, At::Egress, &web, &Expect::Untouched, "the other guard");
    let near = Packet::leaving(Family::V4, SYN)
        .with_ports(40_000, 80)
        .with_far("169.254.169.253".parse().expect("an address"));
    check(&lab, At::Egress, &near, &Expect::Vanished, "its neighbour");
    let ec2 = Packet::leaving(Family::V6, SYN)
        .with_ports(40_000, 80)
        .with_far("fd00:ec2::254".parse().expect("an address"));
    check(&lab, At::Egress, &ec2, &Expect::Untouched, "over IPv6");
    assert_eq!(
        lab.counters(id).matched,
        1,
        "by the fault that lifted it, and nothing else"
    );
}

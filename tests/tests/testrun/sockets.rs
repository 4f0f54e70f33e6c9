//! Whose packets: the cgroup or process that a packet's socket belongs to.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use chaos_tests::packet::{At, Expect, Family, Injection, Packet, Transport};
use chaos_tests::{Cgroup, Process, eventually};

use super::support::{BOTH, SYN, check, datagram, lab};
use chaos_tests::packet::Inside;

fn lose_all() -> Injection {
    Injection::new("{direction: both}", "{partition: {}}")
}

fn on(cgroup: &Cgroup) -> Injection {
    lose_all().target(format!("{{cgroup: {}}}", cgroup.path()))
}

#[test]
fn a_cgroup_and_everything_below_it() {
    let Some(mut lab) = lab("sockets::a_cgroup_and_everything_below_it") else {
        return;
    };
    let parent = Cgroup::new();
    let (child, sibling) = (parent.child("child"), parent.child("sibling"));
    // Somebody lives in the cgroups, and in the lab: a cgroup is where its processes are.
    let resident = |cgroup: &Cgroup| Process::spawn(lab.near().netns(), Some(cgroup), &["sleep", "600"]);
    let _residents = [resident(&child), resident(&sibling)];
    let in_cgroup = |cgroup: &Cgroup| {
        let file = cgroup.dir().join("cgroup.procs");
        eventually(
            std::time::Duration::from_secs(5),
            "the resident has moved in",
            || std::fs::read_to_string(&file).is_ok_and(|text| !text.is_empty()),
        );
    };
    in_cgroup(&child);
    in_cgroup(&sibling);
    for (target, in_child, in_sibling) in [
        (&parent, true, true),
        (&child, true, false),
        (&sibling, false, true),
    ] {
        let id = lab.inject(&on(target));
        let places = [
            (Some(&child), in_child),
            (Some(&sibling), in_sibling),
            (None, false),
        ];
        for (place, named) in places {
            // The socket of a test run belongs to the process that asks for the run.
            let inside = place.map(Inside::enter);
            let expect = if named {
                Expect::Vanished
            } else {
                Expect::Untouched
            };
            for family in BOTH {
                let what = format!(
                    "fault on {}, packet from {:?}",
                    target.path(),
                    place.map(Cgroup::path)
                );
                check(&lab, At::Egress, &datagram(family), &expect, &what);
            }
            drop(inside);
        }
        lab.end(&[id]);
    }
}

#[test]
fn what_arrives_belongs_to_the_cgroup_of_the_socket_it_is_for() {
    let Some(mut lab) = lab("sockets::what_arrives_belongs_to_the_cgroup_of_the_socket_it_is_for") else {
        return;
    };
    let cgroup = Cgroup::new();
    let child = cgroup.child("child");
    let _resident = Process::spawn(lab.near().netns(), Some(&child), &["sleep", "600"]);
    let file = child.dir().join("cgroup.procs");
    eventually(
        std::time::Duration::from_secs(5),
        "the resident has moved in",
        || std::fs::read_to_string(&file).is_ok_and(|text| !text.is_empty()),
    );
    lab.inject(&on(&cgroup));
    let open = |port: u16| {
        lab.near().netns().enter(|| {
            let v4 = (Ipv4Addr::UNSPECIFIED, port);
            let v6 = (std::net::Ipv6Addr::UNSPECIFIED, port + 1);
            let udp = [
                UdpSocket::bind(v4).expect("a free port"),
                UdpSocket::bind(v6).expect("a free port"),
            ];
            let tcp = [
                TcpListener::bind(v4).expect("a free port"),
                TcpListener::bind(v6).expect("a free port"),
            ];
            (udp, tcp)
        })
    };
    let inside = Inside::enter(&child);
    let _mine = open(5_000);
    drop(inside);
    let _theirs = open(6_000);
    for (family, offset) in [(Family::V4, 0), (Family::V6, 1)] {
        for (port, expect) in [
            (5_000, Expect::Shot),
            (6_000, Expect::Untouched),
            (7_000, Expect::Untouched),
        ] {
            for transport in [Transport::Udp, SYN] {
                let packet = Packet::arriving(family, transport).with_ports(port + offset, 9);
                check(
                    &lab,
                    At::Ingress,
                    &packet,
                    &expect,
                    &format!("{transport:?} for port {}", port + offset),
                );
            }
        }
        // No socket is asked for these.
        let echo = Packet::arriving(family, Transport::EchoRequest);
        check(&lab, At::Ingress, &echo, &Expect::Untouched, "a ping is nobody's");
    }
}

#[test]
fn what_arrives_for_a_process_that_listened_before() {
    const SERVER: &str = "import signal, socket\n\
        s = [socket.socket(f, socket.SOCK_DGRAM) for f in (socket.AF_INET, socket.AF_INET6)]\n\
        s[0].bind(('0.0.0.0', 5000)); s[1].bind(('::', 5001)); print('up', flush=True); signal.pause()";
    let Some(mut lab) = lab("sockets::what_arrives_for_a_process_that_listened_before") else {
        return;
    };
    let server = Process::spawn(lab.near().netns(), None, &["python3", "-c", SERVER]);
    eventually(std::time::Duration::from_secs(10), "the server listens", || {
        server.stdout().contains("up")
    });
    let _other = lab
        .near()
        .netns()
        .enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 6_000)))
        .expect("a free port");
    lab.inject(&lose_all().target(format!("{{pid: {}}}", server.pid())));
    for (family, port, expect) in [
        (Family::V4, 5_000, Expect::Shot),
        (Family::V6, 5_001, Expect::Shot),
        (Family::V4, 6_000, Expect::Untouched),
        (Family::V6, 6_000, Expect::Untouched),
    ] {
        let packet = Packet::arriving(family, Transport::Udp).with_ports(port, 9);
        check(&lab, At::Ingress, &packet, &expect, &format!("port {port}"));
    }
    check(
        &lab,
        At::Egress,
        &datagram(Family::V4),
        &Expect::Untouched,
        "the test's own socket is another's",
    );
}

//! Changes while packets pass: at one instant, counters going on.

use chaos_tests::packet::{At, Expect, Family, Injection, Packet, Transport, is_lost};

use super::support::{BOTH, check, datagram, lab};

#[test]
fn a_change_acts_at_once_and_the_counters_go_on() {
    let Some(mut lab) = lab("change::a_change_acts_at_once_and_the_counters_go_on") else {
        return;
    };
    let lose = Injection::new("{direction: egress, protocol: udp}", "{partition: {}}");
    let id = lab.inject(&lose);
    check(
        &lab,
        At::Egress,
        &datagram(Family::V4),
        &Expect::Vanished,
        "before",
    );
    lab.change(
        id,
        &Injection::new("{direction: egress, protocol: udp}", "{corrupt: {checksum: fix}}"),
    );
    check(
        &lab,
        At::Egress,
        &datagram(Family::V4),
        &Expect::Corrupted,
        "another fault",
    );
    lab.change(
        id,
        &Injection::new("{direction: egress, protocol: icmp}", "{partition: {}}"),
    );
    check(
        &lab,
        At::Egress,
        &datagram(Family::V4),
        &Expect::Untouched,
        "another protocol",
    );
    let echo = Packet::leaving(Family::V6, Transport::EchoRequest);
    check(&lab, At::Egress, &echo, &Expect::Vanished, "another protocol");
    lab.change(id, &Injection::new("{direction: ingress}", "{partition: {}}"));
    check(
        &lab,
        At::Ingress,
        &Packet::arriving(Family::V4, Transport::Udp),
        &Expect::Shot,
        "another direction",
    );
    check(&lab, At::Egress, &echo, &Expect::Untouched, "another direction");
    let count = lab.counters(id);
    assert_eq!((count.matched, count.dropped, count.corrupted), (4, 3, 1));
}

#[test]
fn an_unchanged_model_goes_on_where_it_was() {
    let Some(mut lab) = lab("change::an_unchanged_model_goes_on_where_it_was") else {
        return;
    };
    let every =
        |ports: &str| Injection::new(format!("{{remote: {{ports: [{ports}]}}}}"), "{drop: {every: 5}}");
    let id = lab.inject(&every("7777"));
    let frame = datagram(Family::V4).frame();
    let lost: Vec<bool> = (1..=20)
        .map(|n| {
            if n == 9 {
                lab.change(id, &every("7777, 8888"));
            }
            is_lost(&lab.run(At::Egress, &frame))
        })
        .collect();
    let want: Vec<bool> = (1..=20).map(|n| n % 5 == 0).collect();
    assert_eq!(lost, want, "every fifth, the change notwithstanding");
}

#[test]
fn ended_faults_end_and_others_stay() {
    let Some(mut lab) = lab("change::ended_faults_end_and_others_stay") else {
        return;
    };
    let ids = lab.inject_all(&[
        Injection::new("{remote: {ports: [1001]}}", "{partition: {}}"),
        Injection::new("{remote: {ports: [1002]}}", "{partition: {}}"),
        Injection::new("{remote: {ports: [1001-1003]}}", "{corrupt: {checksum: fix}}"),
    ]);
    let expect = |lab: &_, want: [&Expect; 3]| {
        for (port, want) in [1001, 1002, 1003].into_iter().zip(want) {
            for family in BOTH {
                check(
                    lab,
                    At::Egress,
                    &datagram(family).with_ports(1, port),
                    want,
                    &format!("port {port}"),
                );
            }
        }
    };
    expect(&lab, [&Expect::Vanished, &Expect::Vanished, &Expect::Corrupted]);
    lab.end(&ids[..1]);
    expect(&lab, [&Expect::Corrupted, &Expect::Vanished, &Expect::Corrupted]);
    lab.end(&ids[2..]);
    expect(&lab, [&Expect::Untouched, &Expect::Vanished, &Expect::Untouched]);
}

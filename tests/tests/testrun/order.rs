//! Several faults on one packet: in the order of their creation, and within one spec in the order of its fields.

use chaos_tests::packet::{At, Expect, Family, Injection, Packet, Transport, flipped_bit};

use super::support::{DATA, check, datagram, lab};

fn corrupt(seed: u64) -> Injection {
    Injection::new("{}", "{corrupt: {checksum: fix}}").seed(seed)
}

#[test]
fn the_older_fault_comes_first() {
    let Some(mut lab) = lab("order::the_older_fault_comes_first") else {
        return;
    };
    let packet = Packet::leaving(Family::V4, DATA);
    let lose = Injection::new("{}", "{drop: {chance: 100%}}");
    let refuse = Injection::new("{}", "{reject: {with: reset}}");
    let ids = lab.inject_all(&[lose.clone(), refuse.clone()]);
    check(&lab, At::Egress, &packet, &Expect::Vanished, "drop before reject");
    let counted: Vec<u64> = ids.iter().map(|id| lab.counters(*id).matched).collect();
    assert_eq!(counted, [1, 0], "what is lost never gets to the second");
    lab.end(&ids);
    let ids = lab.inject_all(&[refuse, lose]);
    check(
        &lab,
        At::Egress,
        &packet,
        &Expect::Answered(packet.reset_back()),
        "reject before drop",
    );
    let counted: Vec<u64> = ids.iter().map(|id| lab.counters(*id).matched).collect();
    assert_eq!(counted, [1, 0]);
}

#[test]
fn the_order_of_creation_holds_across_scopes_and_shapes() {
    let Some(mut lab) = lab("order::the_order_of_creation_holds_across_scopes_and_shapes") else {
        return;
    };
    // Filed in four different cells: the search finds them in another order than that of creation.
    let filters = [
        "{remote: {cidrs: [10.99.0.2], ports: [7777]}}",
        "{remote: {ports: [7777]}}",
        "{}",
        "{local: {ports: [40000]}}",
    ];
    for first in 0..filters.len() {
        let injections: Vec<Injection> = (0..filters.len())
            .map(|n| Injection::new(filters[(first + n) % filters.len()], "{partition: {}}"))
            .collect();
        let ids = lab.inject_all(&injections);
        check(
            &lab,
            At::Egress,
            &datagram(Family::V4),
            &Expect::Vanished,
            filters[first],
        );
        let matched: Vec<u64> = ids.iter().map(|id| lab.counters(*id).matched).collect();
        assert_eq!(matched, [1, 0, 0, 0], "{} was created first", filters[first]);
        lab.end(&ids);
    }
}

#[test]
fn two_corruptions_flip_two_bits_and_each_is_what_it_is_alone() {
    let Some(mut lab) = lab("order::two_corruptions_flip_two_bits_and_each_is_what_it_is_alone") else {
        return;
    };
    let packet = datagram(Family::V6).with_payload(400);
    let flip = |lab: &chaos_tests::packet::Lab| {
        flipped_bit(&packet, &lab.run(At::Egress, &packet.frame()).frame).unwrap_or_else(|e| panic!("{e}"))
    };
    let id = lab.inject(&corrupt(1));
    let first = flip(&lab);
    lab.end(&[id]);
    let id = lab.inject(&corrupt(2));
    let second = flip(&lab);
    lab.end(&[id]);
    assert_ne!(first, second);
    lab.inject_all(&[corrupt(1), corrupt(2)]);
    let found = lab.run(At::Egress, &packet.frame()).frame;
    let sent = packet.frame();
    let at = packet.payload_at();
    let flips: Vec<usize> = (at * 8..sent.len() * 8)
        .filter(|bit| (sent[bit / 8] ^ found[bit / 8]) & (1 << (bit % 8)) != 0)
        .map(|bit| bit - at * 8)
        .collect();
    let mut want = [first, second];
    want.sort_unstable();
    assert_eq!(flips, want);
}

#[test]
fn within_one_spec_the_order_is_that_of_its_fields() {
    let Some(mut lab) = lab("order::within_one_spec_the_order_is_that_of_its_fields") else {
        return;
    };
    let udp = datagram(Family::V4);
    let both = "{drop: {chance: 100%}, reject: {with: icmp, chance: 50%}}";
    let id = lab.inject(&Injection::new("{protocol: udp}", both));
    for _ in 0..400 {
        lab.run(At::Egress, &udp.frame());
    }
    let count = lab.counters(id);
    let bounds = chaos_tests::binomial_999(400, 0.5);
    assert!(
        bounds.contains(&count.rejected),
        "drop gets what reject leaves: {count:?}"
    );
    assert_eq!(count.rejected + count.dropped, 400);
    lab.end(&[id]);
    let id = lab.inject(&Injection::new(
        "{}",
        "{corrupt: {checksum: fix}, drop: {every: 2}}",
    ));
    check(&lab, At::Egress, &udp, &Expect::Corrupted, "not the second");
    check(&lab, At::Egress, &udp, &Expect::Vanished, "the second");
    let count = lab.counters(id);
    assert_eq!((count.dropped, count.corrupted, count.matched), (1, 1, 2));
}

#[test]
fn more_faults_than_one_packet_can_match_are_counted() {
    let Some(mut lab) = lab("order::more_faults_than_one_packet_can_match_are_counted") else {
        return;
    };
    let nothing = Injection::new("{}", "{drop: {chance: 0%}}");
    let ids = lab.inject_all(&vec![nothing; 17]);
    check(
        &lab,
        At::Egress,
        &datagram(Family::V4),
        &Expect::Untouched,
        "seventeen",
    );
    assert_eq!(lab.stat("crowded"), 1);
    let matched: Vec<u64> = ids.iter().map(|id| lab.counters(*id).matched).collect();
    assert_eq!(matched[..16], [1; 16]);
    assert_eq!(matched[16], 0, "the youngest is left out");
    assert!(lab.try_inject(&Injection::new("{}", "{partition: {}}")).is_ok());
    check(
        &lab,
        At::Egress,
        &Packet::leaving(Family::V4, Transport::EchoRequest),
        &Expect::Untouched,
        "left out",
    );
}

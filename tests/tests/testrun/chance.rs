//! Chances: replayable, equal to the host's arithmetic, and within 99.9 % bounds of what was asked.

use chaos_daemon::sys::bpf::TestPacket;
use chaos_ebpf_common::abi::{Loss, loss};
use chaos_ebpf_common::loss::{as_netem, beginning, correlated, step};
use chaos_ebpf_common::rng::{Stream, hit};
use chaos_tests::binomial_999;
use chaos_tests::packet::{At, Family, Injection, Lab, Packet, Settings, Transport, is_lost};

use super::support::{BOTH, DATA, datagram, lab, lab_with};

const ONE: u64 = 1 << 32;

/// The share as the parser makes it a threshold.
fn share(percent: f64) -> u64 {
    (percent / 100.0 * ONE as f64).round() as u64
}

/// The fates of packets with these numbers of wire packets.
fn fates(lab: &Lab, at: At, segments: &[u32]) -> Vec<bool> {
    let packet = match at {
        At::Egress => datagram(Family::V4),
        _ => Packet::arriving(Family::V4, Transport::Udp),
    };
    let frame = packet.frame();
    let one = |segments: &u32| TestPacket {
        frame: &frame,
        gso_segs: *segments,
        gso_size: if *segments > 0 { 1_000 } else { 0 },
        ..TestPacket::default()
    };
    lab.run_all(at, segments.iter().map(one).collect::<Vec<_>>())
        .iter()
        .map(is_lost)
        .collect()
}

/// What the host's own run of the model says.
/// What the host says of the `place`-th place of a fault: each has its own part of the sequence.
fn host(model: &Loss, seed: u64, place: u64, segments: &[u32]) -> Vec<bool> {
    let (mut sequence, mut chain) = (place << 48, beginning(model, seed, place));
    segments
        .iter()
        .map(|n| {
            let n = (*n).max(1);
            let (lost, next) = step(model, seed, sequence, n, chain);
            sequence += u64::from(n);
            chain = next;
            lost
        })
        .collect()
}

#[test]
fn every_model_says_what_the_host_says() {
    let Some(mut lab) = lab("chance::every_model_says_what_the_host_says") else {
        return;
    };
    let chain = Loss {
        chance: share(5.0),
        leave: share(30.0),
        bad: ONE - share(10.0),
        good: ONE - share(99.0),
        model: loss::GILBERT_ELLIOTT,
        ..Loss::default()
    };
    let models = [
        (
            "{drop: {chance: 30%}}",
            Loss {
                chance: share(30.0),
                ..Loss::default()
            },
        ),
        (
            "{drop: {chance: 20%, correlation: 75%}}",
            correlated(share(20.0), share(75.0)),
        ),
        (
            "{drop: {chance: 40%, correlation: 50%, compat: netem}}",
            as_netem(share(40.0), share(50.0)),
        ),
        (
            "{drop: {every: 7}}",
            Loss {
                every: 7,
                model: loss::EVERY,
                ..Loss::default()
            },
        ),
        ("{drop: {gilbertElliott: {p: 5%, r: 30%, h: 10%, k: 99%}}}", chain),
    ];
    let singles = vec![0; 2_000];
    let mixed: Vec<u32> = (0..1_000).map(|n| [0, 2, 40, 1, 65, 7][n % 6]).collect();
    for (fault, model) in models {
        for seed in [0, 42, u64::MAX] {
            for segments in [&singles, &mixed] {
                let id = lab.inject(&Injection::new("{direction: both}", fault).seed(seed));
                let leaving = fates(&lab, At::Egress, segments);
                let arriving = fates(&lab, At::Ingress, segments);
                assert!(
                    leaving == host(&model, seed, 0, segments),
                    "{fault}, seed {seed}, egress"
                );
                assert!(
                    arriving == host(&model, seed, 1, segments),
                    "{fault}, seed {seed}, ingress"
                );
                if !fault.contains("every") {
                    assert_ne!(
                        leaving, arriving,
                        "{fault}: both directions decide for themselves"
                    );
                }
                let wire: u64 = segments.iter().map(|n| u64::from(*n).max(1)).sum();
                assert_eq!(lab.counters(id).matched, 2 * wire);
                lab.end(&[id]);
            }
        }
    }
}

#[test]
fn a_seed_replays() {
    let Some(mut lab) = lab("chance::a_seed_replays") else {
        return;
    };
    let mut run = |seed| {
        let id = lab.inject(&Injection::new("{}", "{drop: {chance: 50%}}").seed(seed));
        let result = fates(&lab, At::Egress, &[0; 500]);
        lab.end(&[id]);
        result
    };
    let first = run(7);
    assert_eq!(first, run(7));
    assert_ne!(first, run(8));
}

#[test]
fn a_chance_is_what_was_asked() {
    const PACKETS: u64 = 20_000;
    let Some(mut lab) = lab("chance::a_chance_is_what_was_asked") else {
        return;
    };
    for percent in [0.5, 30.0, 99.0] {
        let id = lab.inject(&Injection::new("{}", format!("{{drop: {{chance: {percent}%}}}}")));
        let lost = fates(&lab, At::Egress, &[0; PACKETS as usize])
            .iter()
            .filter(|lost| **lost)
            .count() as u64;
        let bounds = binomial_999(PACKETS, percent / 100.0);
        assert!(bounds.contains(&lost), "{percent} %: {lost} not in {bounds:?}");
        assert_eq!(lab.counters(id).dropped, lost);
        lab.end(&[id]);
    }
    for (fault, name) in [
        ("{reject: {with: icmp, chance: 30%}}", "reject"),
        ("{corrupt: {chance: 30%, checksum: fix}}", "corrupt"),
        ("{duplicate: {chance: 30%}}", "duplicate"),
    ] {
        let id = lab.inject(&Injection::new("{}", fault));
        fates(&lab, At::Egress, &[0; 5_000]);
        let count = lab.counters(id);
        let acted = count.rejected + count.corrupted + count.duplicated;
        let bounds = binomial_999(5_000, 0.3);
        assert!(bounds.contains(&acted), "{name}: {acted} not in {bounds:?}");
        assert_eq!(acted + count.passed, count.matched, "{name}");
        lab.end(&[id]);
    }
}

#[test]
fn a_super_packet_is_lost_when_any_of_its_packets_would_be() {
    const SEGMENTS: u32 = 40;
    const PACKETS: u64 = 10_000;
    let Some(mut lab) = lab("chance::a_super_packet_is_lost_when_any_of_its_packets_would_be") else {
        return;
    };
    for at in [At::Egress, At::Ingress] {
        let id = lab.inject(&Injection::new("{direction: both}", "{drop: {chance: 1%}}").seed(3));
        let lost = fates(&lab, at, &[SEGMENTS; PACKETS as usize])
            .iter()
            .filter(|lost| **lost)
            .count() as u64;
        let bounds = binomial_999(PACKETS, 1.0 - 0.99_f64.powi(SEGMENTS as i32));
        assert!(bounds.contains(&lost), "{at:?}: {lost} not in {bounds:?}");
        let count = lab.counters(id);
        let wire = |packets: u64| packets * u64::from(SEGMENTS);
        assert_eq!((count.matched, count.dropped), (wire(PACKETS), wire(lost)));
        assert!(lab.datapath().met(id).expect("armed").super_packets);
        lab.end(&[id]);
    }
}

/// BIG TCP writes no length into its headers, and nothing that needs one can be cut.
#[test]
fn a_super_packet_that_cannot_be_cut_is_hit_when_any_of_its_packets_would_be() {
    const SEGMENTS: u32 = 40;
    const PACKETS: usize = 3_000;
    const NAME: &str = "chance::a_super_packet_that_cannot_be_cut_is_hit_when_any_of_its_packets_would_be";
    let cut = Settings {
        cut: true,
        ..Settings::default()
    };
    let Some(mut lab) = lab_with(NAME, cut) else {
        return;
    };
    let wire = |packets: u64| packets * u64::from(SEGMENTS);
    for family in BOTH {
        let packet = Packet::leaving(family, DATA).with_payload(1_000);
        let mut frame = packet.frame();
        let length = packet.l3() + if family == Family::V4 { 2 } else { 4 };
        frame[length..length + 2].fill(0);
        let all = || {
            vec![
                TestPacket {
                    frame: &frame,
                    gso_segs: SEGMENTS,
                    gso_size: 25,
                    ..TestPacket::default()
                };
                PACKETS
            ]
        };
        let models = [
            (
                "{drop: {chance: 1%}}",
                Loss {
                    chance: share(1.0),
                    ..Loss::default()
                },
            ),
            (
                "{drop: {every: 77}}",
                Loss {
                    every: 77,
                    model: loss::EVERY,
                    ..Loss::default()
                },
            ),
        ];
        for (fault, model) in models {
            let id = lab.inject(&Injection::new("{}", fault).seed(3));
            let lost: Vec<bool> = lab.run_all(At::Egress, all()).iter().map(is_lost).collect();
            // By the dice of its wire packets, each of which is thrown.
            let dice = host(&model, 3, 0, &vec![1; SEGMENTS as usize * PACKETS]);
            let want: Vec<bool> = dice
                .chunks(SEGMENTS as usize)
                .map(|of_one| of_one.contains(&true))
                .collect();
            assert!(lost == want, "{family:?} {fault}");
            let hits = lost.iter().filter(|lost| **lost).count() as u64;
            let count = lab.counters(id);
            assert_eq!((count.matched, count.dropped), (wire(PACKETS as u64), wire(hits)));
            assert!(hits > 0 && lab.datapath().met(id).expect("armed").super_packets);
            lab.end(&[id]);
        }
        // What is not lost goes on whole.
        let id = lab.inject(&Injection::new("{}", "{corrupt: {chance: 1%, checksum: fix}}").seed(3));
        let results = lab.run_all(At::Egress, all());
        assert!(!results.iter().any(is_lost), "{family:?}");
        let changed = results.iter().filter(|result| result.frame != frame).count() as u64;
        let draws = |n: u64| (0..u64::from(SEGMENTS)).any(|i| hit(3, Stream::Corrupt, n + i, share(1.0)));
        let want = (0..PACKETS as u64)
            .filter(|n| draws(n * u64::from(SEGMENTS)))
            .count() as u64;
        assert_eq!(changed, want, "{family:?}: {:?}", lab.counters(id));
        assert_eq!(lab.counters(id).corrupted, changed, "{family:?}");
        assert!(lab.datapath().met(id).expect("armed").super_packets);
        lab.end(&[id]);
    }
    assert_eq!(lab.stat("helper_failed"), 0);
}

#[test]
fn a_budget_counts_wire_packets_and_is_never_overdrawn() {
    let Some(mut lab) = lab("chance::a_budget_counts_wire_packets_and_is_never_overdrawn") else {
        return;
    };
    let id = lab.inject(&Injection::new("{}", "{partition: {}}").budget(100));
    let lost = fates(&lab, At::Egress, &[40, 40, 40, 40]);
    assert_eq!(lost, [true, true, false, false]);
    assert_eq!(lab.counters(id).dropped, 80);
}

#[test]
fn flipped_bits_are_spread_over_the_payload() {
    let Some(mut lab) = lab("chance::flipped_bits_are_spread_over_the_payload") else {
        return;
    };
    lab.inject(&Injection::new("{}", "{corrupt: {checksum: fix}}"));
    for (family, transport) in [(Family::V4, Transport::Udp), (Family::V6, Transport::EchoRequest)] {
        // 15 bytes: the last is half of a checksum word.
        let packet = Packet::leaving(family, transport).with_payload(15);
        let frame = packet.frame();
        let packets = vec![
            TestPacket {
                frame: &frame,
                ..TestPacket::default()
            };
            12_000
        ];
        let mut hits = [0_u64; 120];
        for result in lab.run_all(At::Egress, packets) {
            let bit =
                chaos_tests::packet::flipped_bit(&packet, &result.frame).unwrap_or_else(|e| panic!("{e}"));
            hits[bit] += 1;
        }
        // 120 counts of mean 100: five standard deviations keep the whole family at 99.9 %.
        let odd = hits.iter().position(|n| !(50..=150).contains(n));
        assert_eq!(odd, None, "{hits:?}");
    }
}

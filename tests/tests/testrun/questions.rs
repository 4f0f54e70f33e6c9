//! Questions of DNS, and the datagrams that answer them, byte by byte.

use chaos_tests::dns::{Query, code, kind, long_name};
use chaos_tests::packet::{At, Expect, Extension, Family, Injection, Packet, Transport};

use super::support::{BOTH, check, lab, owing};

const DOT1Q: u16 = 0x8100;
const DOT1AD: u16 = 0x88a8;

/// Every frame in which a question can come.
fn shapes(family: Family, query: &[u8]) -> Vec<(At, Packet)> {
    let mut shapes = Vec::new();
    for (at, packet) in [
        (At::Egress, Packet::leaving(family, Transport::Udp)),
        (At::Ingress, Packet::arriving(family, Transport::Udp)),
    ] {
        // Answers go where questions come from: the server is always the far end of what leaves.
        let packet = match at {
            At::Egress => packet.with_ports(40_000, 53),
            _ => packet.with_ports(53, 40_000),
        }
        .with_bytes(query);
        shapes.push((at, packet.clone()));
        shapes.push((at, packet.clone().with_tags(&[(DOT1Q, 5)])));
        shapes.push((at, packet.clone().with_tags(&[(DOT1AD, 5), (DOT1Q, 6)])));
        shapes.push((
            at,
            match family {
                Family::V4 => packet.with_ip_options(),
                Family::V6 => packet.with_extensions(&[Extension::HopByHop, Extension::DestinationOptions]),
            },
        ));
    }
    shapes
}

fn fault(dns: &str) -> Injection {
    Injection::new("{direction: both}", format!("{{dns: {{{dns}}}}}"))
}

#[test]
fn refusals_byte_by_byte() {
    let Some(mut lab) = lab("questions::refusals_byte_by_byte") else {
        return;
    };
    let mut asked = 0;
    for (word, code) in [
        ("nxdomain", code::NXDOMAIN),
        ("servfail", code::SERVFAIL),
        ("refused", code::REFUSED),
    ] {
        let id = lab.inject(&fault(&format!("answer: {word}")));
        for name in [".", "a", "ab.example", "Db.eXample.com", &long_name(255, "test")] {
            for kind in [kind::A, kind::AAAA, kind::TXT, kind::ANY] {
                let query = Query::new(name, kind).id(0xbeef);
                for query in [query.clone(), query.clone().with_edns(), query.padded_to(700)] {
                    for family in BOTH {
                        for (at, packet) in shapes(family, &query.bytes()) {
                            let back = packet.datagram_back(&query.answer(code, 0, &[]));
                            check(
                                &lab,
                                at,
                                &packet,
                                &Expect::Answered(back),
                                &format!("{word} {packet:?}"),
                            );
                            asked += 1;
                        }
                    }
                }
            }
        }
        let count = lab.counters(id);
        assert_eq!((count.matched, count.answered, count.unseen), (asked, asked, 0));
        asked = 0;
        lab.end(&[id]);
    }
    assert_eq!(lab.stat("helper_failed"), 0);
}

#[test]
fn records_byte_by_byte() {
    let Some(mut lab) = lab("questions::records_byte_by_byte") else {
        return;
    };
    let four: Vec<Vec<u8>> = (1..=8).map(|n| vec![192, 0, 2, n]).collect();
    let six: Vec<Vec<u8>> = (1..=8)
        .map(|n| [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[n]].concat())
        .collect();
    let written = |list: &[Vec<u8>]| -> String {
        let text: Vec<String> = list
            .iter()
            .map(|bytes| match bytes.as_slice() {
                [a, b, c, d] => format!("{a}.{b}.{c}.{d}"),
                bytes => format!("'2001:db8::{}'", bytes[15]),
            })
            .collect();
        text.join(", ")
    };
    for count in [1, 2, 7, 8] {
        let (a, aaaa) = (written(&four[..count]), written(&six[..count]));
        let id = lab.inject(&fault(&format!("answer: {{a: [{a}], aaaa: [{aaaa}], ttl: 7d}}")));
        for name in [
            "a",
            "ab",
            "db.example.com",
            &long_name(254, "test"),
            &long_name(255, "test"),
        ] {
            for (kind, list) in [(kind::A, &four), (kind::AAAA, &six)] {
                let query = Query::new(name, kind);
                for query in [
                    query.clone(),
                    query.clone().with_edns(),
                    query.clone().padded_to(1023),
                    query.padded_to(1024),
                ] {
                    for family in BOTH {
                        for (at, packet) in shapes(family, &query.bytes()) {
                            let answer = query.answer(code::FINE, 7 * 24 * 3600, &list[..count]);
                            let back = packet.datagram_back(&answer);
                            let what = format!("{count} of type {kind}, {} bytes, {at:?}", answer.len());
                            check(&lab, at, &packet, &Expect::Answered(back), &what);
                        }
                    }
                }
            }
        }
        lab.end(&[id]);
    }
    // None of the other family, and nothing for other types.
    lab.inject(&fault("answer: {aaaa: ['2001:db8::1']}"));
    let query = Query::new("db.example.com", kind::A).with_edns();
    for (at, packet) in shapes(Family::V4, &query.bytes()) {
        let none = packet.datagram_back(&query.answer(code::FINE, 0, &[]));
        check(&lab, at, &packet, &Expect::Answered(none), "no data");
    }
    let query = Query::new("db.example.com", kind::MX);
    for (at, packet) in shapes(Family::V6, &query.bytes()) {
        check(&lab, at, &packet, &Expect::Untouched, "another type");
    }
    assert_eq!(lab.stat("helper_failed"), 0);
}

#[test]
fn flags_of_a_question_are_kept_as_far_as_they_are_the_clients() {
    let Some(mut lab) = lab("questions::flags_of_a_question_are_kept_as_far_as_they_are_the_clients") else {
        return;
    };
    lab.inject(&fault("answer: nxdomain"));
    for flags in (0..=u16::MAX).filter(|flags| flags & 0xf800 == 0) {
        let mut query = Query::new("a.test", kind::A);
        query.flags = flags;
        let packet = Packet::leaving(Family::V4, Transport::Udp)
            .with_ports(40_000, 53)
            .with_bytes(&query.bytes());
        let back = packet.datagram_back(&query.answer(code::NXDOMAIN, 0, &[]));
        check(
            &lab,
            At::Egress,
            &packet,
            &Expect::Answered(back),
            &format!("flags {flags:#06x}"),
        );
    }
}

/// The checksum looks like one that the device owes, or there is none.
#[test]
fn checksums_are_right_or_left_out() {
    let Some(mut lab) = lab("questions::checksums_are_right_or_left_out") else {
        return;
    };
    lab.inject(&fault("answer: {a: [192.0.2.1]}"));
    for family in BOTH {
        for letters in 1..=9 {
            let query = Query::new(&"y".repeat(letters), kind::A).with_edns();
            let answer = query.answer(code::FINE, 5, &[vec![192, 0, 2, 1]]);
            for (at, packet) in shapes(family, &query.bytes()) {
                let result = lab.run(at, &owing(&packet, packet.frame()));
                assert_eq!(result.verdict, 7, "{packet:?}");
                assert!(
                    result.frame == packet.datagram_back(&answer),
                    "looks owed: {packet:?} {:02x?}",
                    result.frame
                );
                if family == Family::V6 {
                    continue;
                }
                let bare = |mut frame: Vec<u8>| {
                    frame[packet.l4() + 6..packet.l4() + 8].fill(0);
                    frame
                };
                let result = lab.run(at, &bare(packet.frame()));
                assert!(
                    result.frame == bare(packet.datagram_back(&answer)),
                    "none: {packet:?} {:02x?}",
                    result.frame
                );
            }
        }
    }
}

/// What stands behind the datagram is no part of the message, and a datagram that is not all there is no question.
#[test]
fn a_message_is_as_long_as_its_header_says() {
    let Some(mut lab) = lab("questions::a_message_is_as_long_as_its_header_says") else {
        return;
    };
    let id = lab.inject(&fault("answer: nxdomain"));
    let query = Query::new("db.example.com", kind::A);
    for family in BOTH {
        for (at, packet) in shapes(family, &query.bytes()) {
            let back = packet.datagram_back(&query.answer(code::NXDOMAIN, 0, &[]));
            let padded = packet.clone().with_padding(18);
            let result = lab.run(at, &padded.frame());
            assert!(result.frame == back, "behind the IP packet: {padded:?}");
            // Longer in the IP header than in its own.
            let longer = packet.clone().with_bytes(&[query.bytes(), vec![0; 12]].concat());
            let mut frame = longer.frame();
            let length = 8 + query.bytes().len() as u16;
            let whole = packet.frame();
            let l4 = packet.l4();
            frame[l4 + 4..l4 + 6].copy_from_slice(&length.to_be_bytes());
            frame[l4 + 6..l4 + 8].copy_from_slice(&whole[l4 + 6..l4 + 8]);
            let result = lab.run(at, &frame);
            assert!(
                result.frame == back,
                "behind the datagram: {packet:?} {:02x?}",
                result.frame
            );
            for length in [0, 7, 8, length - 1, length + 13, u16::MAX] {
                frame[l4 + 4..l4 + 6].copy_from_slice(&length.to_be_bytes());
                let result = lab.run(at, &frame);
                assert!(
                    result.verdict == u32::MAX && result.frame == frame,
                    "a length of {length}: {packet:?}"
                );
            }
        }
    }
    // Pieces are nobody's questions, the first no more than the rest.
    let before = lab.counters(id).matched;
    for family in BOTH {
        for (offset, more) in [(0, true), (1, false)] {
            let packet = Packet::leaving(family, Transport::Udp)
                .with_ports(40_000, 53)
                .with_bytes(&query.bytes())
                .as_fragment(7, offset, more);
            check(&lab, At::Egress, &packet, &Expect::Untouched, "a fragment");
        }
    }
    assert_eq!(lab.counters(id).matched, before);
    assert_eq!(lab.stat("helper_failed"), 0);
}

#[test]
fn a_star_names_the_root_too_and_names_choose_by_label() {
    let Some(mut lab) = lab("questions::a_star_names_the_root_too_and_names_choose_by_label") else {
        return;
    };
    for (names, asked, hit) in [
        ("'*'", ".", true),
        ("'*'", "a.b", true),
        ("['a.test', '*']", ".", true),
        ("'.'", ".", true),
        ("'.'", "a", false),
        ("'*.test'", "test", false),
        ("'*.test'", "a.TEST", true),
        ("'*.test'", "xtest", false),
        ("'1234567.test'", "1234567.tesT", true),
        ("'1234567.test'", "1234567.tesu", false),
        ("'12345.test'", "12345.test", true),
        ("'a.b.c.d.e.f.g.h.i.j'", "A.b.c.d.e.f.g.h.i.j", true),
        ("'*.e.f.g.h.i.j'", "a.b.c.d.e.f.g.h.i.j", true),
        ("'*.c.d.e.f.g.h.i.j'", "b.c.d.e.f.g.h.i.k", false),
    ] {
        let id = lab.inject(&fault(&format!("answer: servfail, names: {names}")));
        let query = Query::new(asked, kind::A);
        for (at, packet) in shapes(Family::V6, &query.bytes()) {
            let expect = if hit {
                Expect::Answered(packet.datagram_back(&query.answer(code::SERVFAIL, 0, &[])))
            } else {
                Expect::Untouched
            };
            check(&lab, at, &packet, &expect, &format!("{names}: {asked}"));
        }
        lab.end(&[id]);
    }
}

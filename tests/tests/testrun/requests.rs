//! Requests of HTTP, and the segments that answer them, byte by byte.

use chaos_daemon::sys::bpf::TestPacket;
use chaos_tests::packet::{
    At, Expect, Extension, FAR_MAC, Family, Injection, NEAR_MAC, Packet, Transport, flag,
};
use chaos_tests::{Capture, Way};

use super::support::{BOTH, check, lab, owing};

const DOT1Q: u16 = 0x8100;

/// Options of a connection without time stamps, and with others beside them.
const OTHER_OPTIONS: [&[u8]; 3] = [
    &[],
    // A selective acknowledgement.
    &[1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2],
    // Time stamps behind others, where no Linux puts them.
    &[
        1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2,
    ],
];

fn data(flags: u8, sequence: u32, acknowledgement: u32) -> Transport {
    Transport::Tcp {
        flags,
        sequence,
        acknowledgement,
    }
}

/// A request on a connection of its own, whose number is `n`.
fn request(family: Family, at: At, n: u16, payload: &[u8]) -> Packet {
    segment(family, at, n, flag::ACK | flag::PSH, 77, 5_000, payload)
}

fn segment(family: Family, at: At, n: u16, flags: u8, sequence: u32, next: u32, payload: &[u8]) -> Packet {
    let transport = data(flags, sequence, next);
    let packet = match at {
        At::Egress => Packet::leaving(family, transport).with_ports(10_000 + n, 80),
        _ => Packet::arriving(family, transport).with_ports(80, 10_000 + n),
    };
    packet.with_bytes(payload)
}

/// Every frame in which a segment can come.
fn shapes(packet: &Packet, family: Family) -> Vec<Packet> {
    let mut shapes = vec![
        packet.clone(),
        packet.clone().with_tags(&[(DOT1Q, 5)]),
        match family {
            Family::V4 => packet.clone().with_ip_options(),
            Family::V6 => packet.clone().with_extensions(&[Extension::HopByHop]),
        },
    ];
    shapes.extend(OTHER_OPTIONS.map(|options| packet.clone().with_tcp_options(options)));
    shapes
}

fn fault(http: &str) -> Injection {
    Injection::new("{direction: both}", format!("{{http: {{{http}}}}}"))
}

/// The answer as a browser reads it, in the words of RFC 9112.
fn response(body: &str) -> (Vec<u8>, usize) {
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: text/plain; charset=utf-8\r\n"
    };
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n{kind}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let length = head.len();
    (format!("{head}{body}").into_bytes(), length)
}

#[test]
fn answers_and_resets_byte_by_byte() {
    let Some(mut lab) = lab("requests::answers_and_resets_byte_by_byte") else {
        return;
    };
    lab.inject(&Injection::new(
        "{direction: both, remote: {ports: [1]}}",
        "{partition: {}}",
    ));
    let mac = |bytes: [u8; 6]| bytes.map(|byte| format!("{byte:02x}")).join(":");
    let filter = format!("ether host {} or ether host {}", mac(NEAR_MAC), mac(FAR_MAC));
    // What is torn down at the server goes on in the request's stead.
    let onward = [
        (At::Egress, Capture::start(lab.far(), Way::In, &filter)),
        (At::Ingress, Capture::start(lab.near(), Way::In, &filter)),
    ];
    let mut seen = [0, 0];
    let mut n = 0;
    for length in [0, 1, 2, 3, 101, 900] {
        let body = "b".repeat(length);
        let id = lab.inject(&fault(&format!(
            "status: 503, headers: {{Retry-After: '5'}}, body: '{body}'"
        )));
        let (whole, head) = response(&body);
        for (method, answer) in [("GET", &whole[..]), ("POST", &whole), ("HEAD", &whole[..head])] {
            for rest in ["", "x", "xy", &"x".repeat(1_300)] {
                let text = format!("{method} /a HTTP/1.1\r\nHost: a\r\n\r\n{rest}");
                for family in BOTH {
                    for (side, (at, capture)) in onward.iter().enumerate() {
                        for packet in shapes(&request(family, *at, 0, text.as_bytes()), family) {
                            n += 1;
                            let packet = match at {
                                At::Egress => packet.with_ports(10_000 + n, 80),
                                _ => packet.with_ports(80, 10_000 + n),
                            };
                            let what = format!("{length} {method} {} {at:?} {packet:?}", rest.len());
                            check(
                                &lab,
                                *at,
                                &packet,
                                &Expect::Answered(packet.response(answer)),
                                &what,
                            );
                            seen[side] += 1;
                            let frames = capture.wait_for(seen[side]);
                            assert!(
                                frames[seen[side] - 1].bytes == packet.reset_onward(),
                                "{what}: {:02x?}",
                                frames[seen[side] - 1].bytes
                            );
                        }
                    }
                }
            }
        }
        let count = lab.counters(id);
        assert_eq!((count.matched, count.answered), (288, 288));
        lab.end(&[id]);
    }
    assert_eq!(lab.stat("helper_failed"), 0);
}

#[test]
fn a_checksum_that_only_looks_owed_is_answered_with_a_right_one() {
    let Some(mut lab) = lab("requests::a_checksum_that_only_looks_owed_is_answered_with_a_right_one") else {
        return;
    };
    lab.inject(&fault("status: 503, headers: {Retry-After: '5'}, body: 'odd'"));
    let (whole, _) = response("odd");
    let mut n = 0;
    for family in BOTH {
        for at in [At::Egress, At::Ingress] {
            for packet in shapes(&request(family, at, 0, b"GET / HTTP/1.1\r\n\r\n"), family) {
                n += 1;
                let packet = match at {
                    At::Egress => packet.with_ports(10_000 + n, 80),
                    _ => packet.with_ports(80, 10_000 + n),
                };
                let result = lab.run(at, &owing(&packet, packet.frame()));
                assert_eq!(result.verdict, 7, "{packet:?}");
                assert!(result.frame == packet.response(&whole), "{packet:?}");
            }
        }
    }
}

/// A super-packet is one request with a long body: all of it is acknowledged.
#[test]
fn a_super_packet_is_answered_once_and_acknowledged_as_a_whole() {
    let Some(mut lab) = lab("requests::a_super_packet_is_answered_once_and_acknowledged_as_a_whole") else {
        return;
    };
    let id = lab.inject(&fault("status: 503, headers: {Retry-After: '5'}, body: 'no'"));
    let (whole, _) = response("no");
    for (n, family) in BOTH.into_iter().enumerate() {
        let text = format!("POST /a HTTP/1.1\r\n\r\n{}", "x".repeat(3_000));
        let packet = request(family, At::Egress, n as u16, text.as_bytes());
        let result = lab
            .run_all(
                At::Egress,
                [TestPacket {
                    frame: &owing(&packet, packet.frame()),
                    gso_segs: 3,
                    gso_size: 1_400,
                    ..TestPacket::default()
                }],
            )
            .remove(0);
        assert_eq!(result.verdict, 7, "{family:?}");
        assert!(
            result.frame == owing(&packet, packet.response(&whole)),
            "{family:?} {:02x?}",
            result.frame
        );
    }
    let count = lab.counters(id);
    assert_eq!((count.matched, count.answered), (2, 2), "one request each");
}

#[test]
fn what_follows_an_answer_is_acknowledged_and_kept_from_the_server() {
    let Some(mut lab) = lab("requests::what_follows_an_answer_is_acknowledged_and_kept_from_the_server")
    else {
        return;
    };
    let id = lab.inject(&fault("status: 503, headers: {Retry-After: '5'}"));
    let (whole, _) = response("");
    let length = whole.len() as u32;
    for family in BOTH {
        for (at, lost) in [(At::Egress, Expect::Vanished), (At::Ingress, Expect::Shot)] {
            let text = b"POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc";
            let first = request(family, at, 7, text);
            let answered = Expect::Answered(first.response(&whole));
            check(&lab, at, &first, &answered, "the request");
            check(&lab, at, &first, &answered, "the request, sent again");
            let end = 77 + text.len() as u32;
            let send = |flags: u8, sequence: u32, next: u32, payload: &[u8]| {
                segment(family, at, 7, flags, sequence, next, payload)
            };
            let body = send(flag::ACK | flag::PSH, end, 5_000, b"defghi");
            check(
                &lab,
                at,
                &body,
                &Expect::Answered(body.acknowledged(&first, whole.len())),
                "the rest of its body",
            );
            // A second request of a pipeline is not answered any more.
            let second = send(flag::ACK | flag::PSH, end + 6, 5_000, b"GET /b HTTP/1.1\r\n\r\n");
            check(
                &lab,
                at,
                &second,
                &Expect::Answered(second.acknowledged(&first, whole.len())),
                "a request behind it",
            );
            let bare = send(flag::ACK, end + 6, 5_001 + length, b"");
            check(&lab, at, &bare, &lost, "an acknowledgement");
            let last = send(flag::ACK | flag::FIN, end + 6, 5_001 + length, b"");
            check(
                &lab,
                at,
                &last,
                &Expect::Answered(last.acknowledged(&first, whole.len())),
                "the client's end",
            );
            let reset = send(flag::RST, end + 6, 0, b"");
            check(&lab, at, &reset, &Expect::Untouched, "a reset");
            // The same ends once more.
            let open = send(flag::SYN, 1_000_000, 0, b"");
            check(&lab, at, &open, &Expect::Untouched, "another connection opens");
            let handshake = send(flag::ACK, 1_000_001, 9_000_000, b"");
            check(&lab, at, &handshake, &Expect::Untouched, "its handshake");
            let again = send(flag::ACK | flag::PSH, 1_000_001, 9_000_000, text);
            check(
                &lab,
                at,
                &again,
                &Expect::Answered(again.response(&whole)),
                "its request",
            );
        }
    }
    let count = lab.counters(id);
    assert_eq!((count.matched, count.answered, count.unseen), (8, 8, 0));
    assert_eq!(lab.stat("helper_failed"), 0);
}

#[test]
fn what_a_rule_does_not_name_or_cannot_see_passes() {
    let Some(mut lab) = lab("requests::what_a_rule_does_not_name_or_cannot_see_passes") else {
        return;
    };
    let id = lab.inject(&fault(
        "status: 503, method: [GET, POST], path: '/pay/*', host: payments.example.com",
    ));
    let named = "Host: payments.example.com";
    let mut n = 0;
    let (mut unseen, mut matched) = (0, 0);
    for (line, headers, sees, hit) in [
        ("GET /pay/1 HTTP/1.1", named, true, true),
        (
            "POST /pay/ HTTP/1.0",
            "hOST:PAYMENTS.example.com:8080",
            true,
            true,
        ),
        (
            "GET http://payments.example.com/pay/9 HTTP/1.1",
            "Host: b",
            true,
            true,
        ),
        (
            "GET /pay/1?x=y HTTP/1.1",
            "A: b\r\nC: d\r\nHost: payments.example.com",
            true,
            true,
        ),
        ("PUT /pay/1 HTTP/1.1", named, true, false),
        ("GET /pay HTTP/1.1", named, true, false),
        ("GET /payments HTTP/1.1", named, true, false),
        ("GET /a?/pay/1 HTTP/1.1", named, true, false),
        ("GET /pay/1 HTTP/1.1", "Host: payments.example.co", true, false),
        (
            "GET /pay/1 HTTP/1.1",
            "Host: payments.example.com.org",
            true,
            false,
        ),
        ("GET /pay/1 HTTP/1.1", "Host: xpayments.example.com", true, false),
        ("GET /pay/1 HTTP/2.0", named, true, false),
        ("GET /pay/1 foo", named, true, false),
        ("get /pay/1 HTTP/1.1", named, true, false),
        ("xxxx", named, true, false),
        // Nothing says which host.
        ("GET /pay/1 HTTP/1.1", "A: b", false, false),
    ] {
        for family in BOTH {
            for at in [At::Egress, At::Ingress] {
                n += 1;
                let text = format!("{line}\r\n{headers}\r\n\r\n");
                let packet = request(family, at, n, text.as_bytes());
                let (whole, _) = (
                    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                    0,
                );
                let expect = if hit {
                    Expect::Answered(packet.response(whole))
                } else {
                    Expect::Untouched
                };
                check(&lab, at, &packet, &expect, &format!("{line} {headers}"));
                unseen += u64::from(!sees);
                matched += u64::from(hit);
            }
        }
    }
    // Whole lines and headers that never come; and what is veiled.
    for text in [
        &b"GET /pay/1"[..],
        b"GET /pay/1 HTTP/1.1\r\nHost: paymen",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        n += 1;
        let packet = request(Family::V4, At::Egress, n, text);
        check(&lab, At::Egress, &packet, &Expect::Untouched, "cannot be seen");
        unseen += 1;
    }
    let count = lab.counters(id);
    assert_eq!(
        (count.matched, count.answered, count.unseen),
        (matched, matched, unseen)
    );
}

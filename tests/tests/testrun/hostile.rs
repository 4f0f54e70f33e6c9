//! Damaged and random payloads: the programs answer what the same parsers say here, byte by byte as they should, and
//! leave everything else as it was.

use std::hash::{BuildHasher as _, RandomState};

use chaos_daemon::sys::bpf::TestPacket;
use chaos_tests::dns::{Query, code, kind, long_name};
use chaos_tests::is_full_run;
use chaos_tests::packet::{At, Expect, Family, Injection, Lab, Packet, Transport, flag};

use super::host::{Rule, Says};
use super::support::lab;

/// Payloads of one test.
fn cases() -> u32 {
    if is_full_run() { 1_000_000 } else { 60_000 }
}

/// A random stream whose beginning can be given again: `CHAOS_HOSTILE_SEED`.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = std::env::var("CHAOS_HOSTILE_SEED")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| RandomState::new().hash_one(0));
        println!("CHAOS_HOSTILE_SEED={seed}");
        Self(seed)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn of<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.next() as u8).collect()
    }

    /// A few changes, most often none or one.
    fn damage(&mut self, bytes: &mut Vec<u8>, pieces: &[&[u8]]) {
        for _ in 0..self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(7) {
                0 => bytes.truncate(at),
                1 => {
                    let piece = self.of(pieces);
                    bytes.splice(at..at, piece.iter().copied());
                }
                2 => {
                    let more = self.bytes(40);
                    bytes.extend(more);
                }
                3 if at < bytes.len() => {
                    let until = (at + self.below(20)).min(bytes.len());
                    let again = bytes[at..until].to_vec();
                    bytes.splice(at..at, again);
                }
                4 if at < bytes.len() => {
                    bytes.remove(at);
                }
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = if self.below(2) == 0 {
                            self.next() as u8
                        } else {
                            *byte ^ 1 << self.below(8)
                        };
                    }
                }
            }
        }
        bytes.truncate(1_400);
    }
}

fn mixed_case(dice: &mut Dice, text: &str) -> String {
    text.chars()
        .map(|letter| {
            if dice.below(3) == 0 {
                letter.to_ascii_uppercase()
            } else {
                letter
            }
        })
        .collect()
}

fn message(dice: &mut Dice) -> Vec<u8> {
    if dice.below(20) == 0 {
        return dice.bytes(600);
    }
    let long = long_name(255, "example.com");
    let name = dice.of(&[
        "db.example.com",
        "db.example.com",
        "www.db.example.com",
        "a.b.c.d.e.f.g.h.svc.local",
        "x.svc.local",
        "svc.local",
        ".",
        "xsvc.local",
        "other.test",
        long.as_str(),
    ]);
    let name = mixed_case(dice, name);
    let kind = [kind::A, kind::AAAA, kind::TXT, kind::ANY][dice.below(4)];
    let mut query = Query::new(&name, kind).id(dice.next() as u16);
    match dice.below(4) {
        0 => query = query.with_edns(),
        1 => query = query.padded_to(400 + dice.below(1_000)),
        _ => {}
    }
    let mut bytes = query.bytes();
    dice.damage(
        &mut bytes,
        &[
            &[0],
            &[0xc0, 12],
            &[63],
            &[64],
            &[1, b'a'],
            &[0, 1, 0, 1],
            b"\x07example\x03com\x00",
        ],
    );
    bytes
}

#[test]
fn questions() {
    let Some(mut lab) = lab("hostile::questions") else {
        return;
    };
    let mut dice = Dice::new();
    for (dns, code, records) in [
        ("answer: nxdomain", code::NXDOMAIN, false),
        (
            "answer: servfail, names: [db.example.com, '*.svc.local'], types: [A, TXT]",
            code::SERVFAIL,
            false,
        ),
        (
            "answer: {a: [192.0.2.1, 192.0.2.2], ttl: 9s}, names: ['*.example.com', other.test]",
            code::FINE,
            true,
        ),
    ] {
        let fault = format!("{{dns: {{{dns}}}}}");
        let rule = Rule::of(&fault);
        let id = lab.inject(&Injection::new("{direction: both}", fault));
        let mut answered = 0;
        let mut batch = Batch {
            lab: &lab,
            rule: dns,
            cases: Vec::new(),
        };
        for _ in 0..cases() / 3 {
            let bytes = message(&mut dice);
            let family = [Family::V4, Family::V6][dice.below(2)];
            let (at, packet) = if dice.below(2) == 0 {
                (
                    At::Egress,
                    Packet::leaving(family, Transport::Udp).with_ports(40_000, 53),
                )
            } else {
                (
                    At::Ingress,
                    Packet::arriving(family, Transport::Udp).with_ports(53, 40_000),
                )
            };
            let packet = packet.with_bytes(&bytes);
            let expect = match rule.says(&bytes) {
                Says::Answer { question, kind, .. } => {
                    answered += 1;
                    let list = if records && kind == kind::A { 2 } else { 0 };
                    Expect::Answered(packet.datagram_back(&answer(&bytes, question, code, list)))
                }
                _ => Expect::Untouched,
            };
            batch.add(at, packet, expect);
        }
        batch.run();
        let count = lab.counters(id);
        println!("{dns}: {answered} of {}", cases() / 3);
        assert!(
            answered > cases() as u64 / 100,
            "too few are questions: {answered}"
        );
        assert_eq!(
            (count.matched, count.answered, count.unseen),
            (answered, answered, 0)
        );
        lab.end(&[id]);
    }
    assert_eq!(lab.stat("helper_failed"), 0);
}

/// What a message becomes, from the RFC: see [`Query::answer`].
fn answer(message: &[u8], question: usize, code: u8, records: u8) -> Vec<u8> {
    let mut bytes = message.to_vec();
    bytes[2] = 0x80 | bytes[2] & 0x79;
    bytes[3] = 0x80 | bytes[3] & 0x10 | code;
    bytes[7] = records;
    let list: Vec<u8> = (1..=records)
        .flat_map(|n| [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, n])
        .collect();
    bytes.splice(question..question, list);
    bytes
}

fn request(dice: &mut Dice) -> Vec<u8> {
    if dice.below(20) == 0 {
        return dice.bytes(300);
    }
    let method = dice.of(&[
        "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PROPFIND", "get", "GETS", "A",
    ]);
    let path = dice.of(&[
        "/pay/1",
        "/pay/",
        "/pay",
        "/a/b/x12.json",
        "/very/long/path/to/something/that/is/no/payment/x.json",
        "/pay/1?x=/y.json",
        "http://a.example/pay/2",
        "HTTP://b.a.example:80/pay/2?z",
        "*",
        "a.example:443",
        "/",
    ]);
    let version = dice.of(&[
        "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.2", "HTT", "",
    ]);
    let end = dice.of(&["\r\n", "\r\n", "\r\n", "\n", "\r"]);
    let mut text = format!("{method} {path} {version}{end}");
    for _ in 0..dice.below(5) {
        let header = dice.of(&[
            "Accept: */*",
            "X-Host: a.example",
            "Cookie: 0123456789012345678901234567890123456789012345678901234567890123456789",
            "Host:",
            "",
        ]);
        text += &format!("{header}{end}");
    }
    if dice.below(6) > 0 {
        let host = dice.of(&[
            "a.example",
            "b.a.example",
            "a.example:8080",
            "aa.example",
            "[::1]:80",
            "A.exAMple \t",
        ]);
        let blank = dice.of(&["", " ", " \t "]);
        text += &format!("{}{blank}{host}{end}", mixed_case(dice, "host:"));
    }
    if dice.below(10) == 0 {
        text += &format!("X: {}{end}", "y".repeat(dice.below(1_100)));
    }
    text += end;
    text += &"body".repeat(dice.below(10));
    let mut bytes = text.into_bytes();
    dice.damage(
        &mut bytes,
        &[
            b" ",
            b"\r\n",
            b"\n",
            b"Host: a.example\r\n",
            b"?",
            b"/pay/",
            b"\0",
            b"GET / HTTP/1.1\r\n",
            b"\x16\x03\x01\0\x05",
        ],
    );
    bytes
}

#[test]
fn requests() {
    let Some(mut lab) = lab("hostile::requests") else {
        return;
    };
    let mut dice = Dice::new();
    const ANSWER: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbah";
    let mut connection = 0_u32;
    for http in [
        "",
        "method: [GET, PROPFIND], path: '/pay/*'",
        "path: '*/x*.json'",
        "host: a.example",
        "host: '*.example', path: /pay/1, method: [GET, POST, HEAD]",
    ] {
        let fault = format!("{{http: {{status: 503, body: bah, {http}}}}}");
        let rule = Rule::of(&fault);
        let id = lab.inject(&Injection::new("{direction: both}", fault));
        let (mut answered, mut unseen) = (0, 0);
        let mut batch = Batch {
            lab: &lab,
            rule: http,
            cases: Vec::new(),
        };
        for _ in 0..cases() / 5 {
            let bytes = request(&mut dice);
            let family = [Family::V4, Family::V6][dice.below(2)];
            // Each on a connection of its own: nothing is remembered of it.
            connection += 1;
            let transport = Transport::Tcp {
                flags: flag::ACK | flag::PSH,
                sequence: dice.next() as u32,
                acknowledgement: connection.wrapping_mul(100_003),
            };
            let port = 10_000 + (connection % 50_000) as u16;
            let (at, packet) = if dice.below(2) == 0 {
                (
                    At::Egress,
                    Packet::leaving(family, transport).with_ports(port, 80),
                )
            } else {
                (
                    At::Ingress,
                    Packet::arriving(family, transport).with_ports(80, port),
                )
            };
            let packet = packet.with_bytes(&bytes);
            let expect = match rule.says(&bytes) {
                Says::Answer { is_head, .. } => {
                    answered += 1;
                    let length = ANSWER.len() - if is_head { 3 } else { 0 };
                    Expect::Answered(packet.response(&ANSWER[..length]))
                }
                Says::Unseen => {
                    unseen += 1;
                    Expect::Untouched
                }
                Says::Nothing => Expect::Untouched,
            };
            batch.add(at, packet, expect);
        }
        batch.run();
        let count = lab.counters(id);
        println!(
            "{http:?}: {answered} answered, {unseen} unseen, of {}",
            cases() / 5
        );
        assert!(answered > 5, "too few are requests: {answered}");
        assert_eq!(
            (count.matched, count.answered, count.unseen),
            (answered, answered, unseen),
            "{http}"
        );
        lab.end(&[id]);
    }
    assert_eq!(lab.stat("helper_failed"), 0);
}

/// A packet, and what must become of it.
type Case = (At, Packet, Expect);

/// Shows packets to the programs, many at a time, because each time takes a thread.
struct Batch<'a> {
    lab: &'a Lab,
    rule: &'a str,
    cases: Vec<Case>,
}

impl Batch<'_> {
    const MOST: usize = 500;

    fn add(&mut self, at: At, packet: Packet, expect: Expect) {
        self.cases.push((at, packet, expect));
        if self.cases.len() == Self::MOST {
            self.run();
        }
    }

    fn run(&mut self) {
        for side in [At::Egress, At::Ingress] {
            let cases: Vec<&Case> = self.cases.iter().filter(|(at, ..)| *at == side).collect();
            let frames: Vec<Vec<u8>> = cases.iter().map(|(_, packet, _)| packet.frame()).collect();
            let packets = frames.iter().map(|frame| TestPacket {
                frame,
                ..TestPacket::default()
            });
            let results = self.lab.run_all(side, packets.collect::<Vec<_>>());
            for ((_, packet, expect), result) in cases.iter().zip(results) {
                if let Err(wrong) = expect.check(packet, &result) {
                    let payload = packet.frame()[packet.payload_at()..].escape_ascii().to_string();
                    panic!("{:?}: {side:?} \"{payload}\": {wrong}", self.rule);
                }
            }
        }
        self.cases.clear();
    }
}

//! The steps that the kernel walks, over bytes in memory. What lies behind a payload is noise there as here.

use proptest::prelude::*;
use std::{string::String, vec::Vec};

use super::{
    answer, dns, http,
    http::{Kind, Named, Request},
    slice::{Plain, Slice},
    text,
};
use crate::{
    abi::{self, DnsName, HEAD, Http, PATTERN_WORDS, path_kind},
    csum::Sum,
    frame::{Packet, tcp},
    reply::{Numbers, pseudo},
};

/// A payload behind which there are letters, spaces, newlines and dots: whoever reads on reads sense.
fn room(payload: &[u8]) -> Slice {
    Slice::new(payload, b"GET / HTTP/1.1\r\nHost: x\r\n")
}

fn words<const N: usize>(text: &[u8]) -> [u64; N] {
    let mut padded = [0u8; 2048];
    padded[..text.len()].copy_from_slice(text);
    core::array::from_fn(|i| u64::from_le_bytes(padded[8 * i..8 * i + 8].try_into().unwrap()))
}

fn read(payload: &[u8]) -> (Kind, Request) {
    let room = room(payload);
    let mut request = Request::default();
    let length = payload.len().min(HEAD as usize) as u32;
    let mut kind = http::read(&room, length, &mut request);
    if kind == Kind::Request {
        kind = http::read_line::<Plain, _>(&room, &mut request);
    }
    if kind == Kind::Request {
        http::path_end::<Plain, _>(&room, &mut request);
    }
    (kind, request)
}

fn path_of(payload: &[u8]) -> Option<String> {
    let (kind, request) = read(payload);
    let path = payload.get(request.path as usize..request.path_end as usize);
    (kind == Kind::Request).then(|| String::from_utf8(path.unwrap().to_vec()).unwrap())
}

fn named(http: &Http, payload: &[u8]) -> Named {
    let (kind, mut request) = read(payload);
    assert_eq!(kind, Kind::Request, "{}", String::from_utf8_lossy(payload));
    http::names::<Plain, _>(http, &room(payload), &mut request)
}

fn with_path(pattern: &str) -> Http {
    let star = pattern.find('*');
    let kind = match star {
        None => path_kind::EXACT,
        Some(at) if at + 1 == pattern.len() => path_kind::PREFIX,
        Some(_) => path_kind::GLOB,
    };
    Http {
        path_kind: kind,
        path_length: pattern.len() as u32,
        path_prefix: star.unwrap_or(pattern.len()) as u32,
        path: words(pattern.as_bytes()),
        ..Http::default()
    }
}

fn with_host(host: &str) -> Http {
    Http {
        host_length: host.len() as u32,
        host_wild: u32::from(host.starts_with('.')),
        host: words(host.as_bytes()),
        ..Http::default()
    }
}

#[test]
fn requests_are_told_from_what_is_none() {
    for (payload, want) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], Kind::Request),
        (b"GET / HTTP/1.0\n\n", Kind::Request),
        (b"POST /a?b=c HTTP/1.1\r\nHost: a\r\n\r\nbody", Kind::Request),
        (b"PROPFIND / HTTP/1.1\r\n", Kind::Request),
        (b"OPTIONS * HTTP/1.1\r\n", Kind::Request),
        (b"CONNECT a:443 HTTP/1.1\r\n", Kind::Request),
        (b"GET http://a/b HTTP/1.1\r\n", Kind::Request),
        // Cut off.
        (b"G", Kind::Split),
        (b"GET", Kind::Split),
        (b"GET /", Kind::Split),
        (b"GET / HTT", Kind::Split),
        (b"GET / HTTP/1.1", Kind::Split),
        (b"GET /a/long/path/that/goes/on", Kind::Split),
        (b"PROPFIND", Kind::Split),
        // Other protocols.
        (b"GET foo\r\n", Kind::Other),
        (b"GET foo\r\nSET a b\r\n", Kind::Other),
        (b"GET / HTTP/2.0\r\n", Kind::Other),
        (b"GET / HTTP/1.2\r\n", Kind::Other),
        (b"GET / HTTP/1.1 \r\n", Kind::Other),
        (b"get / HTTP/1.1\r\n", Kind::Other),
        (b"INVITE sip:a SIP/2.0\r\n", Kind::Other),
        (b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", Kind::Other),
        (b"HTTP/1.1 200 OK\r\n", Kind::Other),
        (b" GET / HTTP/1.1\r\n", Kind::Other),
        (b"\r\nGET / HTTP/1.1\r\n", Kind::Other),
        (b"\x00", Kind::Other),
        (b"EHLO mail.example.com\r\n", Kind::Other),
        (b"\x16\x03\x01\x02\x00\x01", Kind::Tls),
        (b"\x17\x03\x03\x00\x20", Kind::Tls),
        (b"\x16\x05\x01\x02\x00\x01", Kind::Other),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Kind::Http2),
    ] {
        assert_eq!(read(payload).0, want, "{}", String::from_utf8_lossy(payload));
    }
    let mut long = b"GET /".to_vec();
    long.resize(2000, b'a');
    long.extend(b" HTTP/1.1\r\n\r\n");
    assert_eq!(read(&long).0, Kind::Split, "longer than what is looked at");
}

#[test]
fn paths_end_before_their_query() {
    for (target, want) in [
        ("/", "/"),
        ("/pay/1", "/pay/1"),
        ("/pay?x=/a", "/pay"),
        ("/?", "/"),
        ("http://a.example:80/b/c?d", "/b/c"),
        ("http://a.example", ""),
        ("HTTP://a.example/x", "/x"),
        ("*", "*"),
        ("a.example:443", ""),
    ] {
        let payload = std::format!("GET {target} HTTP/1.1\r\nHost: z\r\n\r\n");
        assert_eq!(path_of(payload.as_bytes()).as_deref(), Some(want), "{target}");
    }
}

#[test]
fn patterns_name_paths() {
    for (pattern, path, want) in [
        ("/pay", "/pay", true),
        ("/pay", "/pay/", false),
        ("/pay", "/payx", false),
        ("/pay", "/pa", false),
        ("/pay/*", "/pay/", true),
        ("/pay/*", "/pay/1/2", true),
        ("/pay/*", "/pay", false),
        ("*", "/", true),
        ("*.json", "/a.json", true),
        ("*.json", "/a.json.gz", false),
        ("*.json", "/.json.json", true),
        ("/a/*/b", "/a/1/b", true),
        ("/a/*/b", "/a/1/2/b", true),
        ("/a/*/b", "/a//b", true),
        ("/a/*/b", "/a/b", false),
        ("/a/*/b*", "/a/1/bc", true),
        ("/*/x/*/y", "/1/x/x/y", true),
        ("/longer/than/eight", "/longer/than/eight", true),
        ("/longer/than/eight", "/longer/than/eighT", false),
    ] {
        let payload = std::format!("GET {path}?q=1 HTTP/1.1\r\n\r\n");
        let want = if want { Named::Yes } else { Named::No };
        assert_eq!(
            named(&with_path(pattern), payload.as_bytes()),
            want,
            "{pattern} {path}"
        );
    }
}

#[test]
fn hosts_are_found_wherever_their_header_is() {
    for (pattern, headers, want) in [
        ("a.example", "Host: a.example", Named::Yes),
        ("a.example", "hOST:A.exAMple:8080", Named::Yes),
        ("a.example", "Host: \t a.example ", Named::Yes),
        ("a.example", "User-Agent: x\r\nHost: a.example", Named::Yes),
        ("a.example", "X: Host: a.example\r\nHost: b.example", Named::No),
        ("a.example", "X-Host: a.example\r\nHost: b.example", Named::No),
        ("a.example", "Host: a.example.org", Named::No),
        ("a.example", "Host: aa.example", Named::No),
        ("a.example", "Hosts: a.example", Named::Unknown),
        ("a.example", "X: y", Named::Unknown),
        ("a.example", "X: y\r\n\r\nHost: a.example", Named::Unknown),
        (".example", "Host: a.b.example", Named::Yes),
        (".example", "Host: example", Named::No),
        (".example", "Host: .example", Named::No),
        ("[::1]", "Host: [::1]:80", Named::Yes),
        ("10.0.0.1", "Host: 10.0.0.1", Named::Yes),
    ] {
        let payload = std::format!("GET / HTTP/1.1\r\n{headers}\r\n\r\n");
        assert_eq!(
            named(&with_host(pattern), payload.as_bytes()),
            want,
            "{pattern} {headers}"
        );
    }
    let late = std::format!(
        "GET / HTTP/1.1\r\nCookie: {}\r\nHost: a\r\n\r\n",
        "x".repeat(1100)
    );
    assert_eq!(named(&with_host("a"), late.as_bytes()), Named::Unknown);
    let far = std::format!("GET / HTTP/1.1\r\nCookie: {}\r\nHost: a\r\n\r\n", "x".repeat(900));
    assert_eq!(named(&with_host("a"), far.as_bytes()), Named::Yes);
    let proxied = b"GET http://a.example:81/ HTTP/1.1\r\nHost: b\r\n\r\n";
    assert_eq!(named(&with_host("a.example"), proxied), Named::Yes);
    assert_eq!(named(&with_host("b"), proxied), Named::No);
}

#[test]
fn methods_are_whole_words() {
    let mut http = Http {
        method_count: 2,
        ..Http::default()
    };
    http.methods[..2].copy_from_slice(
        &words::<1>(b"GET")
            .into_iter()
            .chain(words::<1>(b"PROPFIND"))
            .collect::<Vec<_>>(),
    );
    for (method, want) in [
        ("GET", Named::Yes),
        ("PROPFIND", Named::Yes),
        ("GETS", Named::No),
        ("POST", Named::No),
        ("G", Named::No),
    ] {
        let payload = std::format!("{method} / HTTP/1.1\r\n\r\n");
        assert_eq!(named(&http, payload.as_bytes()), want, "{method}");
    }
}

/// What anybody would write who need not please a verifier.
fn glob_by_recursion(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|n| glob_by_recursion(rest, &text[n..])),
        Some((first, rest)) => text
            .split_first()
            .is_some_and(|(t, more)| t == first && glob_by_recursion(rest, more)),
    }
}

fn wire(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(label.len() as u8);
        wire.extend(label.bytes());
    }
    wire.push(0);
    wire
}

fn query(name: &[u8], kind: u16) -> Vec<u8> {
    let mut message = std::vec![0x12, 0x34, 1, 0x20, 0, 1, 0, 0, 0, 0, 0, 1];
    message.extend(name);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    // EDNS with a cookie.
    message.extend([
        0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8,
    ]);
    message
}

fn question(message: &[u8]) -> Option<dns::Question> {
    dns::read::<Plain, _>(&room(message), message.len() as u32)
}

fn asks(pattern: &str, asked: &str) -> bool {
    let (wild, name) = match pattern.strip_prefix("*") {
        Some(rest) => (1, wire(rest)),
        None => (0, wire(pattern)),
    };
    let mut rule = abi::Dns {
        name_count: 1,
        ..abi::Dns::default()
    };
    rule.names[0] = DnsName {
        length: name.len() as u32,
        wild,
        name: words(&name),
    };
    let message = query(&wire(asked), 1);
    let question = question(&message).expect(asked);
    dns::names::<Plain, _>(&rule, &room(&message), &question)
}

#[test]
fn names_are_compared_label_by_label() {
    for (pattern, asked, want) in [
        ("db.example.com", "db.example.com", true),
        ("db.example.com", "DB.Example.COM", true),
        ("db.example.com", "b.example.com", false),
        ("db.example.com", "x.db.example.com", false),
        ("*.example.com", "a.example.com", true),
        ("*.example.com", "a.b.EXAMPLE.com", true),
        ("*.example.com", "example.com", false),
        ("*.example.com", "badexample.com", false),
        ("*", "anything.at.all", true),
    ] {
        assert_eq!(asks(pattern, asked), want, "{pattern} {asked}");
    }
    // A label whose bytes look like the end of another name.
    let mut sly = std::vec![12u8];
    sly.extend(b"a\x07example\x03co");
    sly.extend(b"\x01m\x00");
    let rule_name = wire("example.com");
    let mut rule = abi::Dns {
        name_count: 1,
        ..abi::Dns::default()
    };
    rule.names[0] = DnsName {
        length: rule_name.len() as u32,
        wild: 1,
        name: words(&rule_name),
    };
    let message = query(&sly, 1);
    let found = question(&message).unwrap();
    assert!(!dns::names::<Plain, _>(&rule, &room(&message), &found));
}

#[test]
fn only_plain_questions_are_read() {
    let good = query(&wire("a.example"), 28);
    assert_eq!(question(&good), Some(dns::Question { name: 11, kind: 28 }));
    for (at, byte, why) in [
        (2, 0x81, "an answer"),
        (2, 0x28, "another kind"),
        (5, 2, "two questions"),
        (5, 0, "none"),
        (7, 1, "with an answer"),
        (9, 1, "with an authority"),
        (12, 0xc0, "a pointer"),
        (12, 64, "a long label"),
        (26, 3, "another class"),
    ] {
        let mut bad = good.clone();
        bad[at] = byte;
        assert_eq!(question(&bad), None, "{why}");
    }
    for cut in 1..27 {
        assert_eq!(question(&good[..cut]), None, "{cut}");
    }
    let long = wire(&"a234567.".repeat(32));
    assert_eq!(long.len(), 257);
    assert_eq!(question(&query(&long, 1)), None);
}

fn packet() -> Packet {
    Packet {
        version: 4,
        source: crate::address::Address::v4(0x0100_000a),
        destination: crate::address::Address::v4(0x0200_000a),
        source_port: 40000,
        destination_port: 80,
        protocol: 6,
        ..Packet::default()
    }
}

#[test]
fn a_response_ends_the_connection_where_the_client_is() {
    let request = Numbers {
        sequence: u32::MAX - 9,
        acknowledgement: 77,
        flags: tcp::ACK,
    };
    let numbers = answer::response(request, 100);
    assert_eq!((numbers.sequence, numbers.acknowledgement), (77, 90));
    assert_eq!(numbers.flags & tcp::FIN, tcp::FIN);
    let last = Numbers {
        sequence: 90,
        acknowledgement: 78,
        flags: tcp::ACK | tcp::FIN,
    };
    let numbers = answer::acknowledgement(last, 10, 500);
    assert_eq!(
        (numbers.sequence, numbers.acknowledgement, numbers.flags),
        (500, 101, tcp::ACK)
    );
}

proptest! {
    #[test]
    fn globs_say_what_recursion_says(pattern in "[/ab*]{1,12}", path in "[/ab]{0,24}") {
        prop_assume!(!pattern.contains("**"));
        let payload = path.as_bytes().to_vec();
        let room = room(&payload);
        let found = text::glob::<Plain, _, PATTERN_WORDS>(
            &room, 0, payload.len() as u32, &words(pattern.as_bytes()), pattern.len() as u32);
        prop_assert_eq!(found, glob_by_recursion(pattern.as_bytes(), path.as_bytes()));
    }

    #[test]
    fn lower_case_is_ascii(bytes: [u8; 8]) {
        let want = u64::from_le_bytes(bytes.to_ascii_lowercase().try_into().unwrap());
        prop_assert_eq!(text::lower(u64::from_le_bytes(bytes)), want);
    }

    #[test]
    fn upper_case_is_ascii(bytes: [u8; 8], length in 1u32..=8) {
        let want = bytes[..length as usize].iter().all(u8::is_ascii_uppercase);
        prop_assert_eq!(text::is_upper(u64::from_le_bytes(bytes), length), want);
    }

    #[test]
    fn needles_are_found_where_they_are(bytes in prop::collection::vec(0u8..6, 0..64), from in 0usize..70, needle in 0u8..6) {
        let room = room(&bytes);
        let found = text::seek::<Plain, _>(&room, from as u32, bytes.len() as u32, needle);
        let want = bytes.iter().skip(from).position(|b| *b == needle).map(|at| at + from);
        match want {
            Some(at) => prop_assert_eq!(found, at as u32),
            None => prop_assert!(found as usize >= bytes.len()),
        }
    }

    /// Whatever comes: a request is one for a parser of the whole text, too.
    #[test]
    fn no_noise_is_a_request(payload in prop::collection::vec(any::<u8>(), 1..200)) {
        if let Some(_path) = path_of(&payload) {
            let text = String::from_utf8_lossy(&payload).into_owned();
            let line = text.split('\n').next().unwrap();
            let mut words = line.trim_end_matches('\r').splitn(3, ' ');
            prop_assert!(words.next().unwrap().bytes().all(|b| b.is_ascii_uppercase()));
            prop_assert!(words.next().is_some());
            prop_assert!(["HTTP/1.0", "HTTP/1.1"].contains(&words.next().unwrap()));
        }
    }

    /// Requests with a byte changed or cut off are read as such, never beyond their end.
    #[test]
    fn damaged_requests_stay_within_their_bounds(at in 0usize..60, byte: u8, cut in 1usize..60) {
        let mut payload = b"POST /pay/1?x=2 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc".to_vec();
        payload[at] = byte;
        payload.truncate(cut);
        let (kind, mut request) = read(&payload);
        if kind == Kind::Request {
            prop_assert!(request.path <= request.path_end && request.path_end as usize <= payload.len());
            let mut http = with_host("a.example");
            http.path_kind = path_kind::ANY;
            let said = http::names::<Plain, _>(&http, &room(&payload), &mut request);
            if said == Named::Yes {
                let text = String::from_utf8_lossy(&payload).to_ascii_lowercase();
                prop_assert!(text.contains("a.example"));
            }
            prop_assert!(request.host_end as usize <= payload.len());
        }
    }

    #[test]
    fn damaged_questions_stay_within_their_bounds(at in 0usize..50, byte: u8, cut in 1usize..50) {
        let mut message = query(&wire("db.example.com"), 1);
        if let Some(place) = message.get_mut(at) {
            *place = byte;
        }
        message.truncate(cut);
        if let Some(question) = question(&message) {
            prop_assert!(question.end() as usize <= message.len());
        }
    }

    #[test]
    fn checksums_of_answers_verify(body in prop::collection::vec(any::<u8>(), 0..100), stamped: bool, words in any::<[u32; 2]>()) {
        let mut padded = body.clone();
        padded.resize(body.len().next_multiple_of(2), 0);
        let data = padded.chunks(2).fold(Sum::default(), |sum, pair| sum.word(u16::from_ne_bytes([pair[0], pair[1]])));
        let segment = answer::Segment {
            numbers: Numbers { sequence: 1, acknowledgement: 2, flags: tcp::ACK },
            stamps: stamped.then_some(words),
            length: body.len() as u32,
            sum: !data.fold(),
            partial: false,
        };
        let header = segment.header(&packet());
        let length = segment.header_length();
        let whole = header.iter().take(length as usize / 2).fold(data, |sum, word| sum.word(*word));
        let ends = pseudo(&packet(), 6, length + body.len() as u32);
        prop_assert_eq!(ends.word(!whole.fold()).fold(), 0);
    }
}

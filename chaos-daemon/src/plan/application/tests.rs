//! What people write, read back by the steps that the kernel programs walk.

use chaos_ebpf_common::{
    abi::{Hook, Rule, fault, protocol, then},
    application::{
        dns, http,
        slice::{Plain, Slice},
    },
};
use chaos_spec::{FaultSpec, PathPattern, parse};
use proptest::prelude::*;

use super::{Application, write};
use crate::plan::{Context, Draft, drafts};

fn spec(traffic: &str, fault: &str) -> FaultSpec {
    let text = format!(
        "apiVersion: chaos-daemon.dev/v1alpha1\nkind: NetworkFault\nmetadata: {{name: a}}\nspec:\n  target: {{netns: a}}\n  \
         traffic: {{{traffic}}}\n  fault: {{{fault}}}\n  duration: 1m\n"
    );
    let mut read = parse("test", text.as_bytes()).expect(&text);
    read.remove(0).fault.spec
}

fn drafted(traffic: &str, fault: &str) -> Vec<Draft> {
    let context = Context {
        seed: 7,
        addresses: &[],
    };
    drafts(&spec(traffic, fault), &context).expect("it fits")
}

fn of(fault: &str) -> (Application, Rule) {
    let mut rule = Rule::default();
    let application = write(&spec("", fault).fault, &mut rule).expect("it asks about payloads");
    (application, rule)
}

fn names_request(fault: &str, request: &str) -> bool {
    let (Application::Http(rule), _) = of(fault) else {
        panic!("an http rule");
    };
    let head = Slice::new(request.as_bytes(), b"/pay HTTP/1.1\r\nHost: a\r\n");
    let mut found = http::Request::default();
    assert_eq!(
        http::read(&head, head.length(), &mut found),
        http::Kind::Request,
        "{request}"
    );
    http::names::<Plain, _>(&rule, &head, &mut found) == http::Named::Yes
}

#[test]
fn what_is_written_is_what_is_named() {
    let fault = r#"http: {status: 503, method: [GET, POST], path: "/pay/*", host: "*.example.com"}"#;
    for (request, want) in [
        ("GET /pay/1?a=b HTTP/1.1\r\nHost: a.Example.com:80\r\n\r\n", true),
        ("POST /pay/ HTTP/1.1\r\nHost: a.b.example.com\r\n\r\n", true),
        ("PUT /pay/ HTTP/1.1\r\nHost: a.example.com\r\n\r\n", false),
        ("GET /pay HTTP/1.1\r\nHost: a.example.com\r\n\r\n", false),
        ("GET /pay/1 HTTP/1.1\r\nHost: example.com\r\n\r\n", false),
    ] {
        assert_eq!(names_request(fault, request), want, "{request}");
    }
}

#[test]
fn the_answer_is_there_with_its_sums() {
    let (Application::Http(rule), marked) =
        of(r#"http: {status: 503, body: "odd", headers: {Retry-After: "5"}}"#)
    else {
        panic!("an http rule");
    };
    assert_eq!((marked.faults, marked.protocol), (fault::HTTP, protocol::TCP));
    assert_eq!(rule.then, then::ANSWER);
    let text = std::str::from_utf8(&rule.response[..rule.length as usize]).expect("text");
    assert!(
        text.starts_with("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n"),
        "{text}"
    );
    assert!(text.ends_with("\r\n\r\nodd"), "{text}");
    assert_eq!(rule.length, rule.head + 3);
    let sum = |bytes: &[u8]| {
        let words = bytes
            .chunks(2)
            .map(|pair| u32::from(pair[0]) + (u32::from(*pair.get(1).unwrap_or(&0)) << 8));
        words.fold(0u32, |sum, word| (sum + word) % 0xffff)
    };
    for (length, given) in [(rule.length, rule.sum), (rule.head, rule.head_sum)] {
        assert_eq!(sum(&rule.response[..length as usize]), u32::from(given) % 0xffff);
    }
}

#[test]
fn look_ups_are_those_of_port_53_at_the_end_where_their_server_is() {
    let both = drafted("direction: both", "dns: {answer: nxdomain}");
    assert_eq!(both.len(), 2);
    let at = |hook| {
        both.iter()
            .find(|draft| draft.holds_at(hook))
            .expect("one for each hook")
            .rule
    };
    let (egress, ingress) = (at(Hook::Egress), at(Hook::Ingress));
    assert_eq!((egress.remote_ranges, egress.local_ranges), (1, 0));
    assert_eq!((ingress.remote_ranges, ingress.local_ranges), (0, 1));
    assert_eq!(egress.remote_ports[0].first, 53);
    let named = drafted(
        "direction: both, remote: {ports: [5353]}",
        "dns: {answer: nxdomain}",
    );
    assert_eq!(named.len(), 1);
    assert!(named[0].holds_at(Hook::Egress) && named[0].holds_at(Hook::Ingress));
}

#[test]
fn look_ups_over_tcp_are_reset_beside_their_answers_when_that_is_asked_for() {
    let drafts = drafted("", "dns: {delay: 1s, tcp: reset}");
    let kinds: Vec<_> = drafts
        .iter()
        .map(|d| {
            (
                d.rule.faults,
                d.rule.protocol,
                d.application.is_some(),
                d.line.is_some(),
            )
        })
        .collect();
    assert_eq!(
        kinds,
        [
            (fault::DNS, protocol::UDP, true, true),
            (fault::RESET, protocol::TCP, false, false)
        ]
    );
}

#[test]
fn records_follow_the_question() {
    let (Application::Dns(rule), _) =
        of("dns: {answer: {a: [192.0.2.1, 192.0.2.2], ttl: 9s}, names: db.example.com}")
    else {
        panic!("a dns rule");
    };
    assert_eq!((rule.a.count, rule.a.length, rule.aaaa.count), (2, 32, 0));
    assert_eq!(rule.type_count, 2, "A and AAAA");
    let bytes: Vec<u8> = rule
        .a
        .bytes
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .take(16)
        .collect();
    assert_eq!(bytes, [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 1]);
    let message =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02DB\x07example\x03com\x00\x00\x01\x00\x01";
    let head = Slice::new(message, b"\x03com\x00");
    let question = dns::read::<Plain, _>(&head, head.length()).expect("a question");
    assert!(dns::names::<Plain, _>(&rule, &head, &question));
}

proptest! {
    /// The pattern means in the kernel what it means in the spec.
    #[test]
    fn paths_are_named_alike(pattern in "/[ab/*]{0,10}", path in "/[ab/]{0,20}") {
        prop_assume!(!pattern.contains("**"));
        let reference: PathPattern = pattern.parse().expect("a pattern");
        let named = names_request(
            &format!("http: {{status: 500, path: \"{pattern}\"}}"),
            &format!("GET {path}?x=* HTTP/1.1\r\n\r\n"),
        );
        prop_assert_eq!(named, reference.matches(&path), "{} {}", pattern, path);
    }
}

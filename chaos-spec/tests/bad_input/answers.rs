//! What is answered in the kernel: requests and look-ups.

use crate::{GOOD, Parts, check, fault, messages};

const fn dns(fault: &str) -> Parts<'_> {
    Parts {
        traffic: "traffic: {protocol: udp}",
        fault,
        ..GOOD
    }
}

const fn both<'a>(traffic: &'a str, fault: &'a str) -> Parts<'a> {
    Parts {
        traffic,
        fault,
        ..GOOD
    }
}

const HTTP: &str = "fault: {http: {status: 503}}";
const DNS: &str = "fault: {dns: {answer: nxdomain}}";

#[test]
fn what_is_well() {
    for good in [
        "fault: {http: {status: 503, chance: 40%, method: [GET, POST], path: '/pay/*', host: payments.example.com}}",
        "fault: {http: {status: 204}}",
        "fault: {http: {status: 304, headers: {ETag: '\"a\"'}}}",
        "fault: {http: {status: 401, body: '{}', headers: {Content-Type: application/json, Retry-After: 5, X-A: true}}}",
        "fault: {http: {abort: true, method: GET}}",
        "fault: {http: {delay: 300ms, host: '*.example.com'}}",
    ] {
        assert_eq!(fault(good).messages(), "no error", "{good}");
        assert_eq!(both("traffic: {}", good).messages(), "no error", "{good}");
    }
    for good in [
        "fault: {dns: {answer: nxdomain, names: ['*.example.com', _a._tcp.b], types: [A, AAAA, TYPE123], chance: 5%}}",
        "fault: {dns: {answer: servfail, names: '*'}}",
        "fault: {dns: {answer: refused, types: TXT}}",
        "fault: {dns: {answer: timeout}}",
        "fault: {dns: {answer: {a: [192.0.2.7], aaaa: ['2001:db8::7'], ttl: 1h}, types: [AAAA]}}",
        "fault: {dns: {answer: {a: [192.0.2.7], ttl: 0s}}}",
        "fault: {dns: {delay: 2s}}",
    ] {
        assert_eq!(dns(good).messages(), "no error", "{good}");
        assert_eq!(both("traffic: {}", good).messages(), "no error", "{good}");
    }
    let reset = "fault: {dns: {answer: nxdomain, tcp: reset}}";
    assert_eq!(both("traffic: {}", reset).messages(), "no error");
}

#[test]
fn requests_and_look_ups_stand_alone() {
    check(&[
        (
            fault("fault: {drop: {chance: 1%}, http: {status: 503}}"),
            "7:31: spec.fault.http: `http` stands alone, and `drop` is written beside it – make it a fault of its own",
        ),
        (
            dns("fault: {dns: {answer: nxdomain}, partition: {}}"),
            "7:11: spec.fault.dns: `dns` stands alone, and `partition` is written beside it – make it a fault of its own",
        ),
        (
            both("traffic: {}", "fault: {http: {abort: true}, dns: {delay: 2s}}"),
            "7:11: spec.fault.http: `http` stands alone, and `dns` is written beside it – make it a fault of its own\n\
             f.yaml:7:32: spec.fault.dns: `dns` stands alone, and `http` is written beside it – make it a fault of its own",
        ),
    ]);
}

#[test]
fn one_thing_becomes_of_requests() {
    check(&[
        (
            fault("fault: {http: {chance: 40%}}"),
            "7:11: spec.fault.http: it does not say what becomes of the requests – write `status: 503`, `abort: true` or `delay: 300ms`",
        ),
        (
            fault("fault: {http: {status: 503, delay: 1s}}"),
            "7:11: spec.fault.http: `status` and `delay` are given together – keep exactly one of them; another is a fault of its own",
        ),
        (
            fault("fault: {http: {abort: false}}"),
            "7:25: spec.fault.http.abort: `false` says nothing – write `true`, or leave it out",
        ),
        (
            fault("fault: {http: {status: 100}}"),
            "7:26: spec.fault.http.status: 100 is no status that ends a request – write one between 200 and 599",
        ),
        (
            fault("fault: {http: {status: '503'}}"),
            "7:26: spec.fault.http.status: expected a whole number, found the text `503` – leave the quotes out: 503",
        ),
        (
            fault("fault: {http: {delay: 61m}}"),
            "7:25: spec.fault.http.delay: requests would wait for more than an hour – write less, or `abort: true`",
        ),
        (
            fault("fault: {http: {abort: true, body: a}}"),
            "7:37: spec.fault.http.body: it is part of an answer, and there is none – write a `status`, or leave it out",
        ),
        (
            fault("fault: {http: {delay: 1s, headers: {A: b}}}"),
            "7:29: spec.fault.http.headers: it is part of an answer, and there is none – write a `status`, or leave it out",
        ),
        (
            fault("fault: {http: {status: 204, body: a}}"),
            "7:37: spec.fault.http.body: an answer with the status 204 has no body – leave it out, or write another `status`",
        ),
        (
            both("traffic: {protocol: udp}", HTTP),
            "6:23: spec.traffic.protocol: HTTP/1.1 is over TCP: UDP has no requests to read – write `protocol: tcp`, or leave it out",
        ),
        (
            both("traffic: {connections: new}", HTTP),
            "6:26: spec.traffic.connections: the segments that open a connection hold no request – leave it out",
        ),
    ]);
}

#[test]
fn headers_and_bodies() {
    check(&[
        (
            fault("fault: {http: {status: 503, headers: {'Retry After': 5}}}"),
            "7:56: spec.fault.http.headers.Retry After: `Retry After` is no name of a header – write letters, digits and hyphens, such as `Retry-After`",
        ),
        (
            fault("fault: {http: {status: 503, headers: {connection: keep-alive}}}"),
            "7:53: spec.fault.http.headers.connection: `connection` is written by the fault itself – leave it out",
        ),
        (
            fault("fault: {http: {status: 503, headers: {A: b, a: c}}}"),
            "7:50: spec.fault.http.headers.a: `a` is written twice, and case makes no difference – keep one of them",
        ),
        (
            fault("fault: {http: {status: 503, headers: {A: \"b\\r\\nSet-Cookie: c\"}}}"),
            "7:44: spec.fault.http.headers.A: the value has control characters, or letters outside of ASCII – write ASCII in one line",
        ),
        (
            fault("fault: {http: {status: 503, headers: {A: [b]}}}"),
            "7:41: spec.fault.http.headers.A: expected the value of a header, such as `\"5\"`, found a list – write it without the brackets",
        ),
    ]);
    let body = |length: usize| {
        messages(
            "f.yaml",
            &fault("fault: {http: {status: 500, body: X}}")
                .text()
                .replace('X', &"x".repeat(length)),
        )
    };
    let head = "HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 1085\r\nConnection: close\r\n\r\n".len();
    assert_eq!(body(1200 - head), "no error");
    assert_eq!(
        body(1200 - head + 7),
        "f.yaml:7:37: spec.fault.http.body: the answer is 7 bytes longer than the 1200, with all headers, that fit into one segment – write less"
    );
}

#[test]
fn what_chooses_requests() {
    check(&[
        (
            fault("fault: {http: {status: 503, method: get}}"),
            "7:39: spec.fault.http.method: `get` is not a method: they are in capitals – write `GET`",
        ),
        (
            fault("fault: {http: {status: 503, method: [GET, GET]}}"),
            "7:45: spec.fault.http.method[1]: GET is named twice – name it once",
        ),
        (
            fault("fault: {http: {status: 503, method: []}}"),
            "7:31: spec.fault.http.method: the list is empty – name at least one, or leave the field out",
        ),
        (
            fault("fault: {http: {status: 503, method: [A, B, C, D, E, F, G, H, I]}}"),
            "7:31: spec.fault.http.method: 9 are more than the 8 that can be told apart – leave some out, or write another fault for them",
        ),
        (
            fault("fault: {http: {status: 503, path: 'pay/*'}}"),
            "7:37: spec.fault.http.path: `pay/*` begins with neither `/` nor `*` – write `/pay/*`",
        ),
        (
            fault("fault: {http: {status: 503, path: '/pay?card=*'}}"),
            "7:37: spec.fault.http.path: `/pay?card=*` has a query, which is never looked at – write the path alone, without `?` and `#`",
        ),
        (
            fault("fault: {http: {status: 503, host: 'pay.example:8080'}}"),
            "7:37: spec.fault.http.host: `pay.example:8080` has a port – write the host alone; ports go under `traffic.remote.ports`",
        ),
        (
            fault("fault: {http: {status: 503, paths: /a}}"),
            "7:31: spec.fault.http.paths: there is no such field – did you mean `path`?",
        ),
    ]);
}

#[test]
fn one_thing_becomes_of_look_ups() {
    check(&[
        (
            dns("fault: {dns: {names: a}}"),
            "7:11: spec.fault.dns: it does not say what becomes of the look-ups – write `answer: nxdomain` or `delay: 2s`",
        ),
        (
            dns("fault: {dns: {answer: nxdomain, delay: 2s}}"),
            "7:11: spec.fault.dns: `answer` and `delay` are given together – keep one of them; another is a fault of its own",
        ),
        (
            dns("fault: {dns: {answer: nxdomian}}"),
            "7:25: spec.fault.dns.answer: `nxdomian` is not known here – did you mean `nxdomain`?",
        ),
        (
            dns("fault: {dns: {delay: 2h}}"),
            "7:24: spec.fault.dns.delay: look-ups would wait for more than an hour – write less, or `answer: timeout`",
        ),
        (
            both("traffic: {protocol: tcp}", DNS),
            "6:23: spec.traffic.protocol: look-ups are answered over UDP, and passed or reset over TCP – leave it out; write `reset` or `reject` for TCP alone",
        ),
        (
            both("traffic: {protocol: icmp}", DNS),
            "6:23: spec.traffic.protocol: ICMP has no look-ups – write `protocol: udp`, or leave it out",
        ),
        (
            dns("fault: {dns: {answer: nxdomain, tcp: reset}}"),
            "7:40: spec.fault.dns.tcp: the protocol is UDP, so no connection is there to be reset – leave it out, or leave `protocol` out",
        ),
        (
            both("traffic: {connections: established}", DNS),
            "6:26: spec.traffic.connections: look-ups over UDP have no connections – leave it out",
        ),
    ]);
}

#[test]
fn names_types_and_records() {
    check(&[
        (
            dns("fault: {dns: {answer: nxdomain, names: [a, A.]}}"),
            "7:46: spec.fault.dns.names[1]: a is named twice – name it once",
        ),
        (
            dns("fault: {dns: {answer: nxdomain, names: 'münchen.example'}}"),
            "7:42: spec.fault.dns.names: `münchen.example` has letters outside of ASCII – write it as it is asked for, in punycode: `xn--…`",
        ),
        (
            dns("fault: {dns: {answer: nxdomain, names: ['a.*.example.com']}}"),
            "7:43: spec.fault.dns.names[0]: `a.*.example.com` has a `*` that is no whole label on the left – write `*.example.com`, or `*` for every name",
        ),
        (
            dns("fault: {dns: {answer: nxdomain, types: [AAA]}}"),
            "7:43: spec.fault.dns.types[0]: `AAA` is no type of record – write one such as `A`, `AAAA` or `TXT`, or its number as `TYPE65`",
        ),
        (
            dns("fault: {dns: {answer: {}}}"),
            "7:17: spec.fault.dns.answer: there is no record in it – write `a: [192.0.2.7]`, or `nxdomain`",
        ),
        (
            dns("fault: {dns: {answer: {a: ['2001:db8::7']}}}"),
            "7:30: spec.fault.dns.answer.a[0]: `2001:db8::7` is no IPv4 address – write it under `aaaa`",
        ),
        (
            dns("fault: {dns: {answer: {aaaa: [db]}}}"),
            "7:33: spec.fault.dns.answer.aaaa[0]: `db` is no IPv6 address – write for example `2001:db8::7`",
        ),
        (
            dns("fault: {dns: {answer: {a: [192.0.2.7], ttl: 1500ms}}}"),
            "7:47: spec.fault.dns.answer.ttl: DNS counts in whole seconds, and 1s 500ms has a part of one – write for example `5s`; `0s` is not to be kept",
        ),
        (
            dns("fault: {dns: {answer: {a: [192.0.2.7], ttl: 8days}}}"),
            "7:47: spec.fault.dns.answer.ttl: 8days is longer than resolvers keep an answer – write at most `7days`",
        ),
        (
            dns("fault: {dns: {answer: {a: [192.0.2.7]}, types: [A, MX]}}"),
            "7:54: spec.fault.dns.types[1]: records are made for A and AAAA, and MX is neither – leave it out, or write `nxdomain` in a fault of its own",
        ),
    ]);
    let nine = ["192.0.2.1"; 9].join(", ");
    assert_eq!(
        dns(&format!("fault: {{dns: {{answer: {{a: [{nine}]}}}}}}")).messages(),
        "f.yaml:7:26: spec.fault.dns.answer.a: 9 addresses are more than the 8 of one family in an answer – leave some out"
    );
}

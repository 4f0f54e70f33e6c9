use std::collections::HashSet;

use super::line::LONGEST;
use super::{Errors, count};
use crate::path::SpecPath;
use crate::{Connections, FaultSpec, Http, Protocol, RESPONSE_MAX, Traffic};

const FIELD: &str = "spec.fault.http";

pub(super) fn check(spec: &FaultSpec, errors: &mut Errors) {
    let Some(http) = &spec.fault.http else {
        return;
    };
    check_traffic(&spec.traffic, errors);
    check_action(http, errors);
    if http.status.is_some() {
        check_answer(http, errors);
    } else {
        check_no_answer(http, errors);
    }
    if http.delay.is_some_and(|delay| delay > LONGEST) {
        errors.add(
            "spec.fault.http.delay",
            "requests would wait for more than an hour",
            "write less, or `abort: true`",
        );
    }
    count::check("spec.fault.http.method", &http.method, Http::MOST_METHODS, errors);
}

fn check_traffic(traffic: &Traffic, errors: &mut Errors) {
    if !traffic.protocol.has_tcp() {
        let name = if traffic.protocol == Protocol::Udp {
            "UDP"
        } else {
            "ICMP"
        };
        errors.add(
            "spec.traffic.protocol",
            format!("HTTP/1.1 is over TCP: {name} has no requests to read"),
            "write `protocol: tcp`, or leave it out",
        );
    }
    if traffic.connections == Connections::New {
        errors.add(
            "spec.traffic.connections",
            "the segments that open a connection hold no request",
            "leave it out",
        );
    }
}

fn check_action(http: &Http, errors: &mut Errors) {
    let mut actions = Vec::new();
    actions.extend(http.status.map(|_| "`status`"));
    actions.extend(http.abort.filter(|abort| *abort).map(|_| "`abort`"));
    actions.extend(http.delay.map(|_| "`delay`"));
    if http.abort == Some(false) {
        errors.add(
            "spec.fault.http.abort",
            "`false` says nothing",
            "write `true`, or leave it out",
        );
    } else if actions.is_empty() {
        errors.add(
            FIELD,
            "it does not say what becomes of the requests",
            "write `status: 503`, `abort: true` or `delay: 300ms`",
        );
    }
    if actions.len() > 1 {
        let message = format!("{} are given together", actions.join(" and "));
        errors.add(
            FIELD,
            message,
            "keep exactly one of them; another is a fault of its own",
        );
    }
    if let Some(status) = http.status.filter(|status| !(200..=599).contains(status)) {
        errors.add(
            "spec.fault.http.status",
            format!("{status} is no status that ends a request"),
            "write one between 200 and 599",
        );
    }
}

fn check_no_answer(http: &Http, errors: &mut Errors) {
    for (field, written) in [
        ("body", http.body.is_some()),
        ("headers", !http.headers.is_empty()),
    ] {
        if written {
            errors.at(
                SpecPath::of(FIELD).field(field),
                "it is part of an answer, and there is none",
                "write a `status`, or leave it out",
            );
        }
    }
}

fn check_answer(http: &Http, errors: &mut Errors) {
    let has_body = http.body.as_ref().is_some_and(|body| !body.is_empty());
    if let Some(status) = http
        .status
        .filter(|status| has_body && !Http::may_have_body(*status))
    {
        errors.add(
            "spec.fault.http.body",
            format!("an answer with the status {status} has no body"),
            "leave it out, or write another `status`",
        );
    }
    check_headers(http, errors);
    let length = http.response().map_or(0, |response| response.bytes.len());
    if length > RESPONSE_MAX {
        let field = if has_body { "body" } else { "headers" };
        let message = format!(
            "the answer is {} bytes longer than the {RESPONSE_MAX}, with all headers, that fit into one segment",
            length - RESPONSE_MAX
        );
        errors.at(SpecPath::of(FIELD).field(field), message, "write less");
    }
}

/// Written here, because they say how long the answer is and that the connection ends.
const OURS: [&str; 3] = ["Content-Length", "Transfer-Encoding", "Connection"];

fn check_headers(http: &Http, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (name, value) in &http.headers.0 {
        let mut wrong = |message: String, remedy: &str| {
            errors.at(SpecPath::of(FIELD).field("headers").field(name), message, remedy);
        };
        if name.is_empty() || !name.bytes().all(is_token) {
            let message = format!("`{}` is no name of a header", name.escape_debug());
            wrong(
                message,
                "write letters, digits and hyphens, such as `Retry-After`",
            );
        } else if OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name)) {
            wrong(format!("`{name}` is written by the fault itself"), "leave it out");
        } else if !seen.insert(name.to_ascii_lowercase()) {
            wrong(
                format!("`{name}` is written twice, and case makes no difference"),
                "keep one of them",
            );
        }
        if !value
            .bytes()
            .all(|b| b == b'\t' || b == b' ' || b.is_ascii_graphic())
        {
            wrong(
                "the value has control characters, or letters outside of ASCII".to_owned(),
                "write ASCII in one line",
            );
        }
    }
}

/// Of which names of headers are made (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

//! Health checks: of a fault, and of whoever else has a list of them.

use std::collections::HashSet;
use std::time::Duration as Time;

use super::Errors;
use crate::path::SpecPath;
use crate::{Body, Duration, HealthCheck, HttpProbe, Probe, SpecError};

/// Checks of one fault at most.
const MOST_CHECKS: usize = 1024;
/// Samples that a window can hold.
const MOST_SAMPLES: u128 = 10_000;
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);
const MOST_FAILURES: u32 = 1000;

/// Everything that is wrong with the meaning of a list of checks that stands at `place`; empty when all is well.
pub fn validate_health(checks: &[HealthCheck], place: &SpecPath) -> Vec<SpecError> {
    let mut errors = Errors::default();
    check_all(checks, place, &mut errors);
    errors.0
}

pub(super) fn check_all(checks: &[HealthCheck], place: &SpecPath, errors: &mut Errors) {
    if checks.len() > MOST_CHECKS {
        let message = format!("{} checks are more than anybody can watch", checks.len());
        errors.at(place.clone(), message, format!("write at most {MOST_CHECKS}"));
        // Each of them may have a pattern that takes its time to be understood.
        return;
    }
    let mut names = HashSet::new();
    for (index, check) in checks.iter().enumerate() {
        if errors.is_full() {
            return;
        }
        let at = place.clone().index(index);
        check_one(check, &at, errors);
        if let Some(name) = &check.name
            && !names.insert(name)
        {
            let message = format!("the name `{name}` is there twice");
            errors.at(at.field("name"), message, "give each check a name of its own");
        }
    }
}

fn check_one(check: &HealthCheck, at: &SpecPath, errors: &mut Errors) {
    if let Some(name) = &check.name
        && (name.is_empty() || name.len() > 63 || name.chars().any(char::is_control))
    {
        let remedy = "write 1 to 63 characters on one line";
        errors.at(at.clone().field("name"), "this is no name for a check", remedy);
    }
    check_times(check, at, errors);
    check_probe(&check.probe, &at.clone().field(check.probe.word()), errors);
    check_expect(check, &at.clone().field("expect"), errors);
}

fn check_times(check: &HealthCheck, at: &SpecPath, errors: &mut Errors) {
    let mut between = |field: &str, value: Duration, least: Duration, most: Duration| {
        if value < least || value > most {
            let message = format!("{value} is out of range");
            errors.at(
                at.clone().field(field),
                message,
                format!("write {least} to {most}"),
            );
        }
    };
    between("interval", check.interval, SHORTEST_INTERVAL, LONGEST_INTERVAL);
    between(
        "timeout",
        check.timeout,
        Duration::from_millis(1),
        LONGEST_TIMEOUT,
    );
    for (field, threshold) in [
        ("failureThreshold", check.failure_threshold),
        ("successThreshold", check.success_threshold),
    ] {
        if threshold == 0 || threshold > MOST_FAILURES {
            let message = format!("{threshold} is out of range");
            errors.at(
                at.clone().field(field),
                message,
                format!("write 1 to {MOST_FAILURES}"),
            );
        }
    }
    let asks_for_window = !check.expect.window.is_empty();
    let window = check.window();
    if let Some(written) = check.window {
        let at = at.clone().field("window");
        if !asks_for_window {
            let remedy = "leave it out, or expect `success`, `p50`, `p95`, `p99` or `max`";
            errors.at(at, "nothing is expected of a window", remedy);
        } else if written < check.interval {
            let message = format!("no sample is sure to be in {written}");
            errors.at(
                at,
                message,
                format!("write at least the interval, {}", check.interval),
            );
        } else if samples(window, check.interval) > MOST_SAMPLES {
            let message = format!("more than {MOST_SAMPLES} samples would be in {written}");
            errors.at(at, message, "write a longer interval or a shorter window");
        }
    }
}

fn samples(window: Time, interval: Duration) -> u128 {
    window.as_nanos() / u128::from(interval.as_nanos().max(1))
}

fn check_probe(probe: &Probe, at: &SpecPath, errors: &mut Errors) {
    match probe {
        Probe::Http(http) => check_http(http, at, errors),
        Probe::Prometheus(prometheus) => {
            check_headers(&prometheus.headers, at, errors);
            if prometheus.query.trim().is_empty() {
                let remedy = "write a query such as `sum(rate(errors_total[1m]))`";
                errors.at(at.clone().field("query"), "the query is empty", remedy);
            }
        }
        Probe::Exec(exec) => {
            let program = exec.command.first().map(String::as_str).unwrap_or_default();
            if !program.starts_with('/') {
                let message = format!("`{program}` is no absolute path");
                let remedy = "write the whole path of the program, such as `/usr/bin/pg_isready`";
                errors.at(at.clone().field("command").index(0), message, remedy);
            }
            if exec.command.iter().any(|word| word.contains('\0')) {
                let remedy = "leave the NUL out";
                errors.at(
                    at.clone().field("command"),
                    "no program takes a NUL in a word",
                    remedy,
                );
            }
        }
        Probe::Dns(dns) => {
            if dns.name.trim().is_empty() || dns.name.len() > 253 {
                errors.at(
                    at.clone().field("name"),
                    "this is no name",
                    "write for example `db.example.com`",
                );
            }
            let has_addresses = matches!(dns.record, crate::RecordType::A | crate::RecordType::AAAA);
            if !dns.answers.is_empty() && !has_addresses {
                let message = format!("{:?} records have no addresses", dns.record);
                errors.at(at.clone().field("answers"), message, "leave it out");
            }
        }
        Probe::Tcp(_) | Probe::Grpc(_) => {}
    }
}

fn check_http(http: &HttpProbe, at: &SpecPath, errors: &mut Errors) {
    check_headers(&http.headers, at, errors);
    if let Some(method) = &http.method
        && (http::Method::from_bytes(method.as_bytes()).is_err() || method == "CONNECT")
    {
        let message = format!("`{method}` is no method");
        errors.at(
            at.clone().field("method"),
            message,
            "write for example GET, HEAD or POST",
        );
    }
}

fn check_headers(headers: &std::collections::BTreeMap<String, String>, at: &SpecPath, errors: &mut Errors) {
    for (name, value) in headers {
        let well = http::HeaderName::from_bytes(name.as_bytes()).is_ok()
            && http::HeaderValue::from_str(value).is_ok();
        if !well {
            let at = at.clone().field("headers").field(name);
            errors.at(at, "this is no HTTP header", "write `Name: value` on one line");
        }
    }
}

fn check_expect(check: &HealthCheck, at: &SpecPath, errors: &mut Errors) {
    let expect = &check.expect;
    let word = check.probe.word();
    let mut only = |field: &str, given: bool, fits: bool, remedy: &str| {
        if given && !fits {
            let message = format!("`{word}` has none");
            errors.at(at.clone().field(field), message, remedy);
        }
    };
    let (is_http, is_exec, is_query) = (
        matches!(check.probe, Probe::Http(_)),
        matches!(check.probe, Probe::Exec(_)),
        matches!(check.probe, Probe::Prometheus(_)),
    );
    only("status", !expect.status.is_empty(), is_http, "leave it out");
    only(
        "body",
        expect.body != Body::default(),
        is_http || is_exec,
        "leave it out",
    );
    only("value", expect.value.is_some(), is_query, "leave it out");
    if is_query && expect.value.is_none() {
        let remedy = "write what the number has to be, such as `expect: \"<= 0.5\"`";
        errors.at(at.clone(), "any number would be well", remedy);
    }
    if let Some(pattern) = &expect.body.matches
        && let Err(error) = regex::RegexBuilder::new(pattern).size_limit(1 << 20).build()
    {
        let text = error.to_string();
        let why = text
            .lines()
            .last()
            .unwrap_or_default()
            .trim_start_matches("error: ");
        let message = format!("this is no regular expression ({why})");
        errors.at(
            at.clone().field("body").field("matches"),
            message,
            "correct it, or use `contains`",
        );
    }
    for (field, limit) in expect
        .window
        .percentiles()
        .map(|(name, _, limit)| (name, limit))
        .chain(expect.latency.map(|limit| ("latency", limit)))
    {
        if limit.limit() > check.timeout {
            let message = format!("{} is longer than the timeout, {}", limit.limit(), check.timeout);
            let remedy = "write a longer `timeout`: what takes longer than that has failed anyway";
            errors.at(at.clone().field(field), message, remedy);
        } else if limit.limit().is_zero() {
            errors.at(
                at.clone().field(field),
                "nothing is that quick",
                "write a longer time",
            );
        }
    }
}

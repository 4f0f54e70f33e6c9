//! What a health check may not say.

use crate::{GOOD, Parts};

/// One check in flow style behind `safety: {health: [`, which ends in column 21 of line 9.
#[track_caller]
fn check(check: &str, expected: &str) {
    let more = format!("safety: {{health: [{check}]}}");
    let messages = Parts { more: &more, ..GOOD }.messages();
    let errors = if messages == "no error" { "" } else { &messages };
    assert_eq!(errors, expected, "for {check}");
}

#[test]
fn checks_that_are_well() {
    for text in [
        "{http: {url: 'http://127.0.0.1:8080/healthz'}}",
        "{name: a, http: {url: 'https://[::1]/x?y=z', method: HEAD, headers: {Host: b}}, expect: {status: [200, 3xx]}}",
        "{http: {url: 'http://a/'}, expect: {p99: '< 200ms', success: '>= 95%'}, window: 2m, for: 2m}",
        "{tcp: {address: '10.0.0.1:5432'}, interval: 100ms, timeout: 50ms, failureThreshold: 1, netns: blue}",
        "{grpc: {address: 'a:50051', service: shop}, successThreshold: 3, initialGrace: 5s}",
        "{dns: {name: db.example.com, type: AAAA, server: '[::1]:5353', answers: ['::1']}}",
        "{exec: {command: [/bin/true]}, expect: {body: {matches: 'o.'}}}",
        "{prometheus: {url: 'http://127.0.0.1:9090', query: up}, expect: '== 1'}",
        "{prometheus: {url: 'http://127.0.0.1:9090', query: up}, expect: {value: '> 0', latency: 100ms}}",
    ] {
        check(text, "");
    }
}

#[test]
fn exactly_one_kind() {
    check(
        "{interval: 1s}",
        "f.yaml:9:21: spec.safety.health[0]: nothing is probed – write exactly one of `http`, `tcp`, `grpc`, `dns`, `exec` or `prometheus`",
    );
    check(
        "{tcp: {address: 'a:1'}, exec: {command: [/bin/true]}}",
        "f.yaml:9:21: spec.safety.health[0]: `tcp` and `exec` are named together – keep exactly one of `http`, `tcp`, `grpc`, `dns`, `exec` or `prometheus`, and write another check for the other",
    );
    check(
        "{htpp: {url: 'http://a/'}}",
        "f.yaml:9:22: spec.safety.health[0].htpp: there is no such field – did you mean `http`?",
    );
}

#[test]
fn values_with_their_place() {
    check(
        "{tcp: {address: localhost}}",
        "f.yaml:9:37: spec.safety.health[0].tcp.address: `localhost` has no port – write `localhost:PORT`, such as `127.0.0.1:5432`",
    );
    check(
        "{http: {url: 'localhost:80/'}}",
        "f.yaml:9:34: spec.safety.health[0].http.url: `localhost:80/` is not a URL – write for example `http://127.0.0.1:8080/healthz`",
    );
    check(
        "{http: {url: 'http://a/'}, expect: {p99: 200}}",
        "f.yaml:9:62: spec.safety.health[0].expect.p99: `200` has no unit – write `200s` for seconds or `200ms` for milliseconds",
    );
    check(
        "{http: {url: 'http://a/'}, expect: {p99: '>= 200ms'}}",
        "f.yaml:9:62: spec.safety.health[0].expect.p99: `>= 200ms` asks for slowness – write the longest time that is well, such as `<= 200ms` or `< 200ms`",
    );
    check(
        "{http: {url: 'http://a/'}, expect: {status: 700}}",
        "f.yaml:9:65: spec.safety.health[0].expect.status: 700 is no HTTP status – write one between 100 and 599",
    );
    check(
        "{http: {url: 'http://a/'}, interval: 1}",
        "f.yaml:9:58: spec.safety.health[0].interval: `1` has no unit – write `1s` for seconds or `1ms` for milliseconds",
    );
    check(
        "{dns: {name: a, server: ns1}}",
        "f.yaml:9:45: spec.safety.health[0].dns.server: `ns1` is no address of a name server – write an IP address, such as `192.0.2.53`, or one with a port, such as `192.0.2.53:5353`",
    );
}

#[test]
fn what_does_not_go_together() {
    let tcp = "tcp: {address: 'a:1'}";
    check(
        &format!("{{{tcp}, interval: 1ms}}"),
        "f.yaml:9:55: spec.safety.health[0].interval: 1ms is out of range – write 10ms to 1h",
    );
    check(
        &format!("{{{tcp}, failureThreshold: 0}}"),
        "f.yaml:9:63: spec.safety.health[0].failureThreshold: 0 is out of range – write 1 to 1000",
    );
    check(
        &format!("{{{tcp}, window: 10s}}"),
        "f.yaml:9:53: spec.safety.health[0].window: nothing is expected of a window – leave it out, or expect `success`, `p50`, `p95`, `p99` or `max`",
    );
    check(
        &format!("{{{tcp}, expect: {{latency: 1s}}}}"),
        "f.yaml:9:63: spec.safety.health[0].expect.latency: 1s is longer than the timeout, 500ms – write a longer `timeout`: what takes longer than that has failed anyway",
    );
    check(
        &format!("{{{tcp}, expect: {{status: 200}}}}"),
        "f.yaml:9:62: spec.safety.health[0].expect.status: `tcp` has none – leave it out",
    );
    check(
        &format!("{{{tcp}, initialGrace: 5m}}"),
        "f.yaml:9:59: spec.safety.health[0].initialGrace: 5m is longer than the fault lasts – write less, or a longer `duration`",
    );
    check(
        "{prometheus: {url: 'http://a/', query: up}}",
        "f.yaml:9:21: spec.safety.health[0].expect: any number would be well – write what the number has to be, such as `expect: \"<= 0.5\"`",
    );
    check(
        "{exec: {command: [true-or-false]}}",
        "f.yaml:9:39: spec.safety.health[0].exec.command[0]: `true-or-false` is no absolute path – write the whole path of the program, such as `/usr/bin/pg_isready`",
    );
    check(
        "{http: {url: 'http://a/'}, expect: {body: {matches: '('}}}",
        "f.yaml:9:73: spec.safety.health[0].expect.body.matches: this is no regular expression (unclosed group) – correct it, or use `contains`",
    );
    check(
        "{name: a, tcp: {address: 'a:1'}}, {name: a, tcp: {address: 'a:2'}}",
        "f.yaml:9:62: spec.safety.health[1].name: the name `a` is there twice – give each check a name of its own",
    );
}

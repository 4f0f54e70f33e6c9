//! Requests and look-ups of the tools for clusters.

use super::*;

/// Both sides of what a file says, as people see them.
fn check(imported: &Imported, faults: &[(&str, &str)], unsaid: &[&str]) {
    let (said, told) = told(imported);
    let faults: Vec<String> = faults
        .iter()
        .map(|(name, rest)| format!("{name} | netns blue{rest}"))
        .collect();
    assert_eq!(said, faults, "{told:#?}");
    let told: Vec<&String> = told.iter().filter(|it| !it.ends_with(chaos_mesh::PODS)).collect();
    assert_eq!(told, unsaid);
}

#[test]
fn chaos_mesh_has_requests_and_look_ups() {
    let imported = mesh(include_str!("../../../tests/corpus/imports/chaos-mesh.yaml"));
    check(
        &imported,
        &[
            (
                "payments-abort",
                " | http abort 100% GET payments.shop.svc/api/* · ingress tcp local :8080 | 5m",
            ),
            ("payments-503", " | http 503 100% · ingress tcp local :80 | 1m"),
            (
                "payments-slow",
                " | http delay 300ms 100% · ingress tcp local :80 | 30s",
            ),
            ("no-such-names", " | dns servfail 100% example.com · egress | 50s"),
        ],
        &[
            "line 18: spec.delay: `abort` comes first there, too: nothing is left for it",
            "line 12: spec.port: what the target itself asks at this port is hit there, too: write a second fault for it, with `remote: {ports: [8080]}`",
            "line 42: spec.patch.headers: answers of the server go on as they are: nothing is added to them",
            "line 34: spec.delay: an answer from here does not wait",
            "line 31: spec.target: Response: the server has done its work by then; here it never sees the request",
            "line 44: spec.tls: TLS is not read: what is encrypted passes, and is counted as unseen",
            "line 32: spec.port: what the target itself asks at this port is hit there, too: write a second fault for it, with `remote: {ports: [80]}`",
            "line 56: spec.replace.body: answers of the server are not rewritten; an answer of its own needs `replace.code`",
            "line 53: spec.port: what the target itself asks at this port is hit there, too: write a second fault for it, with `remote: {ports: [80]}`",
            "line 67: spec.code: answers of the server are not looked at, so nothing is made of this",
            "line 66: spec.path: `?` cannot be said – write `*`, or a fault for each path",
            "line 69: spec.request_headers.Content-Type: requests are chosen by method, path and host alone, so nothing is made of this",
            "line 81: spec.patterns: github.*: a wildcard stands for whole labels on the left: write the names, or `*.example.com`",
            "line 82: spec.patterns: chaos-mes?.org: a wildcard stands for whole labels on the left: write the names, or `*.example.com`",
            "line 93: spec.action: random: an answer from here is always the same: write the addresses as `answer: {a: […], aaaa: […]}`",
        ],
    );
    let answer = serde_json::to_value(&imported.faults[1].spec.fault).unwrap();
    assert_eq!(
        answer,
        json!({"http": {"status": 503, "body": "{\"error\": \"later\"}", "headers": {"Content-Type": "application/json"}}})
    );
}

#[test]
fn litmus_has_requests_and_look_ups() {
    let text = include_str!("../../../tests/corpus/imports/litmus.yaml");
    let imported = litmus("engine.yaml", text.as_bytes(), &here()).unwrap();
    check(
        &imported,
        &[
            (
                "pod-http-status-code",
                " (eth0) | http 500 40% · ingress tcp local :8080 | 2m",
            ),
            (
                "pod-http-latency",
                " | http delay 300ms 100% · ingress tcp local :80 | 1m",
            ),
            (
                "pod-http-reset-peer",
                " | http abort 100% · ingress tcp local :80 | 1m",
            ),
            (
                "pod-dns-error",
                " | dns servfail 100% litmuschaos,chaosnative.com · egress | 1m",
            ),
            ("pod-dns-spoof", " | dns 192.0.2.7 100% db.abc.com · egress | 1m"),
        ],
        &[
            "line 6: spec.annotationCheck, spec.chaosServiceAccount, spec.engineState: how Litmus gets there; there is no need for it here",
            "line 16: pod-http-status-code: STATUS_CODE: the server has done its work by then; here it never sees the request",
            "line 17: pod-http-status-code: MODIFY_RESPONSE_BODY: true: its pages are not known here: write a `body`",
            "line 11: pod-http-status-code: PROXY_PORT: how Litmus gets there; there is no need for it here",
            "line 27: pod-http-status-code: STATUS_CODE: 500,503: an answer from here has always the same status: name one",
            "line 37: pod-http-reset-peer: RESET_TIMEOUT: 2000: connections are reset at once, not after a while",
            "line 43: pod-dns-error: TARGET_HOSTNAMES: a..b: `a..b` is no name: it has a label without letters – write a name such as `api.example.com`",
            "line 39: experiment pod-dns-error: its server sends the question back, which resolvers take for a failure or do not take at all; here it is SERVFAIL",
            "line 50: pod-dns-error: MATCH_SCHEME: substring: names are told by whole labels: write `*.example.com` for those below one; nothing is made of this",
            "line 55: pod-dns-spoof: SPOOF_MAP: abc.com: answers hold addresses: write those of spoofabc.com as `answer: {a: […]}`",
            "line 55: pod-dns-spoof: SPOOF_MAP: c.abc.com: write a fault of its own for it",
            "line 56: experiment pod-http-modify-header: answers of the server are not rewritten; an answer of its own needs a `status`",
        ],
    );
}

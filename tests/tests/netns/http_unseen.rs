//! What a program that looks at packets cannot see as a request: it passes untouched, is counted as `unseen`, and the
//! fault says so.

use std::path::Path;

use chaos_tests::{Chaosctl, FaultFile, Netns, eventually, need, require_program, run};
use serde_json::{Value, json};

use crate::bed::SOON;
use crate::http::{LATE, PORT, Reply, Site, UNAVAILABLE, Wire, unavailable, with};

const TLS_PORT: u16 = 8443;
const H2_PORT: u16 = 8082;

/// With TLS and HTTP/2 beside the plain one.
fn site() -> Site {
    let served = "location / { return 200 \"served $request_uri\\n\"; }";
    Site::prepared(
        &format!(
            "server {{ listen 8080; listen [::]:8080; {served} }}\n\
             server {{ listen {H2_PORT} http2; listen [::]:{H2_PORT} http2; {served} }}\n\
             server {{ listen {TLS_PORT} ssl http2; listen [::]:{TLS_PORT} ssl http2;\n\
               ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate AT/cert.pem; ssl_certificate_key AT/key.pem; {served} }}"
        ),
        certificate,
    )
}

/// A certificate for whoever does not ask.
fn certificate(folder: &Path) {
    let file = |name: &str| folder.join(name).display().to_string();
    run(&[
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=shop.test",
        "-keyout",
        &file("key.pem"),
        "-out",
        &file("cert.pem"),
    ]);
}

/// So much of it passed unseen, and nothing was answered; the fault warns of this and nothing else.
#[track_caller]
fn assert_unseen(ctl: &Chaosctl, name: &str, code: &str) -> u64 {
    eventually(
        SOON,
        &format!("{name} warns of {code}: {}", ctl.fault(name).0),
        || ctl.fault(name).warnings().contains(&code),
    );
    let view = ctl.fault(name);
    for other in ["TlsUnseen", "Http2Unseen", "RequestSplit"] {
        assert_eq!(view.warnings().contains(&other), other == code, "{}", view.0);
    }
    assert_eq!(
        (view.packets("matched"), view.packets("answered")),
        (0, 0),
        "{}",
        view.0
    );
    assert!(view.packets("unseen") > 0, "{}", view.0);
    view.packets("unseen")
}

#[test]
fn tls_passes_unseen() {
    need!(require_program("nginx"));
    need!(require_program("openssl"));
    let site = site();
    let server = &site.net.server;
    for (n, to) in [server.at(TLS_PORT), server.at6(TLS_PORT)]
        .into_iter()
        .enumerate()
    {
        let name = format!("tls-{n}");
        let fault = if n == 0 {
            site.fault_on(&name, unavailable(), TLS_PORT)
        } else {
            site.fault_at_server(&name, unavailable())
                .traffic(json!({"direction": "ingress", "protocol": "tcp", "local": {"ports": [TLS_PORT]}}))
        };
        site.ctl.apply(&[fault]);
        let url = format!("https://{to}/pay");
        for version in ["--tlsv1.3", "--tls-max"] {
            let version: &[&str] = match version {
                "--tls-max" => &["--tls-max", "1.2"],
                other => &[other],
            };
            for http in ["--http1.1", "--http2"] {
                let mut words = vec!["-k", http, &url];
                words.extend(version);
                let curled = site.try_curl(&words);
                assert_eq!(curled.code, 0, "{words:?}: {curled}");
                assert!(curled.text.ends_with("served /pay\n"), "{words:?}: {curled}");
            }
        }
        let client = ["openssl", "s_client", "-connect", &to.to_string(), "-brief"].map(str::to_owned);
        let client: Vec<&str> = client.iter().map(String::as_str).collect();
        site.net.client.netns.run(&client);
        // A hello at the least, and the request.
        let unseen = assert_unseen(&site.ctl, &name, "TlsUnseen");
        assert!(unseen >= 2 * 5, "{unseen}");
        site.delete(&name);
    }
    site.assert_nothing_hangs();
}

#[test]
fn http2_with_prior_knowledge_passes_unseen() {
    need!(require_program("nginx"));
    need!(require_program("openssl"));
    let site = site();
    let server = &site.net.server;
    for (n, to) in [server.at(H2_PORT), server.at6(H2_PORT)].into_iter().enumerate() {
        let name = format!("h2-{n}");
        site.ctl.apply(&[site.fault_on(&name, unavailable(), H2_PORT)]);
        let url = format!("http://{to}/pay");
        let curled = site.try_curl(&["--http2-prior-knowledge", &url]);
        assert_eq!(curled.code, 0, "{curled}");
        assert!(
            curled.text.starts_with("HTTP/2 200") && curled.text.ends_with("served /pay\n"),
            "{curled}"
        );
        // It begins with one preface.
        assert_eq!(assert_unseen(&site.ctl, &name, "Http2Unseen"), 1);
        site.delete(&name);
    }
    // The same as an upgrade begins with a request like any other.
    site.ctl.apply(&[site.fault("upgrade", unavailable())]);
    let answer = site.curl(&["--http2", &site.url("/pay")]);
    assert_eq!(answer.text(), UNAVAILABLE);
    site.assert_nothing_hangs();
}

/// Says the first part, waits until it has arrived, and says the rest.
fn say_in_two(wire: &mut Wire, server: &Netns, first: &str, rest: &str) -> Reply {
    let arrived = || server.tcp_count("InSegs");
    let before = arrived();
    wire.say(first);
    eventually(LATE, "the first part has arrived", || arrived() > before);
    wire.say(rest);
    wire.reply()
}

#[test]
fn a_request_line_in_two_segments_passes_unseen_wherever_it_is_cut() {
    need!(require_program("nginx"));
    let site = Site::new();
    let server = &site.net.server;
    let text = "GET /pay HTTP/1.1\r\nHost: a\r\n\r\n";
    let line = text.find('\r').expect("a line");
    for (n, (side, to)) in [("client", server.at(PORT)), ("server", server.at6(PORT))]
        .into_iter()
        .enumerate()
    {
        let name = format!("split-{n}");
        site.ctl.apply(&[if side == "client" {
            site.fault(&name, unavailable())
        } else {
            site.fault_at_server(&name, unavailable())
        }]);
        let mut wire = site.connect(to);
        for cut in 1..=line {
            let (first, rest) = text.split_at(cut);
            let reply = say_in_two(&mut wire, &server.netns, first, rest);
            assert_eq!(
                (reply.status, reply.body.as_str()),
                (200, "served /pay\n"),
                "{first:?}"
            );
        }
        assert_eq!(assert_unseen(&site.ctl, &name, "RequestSplit"), line as u64);
        // Cut behind the line, it is seen.
        let (first, rest) = text.split_at(line + 2);
        wire.say(first);
        assert_eq!(wire.reply().text(), UNAVAILABLE);
        let _ = rest;
        wire.assert_closed();
        assert_eq!(site.ctl.fault(&name).packets("answered"), 1);
        site.delete(&name);
    }
    site.assert_nothing_hangs();
}

/// As a person types it into a terminal that sends every key.
#[test]
fn a_request_that_comes_byte_by_byte_passes_and_the_next_one_is_seen() {
    need!(require_program("nginx"));
    let site = Site::new();
    let server = &site.net.server;
    for (name, fault) in [
        ("keys-client", site.fault("keys-client", unavailable())),
        ("keys-server", site.fault_at_server("keys-server", unavailable())),
    ] {
        site.ctl.apply(&[fault]);
        let mut wire = site.connect(server.at(PORT));
        let arrived = || server.netns.tcp_count("InSegs");
        for head in ["POST /PAY HTTP/1.1\r\nContent-Length: 0", "DELETE /PAY HTTP/1.1"] {
            for key in format!("{head}\r\nHost: a\r\n\r\n").chars() {
                let before = arrived();
                wire.say(&key.to_string());
                eventually(LATE, "the key has arrived", || arrived() > before);
            }
            assert_eq!(wire.reply().status, 200, "{name}: {head}");
        }
        assert_unseen(&site.ctl, name, "RequestSplit");
        wire.ask("GET", "/");
        assert_eq!(wire.reply().text(), UNAVAILABLE, "{name}");
        assert_eq!(site.ctl.fault(name).packets("matched"), 1, "{name}");
        site.delete(name);
    }
    site.assert_nothing_hangs();
}

/// Who names a host has to see it.
#[test]
fn a_host_that_comes_in_a_later_segment_is_not_guessed() {
    need!(require_program("nginx"));
    let site = Site::new();
    let server = &site.net.server;
    let host = with(unavailable(), json!({"host": "shop.test", "path": "/pay"}));
    site.ctl.apply(&[site.fault("host", host)]);
    let mut wire = site.connect(server.at(PORT));
    for (first, rest) in [
        ("GET /pay HTTP/1.1\r\nAccept: */*\r\n", "Host: shop.test\r\n\r\n"),
        ("GET /pay HTTP/1.1\r\nHos", "t: shop.test\r\n\r\n"),
        ("GET /pay HTTP/1.1\r\nHost: shop", ".test\r\n\r\n"),
        // The name may go on.
        ("GET /pay HTTP/1.1\r\nHost: shop.test", ".evil\r\n\r\n"),
    ] {
        let reply = say_in_two(&mut wire, &server.netns, first, rest);
        assert_eq!(reply.status, 200, "{first:?}");
    }
    assert_eq!(assert_unseen(&site.ctl, "host", "RequestSplit"), 4);
    // The path alone says that this one is not meant.
    let reply = say_in_two(
        &mut wire,
        &server.netns,
        "GET /free HTTP/1.1\r\n",
        "Host: shop.test\r\n\r\n",
    );
    assert_eq!(reply.status, 200);
    assert_eq!(site.ctl.fault("host").packets("unseen"), 4);
}

/// What is no HTTP at all is not counted as anything.
#[test]
fn other_protocols_and_broken_requests_pass_and_are_not_counted() {
    need!(require_program("nginx"));
    let site = Site::new();
    site.ctl.apply(&[site.fault("all", unavailable())]);
    for (text, status) in [
        ("get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTX/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("{\"id\": 7}\n", 400),
    ] {
        let mut wire = site.connect(site.net.server.at(PORT));
        wire.say(text);
        assert_eq!(wire.reply().status, status, "{text:?}");
    }
    let view = site.ctl.fault("all");
    assert_eq!(
        (view.packets("matched"), view.packets("unseen")),
        (0, 0),
        "{}",
        view.0
    );
}

#[test]
fn a_plan_warns_of_ports_that_are_rarely_plain() {
    let site = Site::new();
    let planned = |fault: FaultFile| -> Vec<String> {
        let output = site.ctl.try_plan_json(&[fault]);
        assert_eq!(output.code, 0, "{output}");
        let plan: Value = serde_json::from_str(&output.stdout).expect("it is JSON");
        codes(&plan)
    };
    let warns = |fault: FaultFile| planned(fault).contains(&"PlainHttpOnly".to_owned());
    assert!(warns(site.fault_on("tls", unavailable(), 443)));
    assert!(warns(site.fault_on("grpc", unavailable(), 50051)));
    assert!(!warns(site.fault("plain", unavailable())));
    assert!(warns(
        site.fault("all", unavailable())
            .traffic(json!({"protocol": "tcp"}))
    ));
    let output = site.ctl.try_plan(&[site.fault_on("tls", unavailable(), 443)]);
    assert!(output.stdout.contains("443"), "{output}");
    // It stays with the fault.
    site.ctl.apply(&[site.fault_on("tls", unavailable(), 443)]);
    assert!(site.ctl.fault("tls").warnings().contains(&"PlainHttpOnly"));
    site.delete("tls");
}

/// Whatever `code` says anywhere in a plan.
fn codes(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, field)| match field {
                Value::String(code) if name == "code" => vec![code.clone()],
                field => codes(field),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(codes).collect(),
        _ => Vec::new(),
    }
}

/// A request whose line is longer than what is looked at passes, and is counted.
#[test]
fn a_very_long_target_is_judged_by_what_is_within_reach() {
    need!(require_program("nginx"));
    let site = Site::serving(
        "server { listen 8080; large_client_header_buffers 4 32k; location / { return 200 \"served\\n\"; } }",
    );
    site.ctl.apply(&[site.fault("long", unavailable())]);
    let mut wire = site.connect(site.net.server.at(PORT));
    let request = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9000));
    wire.say(&request);
    assert_eq!(wire.reply().status, 200);
    assert_eq!(assert_unseen(&site.ctl, "long", "RequestSplit"), 1);
    wire.ask("GET", &format!("/{}", "x".repeat(300)));
    assert_eq!(wire.reply().text(), UNAVAILABLE);
}

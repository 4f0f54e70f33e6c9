//! Which requests an `http` fault means: chance, method, path, host, and whose flow it is.

use chaos_tests::{need, require_program};
use serde_json::{Value, json};

use crate::http::{PORT, Seen, Site, unavailable, with};

/// A fault that means some requests.
fn some(fields: Value) -> Value {
    with(unavailable(), fields)
}

/// Requests, by the method, target and `Host` header that are sent, and whether the fault means them.
struct Case {
    means: Value,
    requests: Vec<(&'static str, &'static str, &'static str, bool)>,
}

/// Over connections of both families, and at both ends.
#[track_caller]
fn assert_means(cases: &[Case]) {
    let site = Site::new();
    let server = &site.net.server;
    for (n, case) in cases.iter().enumerate() {
        let name = format!("case-{n}");
        let http = some(case.means.clone());
        let (fault, to) = match n % 4 {
            0 => (site.fault(&name, http), server.at(PORT)),
            1 => (site.fault_at_server(&name, http), server.at6(PORT)),
            2 => (site.fault(&name, http), server.at6(PORT)),
            _ => (site.fault_at_server(&name, http), server.at(PORT)),
        };
        site.ctl.apply(&[fault]);
        let (mut answered, before) = (0, site.web.seen().len());
        for (method, target, host, meant) in &case.requests {
            let mut wire = site.connect(to);
            wire.say(&format!(
                "{method} {target} HTTP/1.1\r\nUser-Agent: a test\r\nHost: {host}\r\n\r\n"
            ));
            let reply = wire.reply();
            let what = format!("{}: {method} {target} of {host}", case.means);
            assert_eq!(reply.status == 503, *meant, "{what}: {}", reply.head);
            answered += u64::from(*meant);
        }
        let view = site.ctl.fault(&name);
        // What is not meant is not counted, either.
        assert_eq!(
            (
                view.packets("matched"),
                view.packets("answered"),
                view.packets("unseen")
            ),
            (answered, answered, 0),
            "{}: {}",
            case.means,
            view.0
        );
        site.web
            .wait_for(before + case.requests.len() - usize::try_from(answered).expect("a few"));
        site.delete(&name);
    }
    site.assert_nothing_hangs();
}

#[test]
fn methods_are_compared_as_they_are_written() {
    need!(require_program("nginx"));
    assert_means(&[
        Case {
            means: json!({"method": ["GET", "POST"]}),
            requests: vec![
                ("GET", "/", "a", true),
                ("POST", "/", "a", true),
                ("PUT", "/", "a", false),
                ("DELETE", "/", "a", false),
                ("OPTIONS", "/", "a", false),
            ],
        },
        Case {
            means: json!({"method": "OPTIONS"}),
            requests: vec![("OPTIONS", "/", "a", true), ("GET", "/OPTIONS", "a", false)],
        },
        // Longer by a letter than the one that is named, and shorter.
        Case {
            means: json!({"method": ["PATCH", "LOCK"]}),
            requests: vec![
                ("PATCH", "/", "a", true),
                ("LOCK", "/", "a", true),
                ("UNLOCK", "/", "a", false),
                ("PROPPATCH", "/", "a", false),
            ],
        },
        Case {
            means: json!({"method": "PROPFIND"}),
            requests: vec![("PROPFIND", "/", "a", true), ("GET", "/", "a", false)],
        },
    ]);
}

#[test]
fn paths_are_exact_or_a_pattern_and_never_the_query() {
    need!(require_program("nginx"));
    assert_means(&[
        Case {
            means: json!({"path": "/pay"}),
            requests: vec![
                ("GET", "/pay", "a", true),
                ("GET", "/pay?order=7", "a", true),
                ("GET", "/pay?", "a", true),
                ("GET", "/pay/", "a", false),
                ("GET", "/payment", "a", false),
                ("GET", "/pa", "a", false),
                ("GET", "/PAY", "a", false),
                ("GET", "/free?to=/pay", "a", false),
            ],
        },
        Case {
            means: json!({"path": "/pay/*"}),
            requests: vec![
                ("GET", "/pay/", "a", true),
                ("GET", "/pay/1/2/3", "a", true),
                ("GET", "/pay/1?x=y", "a", true),
                ("GET", "/pay", "a", false),
                ("GET", "/pay?/pay/", "a", false),
                ("GET", "/x/pay/1", "a", false),
            ],
        },
        Case {
            means: json!({"path": "*.json"}),
            requests: vec![
                ("GET", "/a/b.json", "a", true),
                ("GET", "/.json", "a", true),
                ("GET", "/b.json?pretty", "a", true),
                ("GET", "/b.json/", "a", false),
                ("GET", "/b?c.json", "a", false),
                ("GET", "/json", "a", false),
            ],
        },
        Case {
            means: json!({"path": "/shop/*/pay/*.json"}),
            requests: vec![
                ("GET", "/shop/7/pay/1.json", "a", true),
                ("GET", "/shop//pay/.json", "a", true),
                ("GET", "/shop/a/b/pay/x/y.json", "a", true),
                ("GET", "/shop/pay/1.json", "a", false),
                ("GET", "/shop/7/pay/1.xml", "a", false),
                ("GET", "/shop/7/pay.json", "a", false),
            ],
        },
        // A target in absolute form, as it is sent to proxies.
        Case {
            means: json!({"path": "/pay"}),
            requests: vec![
                ("GET", "http://shop.test/pay?x", "shop.test", true),
                ("GET", "http://shop.test/free", "shop.test", false),
            ],
        },
    ]);
}

#[test]
fn hosts_are_compared_in_any_case_and_without_the_port() {
    need!(require_program("nginx"));
    assert_means(&[
        Case {
            means: json!({"host": "payments.example.com"}),
            requests: vec![
                ("GET", "/", "payments.example.com", true),
                ("GET", "/", "Payments.EXAMPLE.com", true),
                ("GET", "/", "payments.example.com:8080", true),
                ("GET", "/", "PAYMENTS.example.com:80", true),
                ("GET", "/", "payments.example.co", false),
                ("GET", "/", "xpayments.example.com", false),
                ("GET", "/", "payments.example.com.evil.test", false),
                ("GET", "/payments.example.com", "other.test", false),
            ],
        },
        Case {
            means: json!({"host": "*.example.com"}),
            requests: vec![
                ("GET", "/", "payments.example.com", true),
                ("GET", "/", "a.b.Example.Com:8080", true),
                ("GET", "/", "example.com", false),
                ("GET", "/", "payments.example.com.test", false),
                ("GET", "/", "badexample.com", false),
            ],
        },
        Case {
            means: json!({"host": "10.77.0.2"}),
            requests: vec![
                ("GET", "/", "10.77.0.2:8080", true),
                ("GET", "/", "10.77.0.2", true),
                ("GET", "/", "10.77.0.20", false),
            ],
        },
        Case {
            means: json!({"host": "[fd77::2]"}),
            requests: vec![
                ("GET", "/", "[fd77::2]:8080", true),
                ("GET", "/", "[fd77::2]", true),
                ("GET", "/", "[fd77::22]", false),
            ],
        },
        // All three at once: each has to hold.
        Case {
            means: json!({"method": "GET", "path": "/pay/*", "host": "shop.test"}),
            requests: vec![
                ("GET", "/pay/1", "shop.test", true),
                ("PUT", "/pay/1", "shop.test", false),
                ("GET", "/free", "shop.test", false),
                ("GET", "/pay/1", "other.test", false),
            ],
        },
    ]);
}

/// The header may stand anywhere, be written in any case, and have any blanks before its value.
#[test]
fn the_host_is_found_wherever_the_header_stands() {
    need!(require_program("nginx"));
    let site = Site::new();
    site.ctl
        .apply(&[site.fault("host", some(json!({"host": "shop.test"})))]);
    let cookie = "c".repeat(400);
    let heads = [
        ("Host: shop.test\r\n".to_owned(), true),
        ("hOsT:\t  shop.test\r\n".to_owned(), true),
        ("HOST:shop.test  \r\n".to_owned(), true),
        (
            format!("Cookie: {cookie}\r\nX-Host: other\r\nHost: shop.test\r\n"),
            true,
        ),
        (
            format!("Cookie: {cookie}\r\nX-Host: shop.test\r\nHost: other.test\r\n"),
            false,
        ),
        ("Host: other.test\r\nX: host: shop.test\r\n".to_owned(), false),
    ];
    for (head, meant) in heads {
        let mut wire = site.connect(site.net.server.at(PORT));
        wire.say(&format!("GET / HTTP/1.1\r\n{head}\r\n"));
        assert_eq!(wire.reply().status == 503, meant, "{head:?}");
    }
    // One of the body is none: that begins after an empty line.
    let mut wire = site.connect(site.net.server.at(PORT));
    wire.say("POST / HTTP/1.1\r\nHost: other.test\r\nContent-Length: 19\r\n\r\n\r\nHost: shop.test\r\n\r\n");
    assert_eq!(wire.reply().status, 200);
    let view = site.ctl.fault("host");
    assert_eq!(
        (view.packets("matched"), view.packets("unseen")),
        (4, 0),
        "{}",
        view.0
    );
}

#[test]
fn a_chance_of_nothing_answers_none_and_one_of_all_answers_all() {
    need!(require_program("nginx"));
    let site = Site::new();
    for (chance, status, answered) in [("0%", 200, 0), ("100%", 503, 20)] {
        site.ctl
            .apply(&[site.fault("chance", some(json!({"chance": chance})))]);
        for n in 0..20 {
            assert_eq!(site.status(&format!("/{n}")), status, "{chance}");
        }
        let view = site.ctl.fault("chance");
        assert_eq!(
            (
                view.packets("matched"),
                view.packets("answered"),
                view.packets("passed")
            ),
            (20, answered, 20 - answered),
            "{}",
            view.0
        );
        site.delete("chance");
    }
    site.web.wait_for(20);
}

/// The same seed and the same requests: the same verdicts.
#[test]
fn a_seed_says_which_requests_are_answered() {
    need!(require_program("nginx"));
    let site = Site::new();
    let statuses = |seed: u64| -> Vec<u16> {
        let fault = site.fault("seed", some(json!({"chance": "50%"}))).seed(seed);
        site.ctl.apply(&[fault]);
        let mut wire = site.connect(site.net.server.at(PORT));
        let got = (0..60)
            .map(|_| {
                wire.ask("GET", "/");
                let status = wire.reply().status;
                if status == 503 {
                    wire = site.connect(site.net.server.at(PORT));
                }
                status
            })
            .collect();
        site.delete("seed");
        got
    };
    let (first, again, other) = (statuses(7), statuses(7), statuses(8));
    assert_eq!(first, again);
    assert_ne!(first, other);
}

/// A share of the flows: a connection is either meant, with all that it asks, or not at all.
#[test]
fn a_share_of_the_flows_is_kept_for_the_whole_life_of_a_connection() {
    const CONNECTIONS: u64 = 200;
    need!(require_program("nginx"));
    let site = Site::new();
    let traffic = json!({"protocol": "tcp", "remote": {"ports": [PORT]}, "flows": "50%"});
    // Answers would end them: waiting does not.
    let slow = json!({"delay": "1ms"});
    site.ctl
        .apply(&[site.fault("flows", slow).traffic(traffic).lasting("10m")]);
    let seed = site.ctl.fault("flows").seed();
    let mut meant = 0;
    for _ in 0..CONNECTIONS {
        let before = site.ctl.fault("flows").packets("matched");
        let mut wire = site.connect(site.net.server.at(PORT));
        for _ in 0..5 {
            wire.ask("GET", "/");
            assert_eq!(wire.reply().status, 200);
        }
        match site.ctl.fault("flows").packets("matched") - before {
            0 => {}
            5 => meant += 1,
            other => panic!("{other} of five requests of one connection"),
        }
    }
    let bounds = chaos_tests::binomial_999(CONNECTIONS, 0.5);
    assert!(
        bounds.contains(&meant),
        "seed {seed}: {meant} not within {bounds:?}"
    );
    site.web.wait_for(5 * CONNECTIONS as usize);
}

/// Other ports, other directions, other addresses: what the fault's traffic does not name is not touched.
#[test]
fn requests_beside_the_named_traffic_pass() {
    need!(require_program("nginx"));
    let site = Site::serving(
        "server { listen 8080; listen 8081; listen [::]:8080; location / { return 200 \"served $request_uri\\n\"; } }",
    );
    let fault = site.fault("narrow", unavailable()).traffic(json!({
        "protocol": "tcp", "remote": {"ports": [PORT], "cidrs": ["10.77.0.2/32"]},
    }));
    site.ctl.apply(&[fault]);
    assert_eq!(site.status("/meant"), 503);
    assert_eq!(site.curl(&[&site.url6("/six")]).status, 200);
    assert_eq!(site.curl(&["http://10.77.0.2:8081/port"]).status, 200);
    let uris: Vec<String> = site
        .web
        .wait_for(2)
        .into_iter()
        .map(|Seen { uri, .. }| uri)
        .collect();
    assert_eq!(uris, ["/six", "/port"]);
    let view = site.ctl.fault("narrow");
    assert_eq!(view.packets("matched"), 1, "{}", view.0);
}

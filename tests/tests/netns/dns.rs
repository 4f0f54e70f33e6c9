//! Questions of DNS, answered in the kernel: every answer, every way, as dig shows them.

use std::collections::BTreeSet;
use std::time::Duration;

use chaos_tests::{need, require_program};
use serde_json::json;

use crate::dns_bed::{DB, DnsBed, OTHER, longest};

#[test]
fn every_refusal_on_every_way() {
    need!(require_program("dnsmasq"));
    need!(require_program("dig"));
    let bed = DnsBed::new();
    for way in bed.ways() {
        bed.ask_at(way.server, DB, "A", &[])
            .assert_served(&format!("before {way:?}"));
        for (word, status) in [
            ("nxdomain", "NXDOMAIN"),
            ("servfail", "SERVFAIL"),
            ("refused", "REFUSED"),
        ] {
            let fault = bed.on(way.direction, word, json!({"answer": word, "names": [DB]}));
            bed.bed.ctl.apply(&[fault]);
            let before = bed.asked(DB);
            for kind in ["A", "AAAA", "MX"] {
                let dig = bed.ask_at(way.server, DB, kind, &[]);
                assert_eq!(dig.status(), status, "{way:?} {dig:?}");
                assert!(dig.records().is_empty(), "{dig:?}");
                assert!(
                    dig.text.contains(&format!(";{DB}.")),
                    "the question is in it: {dig:?}"
                );
                assert_eq!(dig.flags(), BTreeSet::from(["qr", "rd", "ra"]), "{dig:?}");
            }
            bed.ask_at(way.server, OTHER, "A", &[])
                .assert_served(&format!("{way:?} beside {word}"));
            assert_eq!(bed.asked(DB), before, "the server was not asked");
            let view = bed.bed.delete(word);
            assert_eq!(
                (
                    view.packets("matched"),
                    view.packets("answered"),
                    view.packets("dropped")
                ),
                (3, 3, 0),
                "{way:?} {}",
                view.0
            );
        }
        bed.ask_at(way.server, DB, "A", &[])
            .assert_served(&format!("after {way:?}"));
    }
}

#[test]
fn a_timeout_is_silence_for_those_names_alone() {
    need!(require_program("dnsmasq"));
    need!(require_program("dig"));
    let bed = DnsBed::new();
    for way in bed.ways() {
        let fault = bed.on(way.direction, "mute", json!({"answer": "timeout", "names": [DB]}));
        bed.bed.ctl.apply(&[fault]);
        let before = bed.asked(DB);
        let dig = bed.ask_at(way.server, DB, "A", &[]);
        assert_eq!(dig.status(), "timeout", "{way:?} {dig:?}");
        bed.ask_at(way.server, OTHER, "A", &[])
            .assert_served(&format!("{way:?}"));
        assert_eq!(bed.asked(DB), before);
        let view = bed.bed.delete("mute");
        assert_eq!(
            (
                view.packets("matched"),
                view.packets("answered"),
                view.packets("dropped")
            ),
            (1, 0, 1),
            "{}",
            view.0
        );
    }
}

#[test]
fn records_are_given_as_written_and_nothing_else() {
    need!(require_program("dnsmasq"));
    need!(require_program("dig"));
    let bed = DnsBed::new();
    let four: Vec<String> = (1..=8).map(|n| format!("192.0.2.{n}")).collect();
    let six: Vec<String> = (1..=8).map(|n| format!("2001:db8::{n}")).collect();
    let pairs = |kind: &'static str, list: &[String]| -> Vec<(String, String)> {
        list.iter().map(|text| (kind.to_owned(), text.clone())).collect()
    };
    let found = |dig: &crate::dns_bed::Dig| -> Vec<(String, String)> {
        dig.records()
            .iter()
            .map(|(kind, data)| ((*kind).to_owned(), (*data).to_owned()))
            .collect()
    };
    for way in bed.ways() {
        let at = |kind: &str| bed.ask_at(way.server, DB, kind, &[]);
        for count in [1, 3, 8] {
            let records = json!({"a": four[..count], "aaaa": six[..count], "ttl": "42s"});
            let fault = bed.on(
                way.direction,
                "made-up",
                json!({"answer": records, "names": [DB]}),
            );
            bed.bed.ctl.apply(&[fault]);
            for (kind, list) in [("A", &four), ("AAAA", &six)] {
                let dig = at(kind);
                assert_eq!(dig.status(), "NOERROR", "{way:?} {dig:?}");
                assert_eq!(found(&dig), pairs(kind, &list[..count]), "{way:?} {dig:?}");
                assert_eq!(dig.ttls(), BTreeSet::from(["42"]), "{dig:?}");
            }
            // Other types are none of its business.
            at("TXT").assert_served(&format!("{way:?} TXT"));
            let view = bed.bed.delete("made-up");
            assert_eq!(
                (view.packets("matched"), view.packets("answered")),
                (2, 2),
                "{}",
                view.0
            );
        }
        // Without a list of a family, the name has none of it, however it is asked.
        let fault = bed.on(way.direction, "only-a", json!({"answer": {"a": four[..1]}}));
        bed.bed.ctl.apply(&[fault]);
        let dig = at("A");
        assert_eq!(found(&dig), pairs("A", &four[..1]), "{dig:?}");
        assert_eq!(
            dig.ttls(),
            BTreeSet::from(["5"]),
            "five seconds, when nothing is said"
        );
        let dig = at("AAAA");
        assert_eq!((dig.status(), dig.records().len()), ("NOERROR", 0), "{dig:?}");
        bed.bed.delete("only-a");
        let fault = bed.on(
            way.direction,
            "not-kept",
            json!({"answer": {"aaaa": six[..2], "ttl": "0s"}, "types": ["AAAA"]}),
        );
        bed.bed.ctl.apply(&[fault]);
        let dig = at("AAAA");
        assert_eq!(found(&dig), pairs("AAAA", &six[..2]), "{dig:?}");
        assert_eq!(dig.ttls(), BTreeSet::from(["0"]), "{dig:?}");
        at("A").assert_served("A is not asked about");
        bed.bed.delete("not-kept");
    }
}

#[test]
fn names_and_types_choose() {
    need!(require_program("dnsmasq"));
    need!(require_program("dig"));
    let bed = DnsBed::new();
    let denied = |names: serde_json::Value, types: &[&str], asked: &[(&str, &str, bool)]| {
        let mut dns = json!({"answer": "nxdomain"});
        if !names.is_null() {
            dns["names"] = names.clone();
        }
        if !types.is_empty() {
            dns["types"] = json!(types);
        }
        bed.bed.ctl.apply(&[bed.on_client("choosy", dns)]);
        for (name, kind, want) in asked {
            let before = bed.asked(name);
            let dig = bed.ask(name, kind);
            assert_eq!(
                bed.asked(name) == before,
                *want,
                "{names} {types:?}: {name} {kind} {dig:?}"
            );
            if *want {
                assert_eq!(dig.status(), "NXDOMAIN", "{names} {types:?}: {name} {kind}");
            }
        }
        let hit = asked.iter().filter(|(_, _, hit)| *hit).count() as u64;
        let view = bed.bed.delete("choosy");
        assert_eq!(
            (view.packets("matched"), view.packets("answered")),
            (hit, hit),
            "{}",
            view.0
        );
    };
    denied(
        json!("DB.Example.test"),
        &[],
        &[
            ("db.example.test", "A", true),
            ("dB.eXample.TEST", "A", true),
            ("b.example.test", "A", false),
            ("x.db.example.test", "A", false),
            ("db.example.test.test", "A", false),
            ("other.example.test", "A", false),
        ],
    );
    denied(
        json!(["*.example.test", "single.test"]),
        &[],
        &[
            ("db.example.test", "A", true),
            ("a.b.c.d.EXAMPLE.test", "AAAA", true),
            ("example.test", "A", false),
            ("notexample.test", "A", false),
            ("SINGLE.test", "TXT", true),
            ("x.single.test", "A", false),
        ],
    );
    denied(
        json!(null),
        &["AAAA", "TXT"],
        &[
            ("db.example.test", "A", false),
            ("db.example.test", "AAAA", true),
            ("db.example.test", "TXT", true),
            ("db.example.test", "MX", false),
            ("example.com", "AAAA", true),
        ],
    );
    denied(
        json!("*"),
        &[],
        &[
            ("db.example.test", "A", true),
            ("com", "NS", true),
            (".", "NS", true),
        ],
    );
    let many: Vec<String> = (0..15)
        .map(|n| format!("n{n}.test"))
        .chain([DB.to_owned()])
        .collect();
    denied(
        json!(many),
        &[],
        &[(DB, "A", true), ("n0.test", "A", true), (OTHER, "A", false)],
    );
    // As long as a name may be, exactly and by its end.
    let long = longest();
    let cut = &long[1..];
    denied(
        json!(long),
        &[],
        &[(&long, "A", true), (cut, "A", false), (DB, "A", false)],
    );
    let end = &long[long.find('.').expect("labels")..];
    denied(
        json!(format!("*{end}")),
        &[],
        &[(&long, "A", true), (&end[1..], "A", false)],
    );
}

#[test]
fn edns_is_kept_with_its_cookie() {
    need!(require_program("dnsmasq"));
    need!(require_program("dig"));
    let bed = DnsBed::new();
    bed.bed.ctl.apply(&[
        bed.on_client("gone", json!({"answer": "nxdomain", "names": [DB]})),
        bed.on_client(
            "moved",
            json!({"answer": {"a": ["192.0.2.1", "192.0.2.2"]}, "names": [OTHER]}),
        ),
    ]);
    let server = bed.bed.net.server.at(53);
    for (name, status, records) in [(DB, "NXDOMAIN", 0), (OTHER, "NOERROR", 2)] {
        let cookie = ["+cookie=0011223344556677", "+bufsize=1400", "+dnssec"];
        let dig = bed.ask_at(server, name, "A", &cookie);
        assert_eq!((dig.status(), dig.records().len()), (status, records), "{dig:?}");
        for part in [
            "OPT PSEUDOSECTION",
            "EDNS: version: 0, flags: do; udp: 1400",
            "COOKIE: 0011223344556677",
        ] {
            assert!(dig.text.contains(part), "{part}: {dig:?}");
        }
        let bare = bed.ask_at(server, name, "A", &["+noedns", "+cdflag", "+norecurse"]);
        assert_eq!(
            (bare.status(), bare.records().len()),
            (status, records),
            "{bare:?}"
        );
        assert!(!bare.text.contains("OPT PSEUDOSECTION"), "{bare:?}");
        assert_eq!(bare.flags(), BTreeSet::from(["qr", "ra", "cd"]), "{bare:?}");
    }
}

#[test]
fn tcp_passes_or_is_reset_as_asked() {
    need!(require_program("dnsmasq"));
    need!(require_program("dig"));
    let bed = DnsBed::new();
    for way in bed.ways() {
        let over_tcp = || bed.ask_at(way.server, DB, "A", &["+tcp"]);
        let fault = |tcp: &str| {
            bed.on(
                way.direction,
                "udp-only",
                json!({"answer": "nxdomain", "tcp": tcp}),
            )
        };
        bed.bed.ctl.apply(&[fault("pass")]);
        assert_eq!(bed.ask_at(way.server, DB, "A", &[]).status(), "NXDOMAIN");
        over_tcp().assert_served(&format!("{way:?}"));
        bed.bed.ctl.apply(&[fault("reset")]);
        assert_eq!(bed.ask_at(way.server, DB, "A", &[]).status(), "NXDOMAIN");
        let dig = over_tcp();
        assert!(
            dig.text.contains("reset") || dig.text.contains("end of file"),
            "{way:?} {dig:?}"
        );
        assert!(
            dig.elapsed < Duration::from_millis(900),
            "a reset is told at once: {dig:?}"
        );
        let view = bed.bed.delete("udp-only");
        assert_eq!(view.packets("answered"), 2, "{}", view.0);
        assert!(view.packets("reset") > 0, "{}", view.0);
        over_tcp().assert_served("after");
    }
}

#[test]
fn port_53_unless_another_is_named() {
    need!(require_program("dnsmasq"));
    need!(require_program("dig"));
    let bed = DnsBed::new();
    let server = &bed.bed.net.server;
    for direction in ["egress", "ingress"] {
        let end = if direction == "egress" { "remote" } else { "local" };
        for (ports, hit, spared) in [(None, 53, 5300), (Some(json!([5300])), 5300, 53)] {
            let mut fault = bed.on(direction, "gone", json!({"answer": "nxdomain"}));
            if let Some(ports) = ports {
                fault = fault.traffic(json!({"direction": direction, end: {"ports": ports}}));
            }
            bed.bed.ctl.apply(&[fault]);
            for at in [server.at(hit), server.at6(hit)] {
                let dig = bed.ask_at(at, DB, "A", &[]);
                assert_eq!(dig.status(), "NXDOMAIN", "{direction} {at} {dig:?}");
            }
            for at in [server.at(spared), server.at6(spared)] {
                bed.ask_at(at, DB, "A", &[])
                    .assert_served(&format!("{direction} {at}"));
            }
            assert_eq!(bed.bed.delete("gone").packets("answered"), 2);
        }
    }
}

#[test]
fn a_delay_is_of_the_questions_that_are_named() {
    need!(require_program("dnsmasq"));
    need!(require_program("dig"));
    let bed = DnsBed::new();
    let late = Duration::from_millis(300);
    for way in bed.ways() {
        let fault = bed.on(way.direction, "slow", json!({"delay": "300ms", "names": [DB]}));
        bed.bed.ctl.apply(&[fault]);
        let dig = bed.ask_at(way.server, DB, "A", &[]);
        dig.assert_served(&format!("{way:?}"));
        assert!(dig.elapsed >= late, "{way:?} {dig:?}");
        assert!(query_time(&dig.text) < late * 2, "{way:?} {dig:?}");
        let dig = bed.ask_at(way.server, OTHER, "A", &[]);
        dig.assert_served(&format!("{way:?}"));
        assert!(query_time(&dig.text) < late, "{way:?} {dig:?}");
        let view = bed.bed.delete("slow");
        assert_eq!(
            (
                view.packets("matched"),
                view.packets("delayed"),
                view.packets("answered")
            ),
            (1, 1, 0),
            "{}",
            view.0
        );
    }
}

/// What dig has measured: without its own start.
fn query_time(text: &str) -> Duration {
    let millis = text
        .split_once(";; Query time: ")
        .and_then(|(_, rest)| rest.split(' ').next())
        .and_then(|word| word.parse().ok());
    Duration::from_millis(millis.unwrap_or_else(|| panic!("no time: {text}")))
}

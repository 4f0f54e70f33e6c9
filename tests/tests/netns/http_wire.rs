//! `http` faults on connections that are not as simple as one request in one segment: bodies that follow, requests that
//! are sent again or at once with others, and every kind of TCP that a Linux speaks.

use std::net::SocketAddr;
use std::time::Duration;

use chaos_tests::{Capture, Device, Way, eventually, need, require_program, require_tcx};
use serde_json::json;

use crate::bed::SOON;
use crate::http::{End, LATE, PORT, Seen, Site, UNAVAILABLE, Wire, unavailable, with};

const MEGABYTE: usize = 1 << 20;

/// The end at which the fault is, and the family.
fn ways(site: &Site) -> [(&'static str, SocketAddr); 4] {
    let server = &site.net.server;
    [
        ("client", server.at(PORT)),
        ("client", server.at6(PORT)),
        ("server", server.at(PORT)),
        ("server", server.at6(PORT)),
    ]
}

impl Site {
    fn apply_at(&self, side: &str, name: &str, http: serde_json::Value) {
        let fault = if side == "client" {
            self.fault(name, http)
        } else {
            self.fault_at_server(name, http)
        };
        self.ctl.apply(&[fault]);
    }

    /// So many requests were met, all of them answered, and none came through.
    #[track_caller]
    fn assert_answered(&self, name: &str, count: u64) {
        let view = self.ctl.fault(name);
        assert_eq!(
            (
                view.packets("matched"),
                view.packets("answered"),
                view.packets("unseen")
            ),
            (count, count, 0),
            "{}",
            view.0
        );
        assert_eq!(self.web.seen(), Vec::<Seen>::new());
    }
}

#[test]
fn curl_reads_its_answer_whatever_it_still_has_to_send() {
    need!(require_program("nginx"));
    let site = Site::new();
    let body = site.web.file("body");
    std::fs::write(&body, vec![b'x'; MEGABYTE]).expect("writes");
    let body = format!("@{}", body.display());
    for (side, to) in ways(&site) {
        site.apply_at(side, "body", unavailable());
        let url = format!("http://{to}/pay");
        let ways_to_send: [&[&str]; 3] = [
            &["-H", "Expect: 100-continue", "--expect100-timeout", "5"],
            &["-H", "Expect:"],
            &["-H", "Expect:", "-H", "Transfer-Encoding: chunked"],
        ];
        for headers in ways_to_send {
            let mut words = headers.to_vec();
            words.extend(["--data-binary", &body, &url]);
            let answer = site.curl(&words);
            assert_eq!(answer.text(), UNAVAILABLE, "{side} {to} {headers:?}");
        }
        site.assert_answered("body", 3);
        site.delete("body");
    }
    site.assert_nothing_hangs();
}

/// Clients that say all that they have to say before they listen.
#[test]
fn a_client_that_sends_its_whole_body_first_reads_its_answer_and_no_reset() {
    need!(require_program("nginx"));
    let site = Site::new();
    let body = "x".repeat(MEGABYTE);
    for (side, to) in ways(&site) {
        site.apply_at(side, "body", unavailable());
        // With the head in one piece, and long after it.
        for pause in [false, true] {
            let mut wire = site.connect(to);
            let head = format!("POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: {MEGABYTE}\r\n\r\n");
            if pause {
                wire.say(&head);
                eventually(SOON, "the answer is there", || wire.has_data());
                wire.say(&body);
            } else {
                wire.say(&(head + &body));
            }
            assert_eq!(wire.reply().text(), UNAVAILABLE, "{side} {to} {pause}");
            wire.assert_closed();
        }
        site.assert_answered("body", 2);
        site.delete("body");
    }
    site.assert_nothing_hangs();
}

/// A client that goes on with what it believes to be a kept connection is told nothing more, and nobody else hears it.
#[test]
fn requests_sent_at_once_get_one_answer_and_the_connection_ends() {
    need!(require_program("nginx"));
    let site = Site::new();
    for (side, to) in ways(&site) {
        site.apply_at(side, "pipe", unavailable());
        let mut wire = site.connect(to);
        wire.say("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(wire.rest(), (UNAVAILABLE.to_owned(), End::Closed), "{side} {to}");

        let mut wire = site.connect(to);
        wire.ask("GET", "/3");
        eventually(SOON, "the answer is there", || wire.has_data());
        wire.ask("GET", "/4");
        assert_eq!(wire.rest(), (UNAVAILABLE.to_owned(), End::Closed), "{side} {to}");
        site.assert_answered("pipe", 2);
        site.delete("pipe");
    }
    site.assert_nothing_hangs();
}

/// All that a segment tells is what it begins with.
#[test]
fn a_request_behind_another_in_one_segment_shares_the_fate_of_the_first() {
    need!(require_program("nginx"));
    let site = Site::new();
    site.ctl
        .apply(&[site.fault("pay", with(unavailable(), json!({"path": "/pay"})))]);
    let mut wire = site.connect(site.net.server.at(PORT));
    wire.say("GET /free HTTP/1.1\r\nHost: a\r\n\r\nGET /pay HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(wire.reply().body, "served /free\n");
    assert_eq!(wire.reply().body, "served /pay\n");
    wire.ask("GET", "/pay");
    assert_eq!(wire.rest(), (UNAVAILABLE.to_owned(), End::Closed));
    assert_eq!(site.ctl.fault("pay").packets("answered"), 1);
}

/// Requests on one connection, the answered one far from the first.
#[test]
fn the_hundredth_request_of_a_connection_is_answered_like_the_first() {
    need!(require_program("nginx"));
    let site = Site::new();
    for (side, to) in ways(&site) {
        site.apply_at(side, "pay", with(unavailable(), json!({"path": "/pay"})));
        let mut wire = site.connect(to);
        let before = site.web.seen().len();
        for n in 0..100 {
            wire.ask("GET", &format!("/{n}"));
            assert_eq!(wire.reply().body, format!("served /{n}\n"));
        }
        wire.ask("GET", "/pay");
        assert_eq!(wire.rest(), (UNAVAILABLE.to_owned(), End::Closed), "{side} {to}");
        drop(wire);
        let seen = site.web.wait_for(before + 100);
        assert_eq!(seen.last().map(|seen| seen.nth), Some(100), "one connection");
        site.delete("pay");
    }
    site.assert_nothing_hangs();
}

/// Nothing arrives at a device while it lives.
pub(crate) struct Deaf<'a>(&'a Device);

impl<'a> Deaf<'a> {
    pub(crate) fn new(device: &'a Device) -> Self {
        let name = device.name();
        // Where there is no TCX, the bed has one.
        if require_tcx().is_ok() {
            device.netns().tc(&format!("qdisc add dev {name} clsact"));
        }
        // The verdict of this program of one instruction: TC_ACT_SHOT.
        let argv: Vec<&str> = [
            "tc", "filter", "add", "dev", name, "ingress", "pref", "9", "protocol",
        ]
        .into_iter()
        .chain(["all", "bpf", "direct-action", "bytecode", "1,6 0 0 2"])
        .collect();
        device.netns().run(&argv);
        Self(device)
    }
}

impl Drop for Deaf<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let (netns, name) = (self.0.netns(), self.0.name());
            netns.tc(&match require_tcx() {
                Ok(()) => format!("qdisc del dev {name} clsact"),
                Err(_) => format!("filter del dev {name} ingress pref 9"),
            });
        }
    }
}

/// Segments of a capture that carry the beginning of a request.
fn requests(capture: &Capture) -> usize {
    let begins = |frame: &chaos_tests::Frame| frame.bytes.windows(9).any(|bytes| bytes == b"GET /pay ");
    capture.frames().iter().filter(|frame| begins(frame)).count()
}

/// The answer is lost: the client asks again, and is told the same again. It is one request.
#[test]
fn a_request_that_is_sent_again_is_answered_again_and_counted_once() {
    need!(require_program("nginx"));
    let site = Site::new();
    for (round, (side, to)) in ways(&site).into_iter().enumerate() {
        for netns in [&site.net.client.netns, &site.net.server.netns] {
            netns.sysctl("ipv4/tcp_timestamps", if round % 2 == 0 { "1" } else { "0" });
        }
        // At half a chance a second verdict would be another one, sooner or later.
        let half = with(unavailable(), json!({"chance": "50%"}));
        site.apply_at(side, "again", half);
        let mut wires: Vec<Wire> = (0..8).map(|_| site.connect(to)).collect();
        let sent = || site.net.client.netns.tcp_count("RetransSegs");
        let before = (sent(), site.web.seen().len());
        let capture = Capture::start(&site.net.client.device, Way::Out, "tcp or ip6");
        {
            let _deaf = Deaf::new(&site.net.client.device);
            for wire in &mut wires {
                wire.ask("GET", "/pay");
            }
            eventually(LATE, "each is sent again, and again", || {
                sent() >= before.0 + 3 * wires.len() as u64
            });
        }
        let statuses: Vec<u16> = wires
            .iter_mut()
            .map(|wire| {
                let reply = wire.reply();
                if reply.status == 503 {
                    assert_eq!(reply.text(), UNAVAILABLE, "{side} {to}");
                    wire.assert_closed();
                }
                reply.status
            })
            .collect();
        let answered = statuses.iter().filter(|status| **status == 503).count();
        assert!(
            (1..=7).contains(&answered),
            "{side} {to}: some of each kind: {statuses:?}"
        );
        let view = site.ctl.fault("again");
        assert_eq!(
            (view.packets("matched"), view.packets("answered")),
            (8, answered as u64),
            "{side} {to}: {statuses:?} {}",
            view.0
        );
        site.web.wait_for(before.1 + 8 - answered);
        // Answered where it is asked, a request never leaves: the capture sits behind the hook.
        let left = requests(&capture);
        let fewest = if side == "client" { 8 - answered } else { 8 } * 2;
        assert!(left >= fewest, "{side} {to}: {left} segments with requests left");
        drop(wires);
        site.delete("again");
        site.assert_nothing_hangs();
    }
}

/// Options of TCP, and devices that leave the work to others or do it themselves.
#[test]
fn every_kind_of_tcp_and_of_device_gets_a_right_answer() {
    need!(require_program("nginx"));
    need!(require_program("ethtool"));
    let mut site = Site::new();
    let body = "x".repeat(200_000);
    let plain = [
        ("tcp_timestamps", "1"),
        ("tcp_window_scaling", "1"),
        ("tcp_sack", "1"),
    ];
    let kinds: [&[(&str, &str)]; 4] = [
        &[],
        &[("tcp_timestamps", "0")],
        &[("tcp_window_scaling", "0")],
        &[
            ("tcp_timestamps", "0"),
            ("tcp_window_scaling", "0"),
            ("tcp_sack", "0"),
        ],
    ];
    for offload in ["on", "off"] {
        for device in [&site.net.client.device, &site.net.server.device] {
            let name = device.name();
            // Without checksums there are no super-packets, either.
            device.netns().run(&["ethtool", "-K", name, "tx", offload]);
            if offload == "off" {
                device
                    .netns()
                    .run(&["ethtool", "-K", name, "gro", "off", "gso", "off", "tso", "off"]);
            }
        }
        site.remember();
        for kind in kinds {
            for netns in [&site.net.client.netns, &site.net.server.netns] {
                for (key, value) in plain.iter().chain(kind) {
                    netns.sysctl(&format!("ipv4/{key}"), value);
                }
            }
            for (side, to) in ways(&site) {
                let what = format!("{kind:?}, offload {offload}, {side} {to}");
                site.apply_at(side, "kind", with(unavailable(), json!({"path": "/pay"})));
                let mut wire = site.connect(to);
                wire.ask("GET", "/free");
                assert_eq!(wire.reply().status, 200, "{what}");
                wire.say(&format!(
                    "POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                ));
                assert_eq!(wire.rest(), (UNAVAILABLE.to_owned(), End::Closed), "{what}");
                drop(wire);
                let view = site.ctl.fault("kind");
                assert_eq!(view.packets("answered"), 1, "{what}: {}", view.0);
                site.delete("kind");
                site.assert_nothing_hangs();
            }
        }
    }
    let resets = site.net.client.netns.tcp_count("EstabResets");
    assert_eq!(resets, 0, "no client was reset");
    assert_eq!(site.net.client.netns.tcp_count("InCsumErrors"), 0);
    assert_eq!(site.net.server.netns.tcp_count("InCsumErrors"), 0);
}

/// The connection's number is used again at once: the new one has no past.
#[test]
fn a_new_connection_between_the_same_ports_is_a_new_one() {
    need!(require_program("nginx"));
    let site = Site::new();
    for (side, to) in ways(&site) {
        site.apply_at(side, "pay", with(unavailable(), json!({"path": "/pay"})));
        for round in 0..10 {
            let mut wire = Wire::open_from(&site.net.client.netns, 40_000, to);
            let answered = round % 2 == 0;
            wire.ask("GET", if answered { "/pay" } else { "/free" });
            assert_eq!(
                wire.reply().status,
                if answered { 503 } else { 200 },
                "{side} {to}"
            );
            if !answered {
                // Away at once, or the port would be kept for a minute.
                wire.reset_on_close();
            }
            drop(wire);
            eventually(Duration::from_secs(2), "the port is free", || {
                crate::http::unfinished(&site.net.client.netns).is_empty()
            });
        }
        assert_eq!(site.ctl.fault("pay").packets("answered"), 5, "{side} {to}");
        site.delete("pay");
    }
    site.assert_nothing_hangs();
}

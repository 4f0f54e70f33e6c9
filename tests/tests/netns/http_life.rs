//! The life of an `http` fault: its other actions, its budget and its end, and what running clients notice of a change.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chaos_tests::{Api, Stopwatch, eventually, need, patience, require_program};
use serde_json::json;

use crate::bed::{Bed, SOON};
use crate::http::{End, LATE, PORT, Seen, Site, UNAVAILABLE, Wire, unavailable, with};
use crate::http_hyper::Hyper;

#[test]
fn an_aborted_request_is_a_reset_for_the_client_and_the_server() {
    need!(require_program("nginx"));
    let site = Site::new();
    let abort = json!({"abort": true, "path": "/pay"});
    let server = &site.net.server;
    for (fault, to) in [
        (site.fault("abort", abort.clone()), server.at(PORT)),
        (site.fault("abort", abort.clone()), server.at6(PORT)),
        (site.fault_at_server("abort", abort.clone()), server.at(PORT)),
        (site.fault_at_server("abort", abort.clone()), server.at6(PORT)),
    ] {
        site.ctl.apply(&[fault]);
        let before = (site.web.seen().len(), server.netns.tcp_count("EstabResets"));
        let mut wire = site.connect(to);
        wire.ask("GET", "/free");
        assert_eq!(wire.reply().body, "served /free\n");
        wire.ask("GET", "/pay");
        assert_eq!(wire.rest(), (String::new(), End::Reset), "{to}");
        drop(wire);
        eventually(SOON, "the server was reset, too", || {
            server.netns.tcp_count("EstabResets") == before.1 + 1
        });
        let curled = site.try_curl(&[&format!("http://{to}/pay")]);
        assert_eq!(
            (curled.code, curled.text.as_str()),
            (56, ""),
            "a failure to receive: {curled}"
        );
        let view = site.ctl.fault("abort");
        assert_eq!(
            (
                view.packets("matched"),
                view.packets("reset"),
                view.packets("answered")
            ),
            (2, 2, 0),
            "{}",
            view.0
        );
        site.web.wait_for(before.0 + 1);
        site.delete("abort");
    }
    site.assert_nothing_hangs();
}

/// The time that a request takes to its answer.
fn takes(wire: &mut crate::http::Wire, text: &str) -> Duration {
    let start = Instant::now();
    wire.say(text);
    assert_eq!(wire.reply().status, 200);
    start.elapsed()
}

#[test]
fn a_delayed_request_is_late_once_and_in_order_and_nobody_beside_it() {
    const DELAY: Duration = Duration::from_millis(300);
    need!(require_program("nginx"));
    // A server that answers before it has read all would be asked again in the last segment of a body.
    let site = Site::serving(
        "server { listen 127.0.0.1:8079; access_log off; location / { return 200 \"served $request_uri\\n\"; } }\n\
         server { listen 8080; listen [::]:8080; location / { proxy_pass http://127.0.0.1:8079; } }",
    );
    // What is swapped then, the veth has not.
    for end in [&site.net.client, &site.net.server] {
        end.device.steer();
    }
    let (client, server) = (&site.net.client.netns, &site.net.server.netns);
    let slow = json!({"delay": "300ms", "path": "/pay"});
    site.ctl.apply(&[site.fault("slow", slow)]);
    let disorder = || (client.tcp_count("TCPOFOQueue"), server.tcp_count("TCPOFOQueue"));
    let before = disorder();
    let mut requests = 0;
    for to in [site.net.server.at(PORT), site.net.server.at6(PORT)] {
        let mut wire = site.connect(to);
        let mut beside = site.connect(to);
        // Without a body, and with one that is many segments long.
        for body in [0, 300_000] {
            let request = |path: &str| {
                let body = "x".repeat(body);
                format!(
                    "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )
            };
            for _ in 0..3 {
                let watch = Stopwatch::start();
                let free = takes(&mut wire, &request("/free"));
                assert!(free < DELAY, "{to}, {body}: what is not named took {free:?}");
                let pay = takes(&mut wire, &request("/pay"));
                let free = takes(&mut wire, &request("/free"));
                let all = watch.took();
                assert!(pay >= DELAY, "{to}, {body}: only {pay:?}");
                assert!(free < DELAY, "{to}, {body}: the next took {free:?}");
                assert!(
                    all < patience(2 * DELAY),
                    "{to}, {body}: late once, not twice: {pay:?} of {all:?}"
                );
                requests += 1;
            }
            // Whoever asks while another waits does not wait.
            wire.say(&request("/pay"));
            let start = Instant::now();
            for _ in 0..5 {
                takes(&mut beside, &request("/free"));
            }
            assert!(!wire.has_data(), "five others were faster: {:?}", start.elapsed());
            assert_eq!(wire.reply().status, 200);
            requests += 1;
        }
    }
    assert_eq!(disorder(), before, "all arrives in order");
    let view = site.ctl.fault("slow");
    assert_eq!(
        (
            view.packets("matched"),
            view.packets("delayed"),
            view.packets("dropped")
        ),
        (requests, requests, 0),
        "{}",
        view.0
    );
    site.assert_nothing_hangs();
}

/// What follows a delayed request comes behind it, also what is sent long after it has gone on.
#[test]
fn an_upload_behind_a_delayed_request_comes_in_order() {
    const DELAY: Duration = Duration::from_millis(100);
    let bed = Bed::new();
    for end in [&bed.net.client, &bed.net.server] {
        end.device.steer();
    }
    let (client, server) = (&bed.net.client.netns, &bed.net.server.netns);
    let slow = json!({"http": {"delay": "100ms", "path": "/pay"}});
    let traffic = json!({"protocol": "tcp", "remote": {"ports": [PORT]}});
    bed.ctl.apply(&[bed.on_client("slow", slow).traffic(traffic)]);
    let chunk = vec![b'x'; 1 << 16];
    let uploads = [bed.net.server.at(PORT), bed.net.server.at6(PORT)];
    for to in uploads {
        let listener = server.enter(|| TcpListener::bind(to)).expect("the port is free");
        let reading = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept()?;
            std::io::copy(&mut stream, &mut std::io::sink())
        });
        let mut wire = Wire::open(client, to);
        let before = server.tcp_count("TCPOFOQueue");
        let head = "POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n";
        let start = Instant::now();
        wire.say(head);
        let mut sent = head.len();
        while start.elapsed() < DELAY + SOON {
            wire.0.write_all(&chunk).expect("somebody reads");
            sent += chunk.len();
        }
        drop(wire);
        let came = reading.join().expect("the reader ends").expect("all is read");
        assert_eq!(came, sent as u64, "{to}");
        assert_eq!(server.tcp_count("TCPOFOQueue"), before, "{to}: in order");
    }
    let view = bed.delete("slow");
    assert_eq!(view.packets("delayed"), uploads.len() as u64, "{view:?}");
}

/// Nor does its body, which says nothing of the path: nobody reads what is on the line meanwhile.
#[test]
fn what_is_asked_after_a_delayed_request_does_not_take_the_line() {
    need!(require_program("nginx"));
    let mut site = Site::serving(
        "server { listen 127.0.0.1:8079; access_log off; location / { return 200; } }\n\
         server { listen 8080; listen [::]:8080; location / { proxy_pass http://127.0.0.1:8079; } }",
    );
    let slow = json!({"delay": "50ms", "path": "/pay"});
    site.ctl.apply(&[site.fault("slow", slow)]);
    let body = "x".repeat(300_000);
    let request =
        |path: &str| format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n{body}");
    for to in [site.net.server.at(PORT), site.net.server.at6(PORT)] {
        let mut wire = site.connect(to);
        takes(&mut wire, &request("/pay"));
        site.daemon.sigstop();
        takes(&mut wire, &request("/free"));
        site.daemon.sigcont();
        takes(&mut wire, &request("/pay"));
    }
    let view = site.ctl.fault("slow");
    assert_eq!(view.packets("delayed"), 4, "{}", view.0);
    site.assert_nothing_hangs();
}

/// Less than the 200 ms that TCP waits at least for an acknowledgement (`TCP_RTO_MIN`). For longer no one can keep it from
/// asking again: it has measured a way without the wait.
#[test]
fn a_delay_within_tcps_patience_has_nothing_sent_again() {
    need!(require_program("nginx"));
    let site = Site::new();
    site.ctl.apply(&[site.fault("slow", json!({"delay": "100ms"}))]);
    let sent_again = || [&site.net.client, &site.net.server].map(|host| host.netns.tcp_count("RetransSegs"));
    for to in [site.net.server.at(PORT), site.net.server.at6(PORT)] {
        let mut wire = site.connect(to);
        for _ in 0..10 {
            let (watch, before) = (Stopwatch::start(), sent_again());
            let pay = takes(&mut wire, "GET /pay HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(pay >= Duration::from_millis(100), "{to}: {pay:?}");
            // Where the machine stood still, TCP may have lost its patience.
            if watch.took() + Duration::from_millis(50) > pay {
                assert_eq!(sent_again(), before, "{to}: {pay:?}");
            }
        }
    }
    let view = site.ctl.fault("slow");
    assert_eq!(view.packets("delayed"), 20, "{}", view.0);
    site.assert_nothing_hangs();
}

/// Where the server is. What is late there may be sent again by the client, which knows nothing of it; it counts once.
#[test]
fn a_request_that_is_delayed_at_the_server_counts_once() {
    const DELAY: Duration = Duration::from_millis(500);
    need!(require_program("nginx"));
    let site = Site::new();
    let slow = json!({"delay": "500ms", "path": "/pay"});
    site.ctl.apply(&[site.fault_at_server("slow", slow)]);
    for to in [site.net.server.at(PORT), site.net.server.at6(PORT)] {
        let mut wire = site.connect(to);
        for _ in 0..3 {
            let pay = takes(&mut wire, "GET /pay HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(pay >= DELAY && pay < patience(3 * DELAY), "{to}: {pay:?}");
            let free = takes(&mut wire, "GET /free HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(free < DELAY, "{to}: {free:?}");
        }
    }
    let view = site.ctl.fault("slow");
    assert_eq!(
        (view.packets("matched"), view.packets("delayed")),
        (6, 6),
        "{}",
        view.0
    );
    site.web.wait_for(12);
    site.assert_nothing_hangs();
}

/// The server hears nothing for a while: the same request comes again, long after it has waited.
#[test]
fn a_delayed_request_that_is_lost_and_sent_again_counts_once() {
    need!(require_program("nginx"));
    let site = Site::new();
    let slow = json!({"delay": "50ms"});
    site.ctl.apply(&[site.fault("slow", slow)]);
    let mut wire = site.connect(site.net.server.at(PORT));
    let sent = || site.net.client.netns.tcp_count("RetransSegs");
    let before = sent();
    {
        let _deaf = crate::http_wire::Deaf::new(&site.net.server.device);
        wire.ask("GET", "/");
        eventually(LATE, "it is sent again, and again", || sent() >= before + 3);
    }
    assert_eq!(wire.reply().status, 200);
    let view = site.ctl.fault("slow");
    assert_eq!(
        (view.packets("matched"), view.packets("delayed")),
        (1, 1),
        "{}",
        view.0
    );
    drop(wire);
    site.assert_nothing_hangs();
}

#[test]
fn a_budget_is_spent_on_requests_and_never_overdrawn() {
    const BUDGET: u64 = 25;
    need!(require_program("nginx"));
    for side in ["client", "server"] {
        let site = Site::new();
        let fault = if side == "client" {
            site.fault("few", unavailable())
        } else {
            site.fault_at_server("few", unavailable())
        };
        site.ctl.apply(&[fault.max_packets(BUDGET)]);
        let url = site.url("/");
        let statuses = Hyper::enter(&site.net.client.netns, async |client| {
            client.get_at_once(&url, 20, 200).await
        });
        let answered = statuses.iter().filter(|status| **status == 503).count();
        assert_eq!(answered as u64, BUDGET, "{side}");
        assert_eq!(statuses.len(), 200);
        let view = site.ctl.wait_for_phase("few", "Ended");
        assert_eq!(view.reason(), "Budget", "{}", view.0);
        assert_eq!(view.packets("answered"), BUDGET, "{}", view.0);
        site.web.wait_for(200 - answered);
        site.assert_nothing_hangs();
    }
}

#[test]
fn after_its_deadline_requests_pass() {
    need!(require_program("nginx"));
    let site = Site::new();
    site.ctl
        .apply(&[site.fault("short", unavailable()).lasting("2s")]);
    let start = Instant::now();
    let mut answered = 0;
    while site.status("/") == 503 {
        answered += 1;
        assert!(
            start.elapsed() < patience(Duration::from_secs(4)),
            "{answered} answered, and no end"
        );
    }
    assert!(answered > 0);
    let view = site.ctl.wait_for_phase("short", "Ended");
    assert_eq!(view.reason(), "Deadline", "{}", view.0);
    for _ in 0..5 {
        assert_eq!(site.status("/"), 200);
    }
    assert_eq!(site.ctl.fault("short").packets("answered"), answered);
    site.assert_nothing_hangs();
}

/// Clients ask, twenty at a time, until they are told to stop; `meanwhile` is what happens to them. All the statuses.
fn asking(site: &Site, meanwhile: impl FnOnce(&AtomicUsize)) -> Vec<u16> {
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let url = site.url("/");
    std::thread::scope(|scope| {
        let statuses = scope.spawn(|| {
            Hyper::enter(&site.net.client.netns, async |client| {
                let mut statuses = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    statuses.extend(client.get_at_once(&url, 20, 100).await);
                    asked.store(statuses.len(), Ordering::Relaxed);
                }
                statuses
            })
        });
        meanwhile(&asked);
        done.store(true, Ordering::Relaxed);
        statuses.join().expect("no request fails")
    })
}

/// Waits until so many more were asked.
#[track_caller]
fn further(asked: &AtomicUsize, count: usize) {
    let now = asked.load(Ordering::Relaxed);
    eventually(LATE, &format!("{count} more requests"), || {
        asked.load(Ordering::Relaxed) >= now + count
    });
}

#[test]
fn deleted_while_requests_run_each_is_answered_by_somebody() {
    need!(require_program("nginx"));
    let site = Site::new();
    let mut answered = 0;
    let statuses = asking(&site, |asked| {
        for _ in 0..5 {
            further(asked, 100);
            site.ctl.apply(&[site.fault("gone", unavailable())]);
            further(asked, 100);
            answered += site.delete("gone").packets("answered");
        }
        further(asked, 100);
    });
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!(count(200) + count(503), statuses.len(), "{statuses:?}");
    assert_eq!(count(503) as u64, answered);
    assert!(count(200) >= 100 && count(503) >= 100);
    site.web.wait_for(count(200));
    site.assert_nothing_hangs();
}

#[test]
fn a_change_of_the_answer_lets_no_request_through_and_loses_none() {
    need!(require_program("nginx"));
    let site = Site::new();
    let api = Api::of(&site.daemon);
    let answers = [
        json!({"status": 503, "body": "try later\n"}),
        json!({"status": 429, "headers": {"Retry-After": "1"}}),
    ];
    let apply = |n: usize| {
        let answer = api.apply(&[site.fault("changing", answers[n % 2].clone())]);
        assert!((200..300).contains(&answer.status), "{answer:?}");
    };
    apply(0);
    site.ctl.wait_for_phase("changing", "Active");
    let mut changes = 0;
    let statuses = asking(&site, |asked| {
        while changes < 40 {
            changes += 1;
            apply(changes);
            if changes % 10 == 0 {
                further(asked, 100);
            }
        }
    });
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!(count(503) + count(429), statuses.len());
    assert!(count(503) > 0 && count(429) > 0, "{} {}", count(503), count(429));
    assert_eq!(site.web.seen(), Vec::<Seen>::new(), "nothing slips through");
    let view = site.ctl.fault("changing");
    assert_eq!(
        (view.packets("matched"), view.packets("answered")),
        (statuses.len() as u64, statuses.len() as u64),
        "one fault: {}",
        view.0
    );
    site.assert_nothing_hangs();
}

/// Links that nobody holds end with their holder.
#[test]
fn a_killed_daemon_answers_no_more_and_leaves_no_connection_hanging() {
    need!(require_program("nginx"));
    let mut site = Site::new();
    site.ctl.apply(&[site.fault("killed", unavailable())]);
    // One that has its answer, and closes only later; one that never asked; one that is in the middle of its body.
    let mut answered = site.connect(site.net.server.at(PORT));
    answered.ask("GET", "/1");
    assert_eq!(answered.reply().text(), UNAVAILABLE);
    let mut sending = site.connect(site.net.server.at(PORT));
    sending.say("POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    eventually(SOON, "the answer is there", || sending.has_data());
    let mut idle = site.connect(site.net.server.at(PORT));
    site.daemon.sigkill();
    eventually(SOON, "no program is left", || {
        idle.ask("GET", "/3");
        let reply = idle.reply();
        if reply.status == 503 {
            idle = site.connect(site.net.server.at(PORT));
        }
        reply.status == 200
    });
    assert_eq!(site.status("/4"), 200);
    // The server has long forgotten this one, and says so, be it to an acknowledgement that came late; its answer is read
    // nevertheless.
    let _ = sending.0.write_all("x".repeat(1000).as_bytes());
    assert_eq!(sending.reply().text(), UNAVAILABLE);
    drop((answered, sending, idle));
    assert_eq!(site.web.uris(), ["/3", "/4"]);
    site.assert_nothing_hangs();
    site.daemon.start_again();
    assert!(site.ctl.faults().iter().all(|fault| fault.phase() != "Active"));
    assert_eq!(site.status("/5"), 200);
}

/// Two faults that mean the same request: the older one answers. One that waits and one that answers: both.
#[test]
fn faults_on_one_request_act_in_their_order() {
    need!(require_program("nginx"));
    let site = Site::new();
    let slow = json!({"delay": "200ms", "path": "/both"});
    let busy = json!({"status": 429, "path": "/b*"});
    site.ctl.apply(&[site.fault("busy", busy)]);
    site.ctl
        .apply(&[site.fault("pay", with(unavailable(), json!({"path": "/b*"})))]);
    site.ctl.apply(&[site.fault("slow", slow)]);
    assert_eq!(site.status("/both"), 429);
    assert_eq!(site.ctl.fault("pay").packets("answered"), 0);
    site.delete("busy");
    assert_eq!(site.status("/both"), 503);
    site.delete("pay");
    let start = Instant::now();
    assert_eq!(site.status("/both"), 200);
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert_eq!(site.ctl.fault("slow").packets("delayed"), 1);
    site.assert_nothing_hangs();
}

//! Ten thousand requests, fifty at a time: client, server and counters agree to the request, and nothing hangs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use chaos_tests::{binomial_999, eventually, need, require_program};
use serde_json::json;

use crate::bed::SOON;
use crate::http::{Site, unavailable, with};
use crate::http_hyper::Hyper;

const REQUESTS: usize = 10_000;
const AT_ONCE: usize = 50;
const CHANCE: f64 = 0.4;

/// Each request has a number of its own; the status that it got.
fn ask_all(site: &Site) -> BTreeMap<usize, u16> {
    let address = site.url("/n/");
    Hyper::enter(&site.net.client.netns, async |client| {
        let next = std::rc::Rc::new(AtomicUsize::new(0));
        let local = tokio::task::LocalSet::new();
        let askers: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let (client, next, address) = (client.clone(), next.clone(), address.clone());
                local.spawn_local(async move {
                    let mut got = Vec::new();
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= REQUESTS {
                            return got;
                        }
                        let answer = client
                            .get(&format!("{address}{n}"))
                            .await
                            .unwrap_or_else(|error| panic!("request {n}: {error}"));
                        let expected = match answer.status {
                            503 => "try later\n".to_owned(),
                            _ => format!("served /n/{n}\n"),
                        };
                        assert_eq!(answer.body, expected, "request {n}");
                        got.push((n, answer.status));
                    }
                })
            })
            .collect();
        local
            .run_until(async {
                let mut all = BTreeMap::new();
                for asker in askers {
                    all.extend(asker.await.expect("it comes to its end"));
                }
                all
            })
            .await
    })
}

#[test]
fn ten_thousand_requests_are_accounted_for_to_the_request_and_nothing_hangs() {
    need!(require_program("nginx"));
    for (seed, side) in [(1, "client"), (2, "server")] {
        let site = Site::new();
        let http = with(unavailable(), json!({"chance": "40%"}));
        let fault = if side == "client" {
            site.fault("many", http)
        } else {
            site.fault_at_server("many", http)
        };
        site.ctl.apply(&[fault.seed(seed)]);
        let got = ask_all(&site);
        assert_eq!(got.len(), REQUESTS);
        let with_status = |status: u16| -> BTreeSet<usize> {
            got.iter()
                .filter(|(_, s)| **s == status)
                .map(|(n, _)| *n)
                .collect()
        };
        let (answered, passed) = (with_status(503), with_status(200));
        assert_eq!(answered.len() + passed.len(), REQUESTS, "503 or 200 only");
        eventually(SOON, "the server has written all down", || {
            site.web.seen().len() >= passed.len()
        });
        let seen = site.web.seen();
        let numbers: Vec<usize> = seen
            .iter()
            .map(|seen| seen.uri["/n/".len()..].parse().expect("a number"))
            .collect();
        assert_eq!(
            numbers.len(),
            passed.len(),
            "{side}: the server has seen no request twice"
        );
        assert_eq!(
            numbers.into_iter().collect::<BTreeSet<_>>(),
            passed,
            "{side}: the server has seen those that got 200, and no others"
        );
        let view = site.ctl.fault("many");
        let count = |counter| view.packets(counter) as usize;
        assert_eq!(
            (
                count("matched"),
                count("answered"),
                count("passed"),
                count("unseen")
            ),
            (REQUESTS, answered.len(), passed.len(), 0),
            "{side}: {}",
            view.0
        );
        let bounds = binomial_999(REQUESTS as u64, CHANCE);
        assert!(
            bounds.contains(&(answered.len() as u64)),
            "{side}, seed {seed}: {} of {REQUESTS} were answered, not within {bounds:?}",
            answered.len()
        );
        // A connection that is answered is over; the others go on. Each new one but the first fifty follows an answer.
        let connections: BTreeSet<u64> = seen.iter().map(|seen| seen.connection).collect();
        assert!(
            connections.len() <= answered.len() + AT_ONCE,
            "{side}: connections are kept: {} for {} requests",
            connections.len(),
            seen.len()
        );
        println!(
            "{side}, seed {seed}: {} × 503, {} × 200 on {} connections",
            answered.len(),
            passed.len(),
            connections.len()
        );
        site.assert_nothing_hangs();
        site.delete("many");
        site.assert_untouched();
    }
}

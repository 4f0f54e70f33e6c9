//! Many faults at once.

use std::time::{Duration, Instant};

use chaos_tests::{Api, FaultFile, patience};
use serde_json::json;

use crate::bed::Bed;

#[test]
fn a_thousand_faults_come_in_one_request_act_each_on_its_own_and_are_halted_together() {
    let bed = Bed::new();
    let api = Api::of(&bed.daemon);
    let faults: Vec<FaultFile> = (0..1000)
        .map(|n| {
            let traffic = json!({"protocol": "udp", "remote": {"ports": [10_000 + 2 * n]}});
            bed.on_client(&format!("f{n}"), json!({"partition": {}}))
                .traffic(traffic)
        })
        .collect();
    let start = Instant::now();
    let answer = api.apply(&faults);
    let took = start.elapsed();
    assert!((200..300).contains(&answer.status), "{answer:?}");
    assert!(took < patience(Duration::from_secs(1)), "{took:?}");
    assert_eq!(
        bed.ctl.faults().iter().filter(|f| f.phase() == "Active").count(),
        1000
    );
    for n in [0_u16, 1, 499, 998, 999] {
        let port = 10_000 + 2 * n;
        assert!(!bed.reaches(bed.net.server.at(port)), "{port}");
        assert!(bed.reaches(bed.net.server.at(port + 1)), "{port} + 1");
        assert_eq!(bed.ctl.fault(&format!("f{n}")).packets("dropped"), 3);
    }
    let start = Instant::now();
    let answer = api.send("POST", "/v1/halt", "");
    let took = start.elapsed();
    assert!((200..300).contains(&answer.status), "{answer:?}");
    assert!(
        took < patience(Duration::from_millis(100)),
        "halting a thousand: {took:?}"
    );
    assert!(bed.reaches(bed.net.server.at(10_998)));
    bed.assert_untouched();
}

#[test]
fn one_request_is_all_or_nothing() {
    let bed = Bed::new();
    let good = |n: u16| bed.on_client(&format!("good-{n}"), json!({"partition": {}}));
    let bad = FaultFile::new(
        "bad",
        json!({"netns": "/run/netns/chaos-t-not-there"}),
        json!({"partition": {}}),
    );
    let output = bed.ctl.try_apply(&[good(1), bad, good(2)]);
    assert_eq!(output.code, 2, "{output}");
    assert!(output.stderr.contains("chaos-t-not-there"), "{output}");
    assert!(bed.ctl.faults().is_empty());
    bed.assert_untouched();
    assert!(bed.reaches(bed.net.server.at(9000)));
}

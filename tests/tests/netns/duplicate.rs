//! `duplicate`: some arrive twice, bit by bit the same, and a copy is no new packet.

use chaos_tests::{Capture, Way, binomial_999};
use serde_json::json;

use crate::bed::{Bed, SOON};

#[test]
fn a_tenth_arrives_twice_and_no_copy_is_matched_again() {
    let bed = Bed::new();
    const COUNT: u64 = 10_000;
    for leg in bed.ways(9000) {
        let name = leg.name("twice");
        bed.ctl
            .apply(&[bed.on_leg(&leg, &name, json!({"duplicate": {"chance": "10%"}}))]);
        let report = bed.send(leg.to, COUNT);
        assert_eq!(report.unique(), COUNT, "{name}: nothing is lost");
        assert!(
            binomial_999(COUNT, 0.1).contains(&report.duplicates()),
            "{name}: {}",
            report.duplicates()
        );
        assert!(report.flipped.is_empty(), "{name}: bit-identical");
        bed.wait_for_packets(&name, "matched", COUNT);
        bed.wait_for_packets(&name, "duplicated", report.duplicates());
        bed.delete(&name);
    }
    assert_eq!(
        bed.send(bed.net.server.at(9010), 1000).received(),
        1000,
        "after the end"
    );
}

#[test]
fn the_copy_is_the_same_frame_and_a_certain_duplicate_makes_two_of_each() {
    let bed = Bed::new();
    let traffic = json!({"protocol": "udp", "remote": {"ports": [9000]}});
    bed.ctl.apply(&[bed
        .on_client("all", json!({"duplicate": {"chance": "100%"}}))
        .traffic(traffic)]);
    let wire = Capture::start(
        &bed.net.server.device,
        Way::In,
        "udp and (port 9000 or port 9001)",
    );
    assert_eq!(bed.send(bed.net.server.at(9000), 100).received(), 200);
    let frames = wire.wait_for(200);
    assert_eq!(frames.len(), 200);
    for pair in frames.chunks(2) {
        assert_eq!(pair[0].bytes, pair[1].bytes);
    }
    assert_eq!(
        bed.send(bed.net.server.at(9001), 100).received(),
        100,
        "the port beside it"
    );
}

#[test]
fn tcp_does_not_mind() {
    let bed = Bed::new();
    let to = bed.net.server.at(7000);
    bed.server.tcp_serve(to);
    bed.ctl.apply(&[bed
        .on_client("twice", json!({"duplicate": {"chance": "10%"}}))
        .traffic(json!({"protocol": "tcp"}))]);
    let stream = bed.client.tcp_open(None, to, SOON).stream();
    assert_eq!(
        bed.client.tcp_exchange(stream, 4 << 20, SOON * 5).result,
        Ok(0),
        "every byte is right"
    );
    assert!(bed.ctl.fault("twice").packets("duplicated") > 0);
}

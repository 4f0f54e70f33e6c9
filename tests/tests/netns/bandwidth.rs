//! No more than a rate, and others as they were.

use std::time::{Duration, Instant};

use chaos_tests::{Process, Workload, eventually, is_full_run, need, patience, require_program};
use serde_json::{Value, json};

use crate::bed::{Bed, SOON};

/// What iperf3 reports of a run, with these arguments beside the server's address.
fn iperf3(bed: &Bed, arguments: &[&str]) -> Value {
    let server = bed.net.server.v4.to_string();
    let argv = [&["iperf3", "-J", "-c", &server], arguments].concat();
    let done = Process::spawn(&bed.net.client.netns, None, &argv).finish(Duration::from_secs(90));
    let report: Value =
        serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", done.stdout, done.stderr));
    report["end"].clone()
}

fn number(report: &Value, path: &str) -> f64 {
    let number = report.pointer(path).and_then(Value::as_f64);
    number.unwrap_or_else(|| panic!("no {path}: {report}"))
}

fn serve(bed: &Bed, port: u16) -> Process {
    let netns = &bed.net.server.netns;
    Process::spawn(netns, None, &["iperf3", "-s", "-p", &port.to_string()]).listens(netns, port)
}

/// Scenario 12; as long as it says in a full run.
#[test]
fn streams_get_their_rate_without_losses_and_the_neighbour_the_rest() {
    need!(require_program("iperf3"));
    let bed = Bed::new();
    let (_slow, _fast) = (serve(&bed, 5201), serve(&bed, 5202));
    bed.ctl.apply(&[bed
        .on_client("slow", json!({"bandwidth": {"rate": "10mbit", "burst": "32KiB"}}))
        .traffic(json!({"protocol": "tcp", "remote": {"ports": [5201]}}))
        .lasting("5m")]);
    let seconds = if is_full_run() { "60" } else { "8" };
    // Their queue is what TCP Small Queues lets each have out, up to three super-packets: as behind htb or tbf.
    for (streams, longest) in [("1", 300.0), ("8", 1_500.0)] {
        let end = iperf3(
            &bed,
            &[
                "-p", "5201", "-t", seconds, "-O", "2", "-C", "cubic", "-P", streams,
            ],
        );
        let mbit = number(&end, "/sum_received/bits_per_second") / 1e6;
        let again = number(&end, "/sum_sent/retransmits");
        let sent = number(&end, "/sum_sent/bytes") / 1448.0;
        let rtt = number(&end, "/streams/0/sender/mean_rtt") / 1e3;
        let told =
            format!("{streams} streams: {mbit:.2} Mbit/s, {again} of {sent:.0} sent again, {rtt:.0} ms");
        println!("{told}");
        // 10 Mbit/s of frames with 1,448 bytes of payload in 1,514 are 9.56 of payload.
        assert!((9.3..10.0).contains(&mbit), "{told}");
        assert!(again / sent < 0.001, "{told}");
        assert!(rtt < longest, "{told}");
    }
    let end = iperf3(&bed, &["-p", "5202", "-t", "2", "-C", "cubic"]);
    let mbit = number(&end, "/sum_received/bits_per_second") / 1e6;
    assert!(mbit > 500.0, "the neighbour: {mbit} Mbit/s");
    let view = bed.delete("slow");
    assert!(view.packets("throttled") > 10_000);
    assert_eq!(view.packets("dropped"), 0);
}

/// As with a queue of the device's own: the socket's buffer fills, and the sender waits.
#[test]
fn a_sender_that_is_ten_times_too_fast_waits() {
    need!(require_program("iperf3"));
    let bed = Bed::new();
    let _server = serve(&bed, 5201);
    bed.ctl.apply(&[bed
        .on_client("slow", json!({"bandwidth": {"rate": "10mbit", "burst": "32KiB"}}))
        .traffic(json!({"protocol": "udp"}))]);
    let end = iperf3(&bed, &["-u", "-b", "100M", "-l", "1400", "-t", "5"]);
    let sent = number(&end, "/sum_sent/bits_per_second") / 1e6;
    let lost = number(&end, "/sum/lost_percent");
    println!("sent {sent:.2} Mbit/s, lost {lost:.2} %");
    // 1,400 of 1,442 bytes are payload, and at first the buffer takes some.
    assert!(
        (9.3..11.0).contains(&sent) && lost < 1.0,
        "sent {sent} Mbit/s, lost {lost} %"
    );
    let view = bed.delete("slow");
    assert_eq!(view.packets("dropped"), 0);
}

#[test]
fn its_end_lets_a_waiting_sender_go_on_at_once() {
    const COUNT: u64 = 1_000;
    let bed = Bed::new();
    let to = bed.net.server.at(9000);
    let sink = bed.server.udp_sink(to);
    bed.ctl
        .apply(&[bed.on_client("slow", json!({"bandwidth": {"rate": "100kbit"}}))]);
    // At this rate they take a minute and a half, and a socket's buffer holds a hundred.
    let client = Workload::start(&bed.net.client.netns, None);
    let sending = std::thread::spawn(move || client.udp_send_from(None, to, 0, COUNT, 1_000));
    let received = || bed.server.sink_report(sink).received();
    eventually(SOON, "some arrive", || received() > 10);
    assert!(received() < COUNT / 2);
    bed.ctl.delete("slow");
    eventually(SOON, "all arrive", || received() == COUNT);
    let sent = sending.join().expect("the helper answers");
    assert_eq!((sent.accepted, sent.errors.len()), (COUNT, 0), "{sent:?}");
    assert!(bed.server.sink_report(sink).in_order());
}

#[test]
fn beyond_its_budget_it_holds_nobody_back() {
    let bed = Bed::new();
    const BUDGET: u64 = 50;
    bed.ctl.apply(&[bed
        .on_client("slow", json!({"bandwidth": {"rate": "100kbit", "burst": "2KiB"}}))
        .traffic(json!({"protocol": "udp", "remote": {"ports": [9000]}}))
        .max_packets(BUDGET)]);
    let to = bed.net.server.at(9000);
    let sink = bed.server.udp_sink(to);
    let sent = bed.client.udp_send(to, 200);
    assert_eq!((sent.accepted, sent.errors.len()), (200, 0), "{sent:?}");
    // 106 bytes a packet at 100 kbit/s: 8.5 ms for each of the fifty, and then the rest at once.
    eventually(SOON, "all arrive", || {
        bed.server.sink_report(sink).received() == 200
    });
    let view = bed.ctl.fault("slow");
    assert_eq!((view.packets("throttled"), view.packets("dropped")), (BUDGET, 0));
    // It would take two seconds at the rate.
    let start = Instant::now();
    bed.client.udp_send(to, 200);
    eventually(SOON, "more arrive", || {
        bed.server.sink_report(sink).received() == 400
    });
    assert!(
        start.elapsed() < patience(Duration::from_millis(500)),
        "{:?}",
        start.elapsed()
    );
    let view = bed.ctl.wait_for_phase("slow", "Ended");
    assert_eq!((view.reason(), view.packets("throttled")), ("Budget", BUDGET));
}

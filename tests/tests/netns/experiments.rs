//! Experiments on a real web server: every outcome, and its exit code.

use std::time::Duration;

use chaos_tests::{Workload, eventually, need, patience, require_program};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::bed::SOON;
use crate::clock::WallClock;
use crate::health_kinds::prometheus;
use crate::policy::PolicyFile;
use crate::shop::{Shop, assert_exit};

const WELL: &str = "{success: \">= 99%\"}";

#[test]
fn what_holds_exits_with_0_and_leaves_a_report_in_every_form() {
    need!(require_program("nginx"));
    let shop = Shop::new();
    let ramp = "{fault: fault, ramp: [{flows: 50%, for: 500ms}, {flows: 100%, for: 1s}]}";
    let file = shop.file(
        "{delay: {latency: 20ms}}",
        ramp,
        WELL,
        "abort: {after: 3 failures}",
    );
    let (code, report) = shop.run(&file);
    assert_eq!(code, 0, "{report}");
    let status = &report["status"];
    assert_eq!(status["outcome"], "Held");
    let probe = &status["probes"][0];
    assert!(probe["during"]["samples"].as_u64() > Some(30), "{probe}");
    // Most connections were late by two round trips' worth of one direction: it is the fault that was seen.
    assert!(probe["during"]["p95Ms"].as_f64() >= Some(40.0), "{probe}");
    assert!(probe["baseline"]["p95Ms"].as_f64() < Some(40.0), "{probe}");
    let fault = &status["faults"][0];
    assert!(fault["packets"]["delayed"].as_u64() > Some(50), "{fault}");
    assert_eq!(fault["gone"], true);
    assert!(status["recovery"]["tookMs"].as_f64().is_some(), "{status}");
    let read = |name: &str| {
        std::fs::read_to_string(shop.folder.path().join("report").join(name)).expect("it is there")
    };
    assert!(read("report.html").contains("<svg"));
    assert!(
        read("report.md").contains("| shop | 100.0 % |"),
        "{}",
        read("report.md")
    );
    assert!(
        read("junit.xml").contains("failures=\"0\""),
        "{}",
        read("junit.xml")
    );
    let again = shop.ctl.ok(&["report", "show", "shop", "--as", "json"]);
    let again: Value = serde_json::from_str(&again.stdout).expect("it is JSON");
    assert_eq!(again["id"], report["id"]);
    assert!(shop.ctl.ok(&["get", "experiments"]).stdout.contains("Held"));
    shop.assert_untouched();
}

#[test]
fn what_does_not_hold_exits_with_10() {
    need!(require_program("nginx"));
    let shop = Shop::new();
    let step = "{fault: fault, for: 1s, flows: 100%}";
    let file = shop.file(
        "{delay: {latency: 60ms}}",
        step,
        "{p95: \"<= 50ms\"}",
        "recovery: {within: 5s}",
    );
    let (code, report) = shop.run(&file);
    assert_eq!(code, 10, "{report}");
    let deviation = report["status"]["probes"][0]["deviation"]
        .as_str()
        .unwrap_or_default();
    assert!(
        deviation.contains("p95") && deviation.contains("expected <= 50ms"),
        "{deviation}"
    );
    shop.assert_untouched();
}

#[test]
fn three_failures_abort_and_traffic_is_whole_within_100_milliseconds() {
    need!(require_program("nginx"));
    let shop = Shop::new();
    let step = "{fault: fault, for: 20s, flows: 100%}";
    let file = shop.file(
        "{reject: {with: reset}}",
        step,
        WELL,
        "abort: {after: 3 failures}",
    );
    let (code, report) = shop.run(&file);
    assert_eq!(code, 11, "{report}");
    let abort = &report["status"]["abort"];
    assert_eq!(abort["probe"], "shop");
    let restored = abort["restoredMs"].as_f64().expect("it was restored");
    assert!(
        restored <= patience(Duration::from_millis(100)).as_secs_f64() * 1000.0,
        "{abort}"
    );
    shop.assert_untouched();
}

#[test]
fn what_is_not_well_before_exits_with_12_and_nothing_is_done() {
    need!(require_program("nginx"));
    let shop = Shop::new();
    std::fs::write(shop.web.file("500"), "").expect("writes");
    let step = "{fault: fault, for: 1s, flows: 100%}";
    let (code, report) = shop.run(&shop.file("{partition: {}}", step, WELL, "abort: {after: 3 failures}"));
    assert_eq!(code, 12, "{report}");
    assert!(shop.ctl.faults().is_empty());
    shop.assert_untouched();
}

#[test]
fn what_policy_forbids_exits_with_14_before_anything_is_asked() {
    need!(require_program("nginx"));
    let policy = PolicyFile::new("limits: {duration: 5s}\n");
    let path = policy.path().display().to_string();
    let shop = Shop::with_args(&["--policy", &path]);
    let step = "{fault: fault, for: 1m, flows: 100%}";
    let (code, report) = shop.run(&shop.file("{partition: {}}", step, WELL, "abort: {after: 3 failures}"));
    assert_eq!(code, 14, "{report}");
    assert!(
        report["status"]["message"]
            .as_str()
            .is_some_and(|why| why.contains("policy.yaml:")),
        "{report}"
    );
    assert!(shop.ctl.faults().is_empty());
}

#[test]
fn what_does_not_come_back_exits_with_15() {
    need!(require_program("nginx"));
    let shop = Shop::new();
    let step = "{fault: fault, for: 2s, flows: 100%}";
    let file = shop.file("{delay: {latency: 20ms}}", step, WELL, "recovery: {within: 1s}");
    // The shop breaks while the fault acts, by itself.
    let running = shop.acting(&file);
    std::fs::write(shop.web.file("500"), "").expect("writes");
    assert_exit(running, 15, "");
    shop.assert_untouched();
}

#[test]
fn control_c_rolls_back_and_exits_with_130() {
    need!(require_program("nginx"));
    let shop = Shop::new();
    let file = shop.file(
        "{partition: {}}",
        "{fault: fault, for: 1m, flows: 100%}",
        WELL,
        "recovery: {within: 5s}",
    );
    let running = shop.acting(&file);
    running.signal(Signal::SIGINT);
    assert_exit(running, 130, "");
    shop.assert_untouched();
}

#[test]
fn an_experiment_outlives_its_terminal_and_not_its_daemon() {
    need!(require_program("nginx"));
    let mut shop = Shop::new();
    let file = shop.file(
        "{drop: {chance: 1%}}",
        "{fault: fault, for: 1m, flows: 100%}",
        "{success: \">= 1%\"}",
        "recovery: {within: 5s}",
    );
    let running = shop.acting(&file);
    running.signal(Signal::SIGKILL);
    drop(running);
    assert_eq!(shop.ctl.fault("shop-fault").phase(), "Active");
    shop.daemon.sigkill();
    shop.daemon.start_again();
    let told = shop.ctl.ok(&["get", "experiments", "shop", "-o", "json"]);
    let told: Value = serde_json::from_str(&told.stdout).expect("it is JSON");
    assert_eq!(told["status"]["outcome"], "Interrupted", "{told}");
    assert!(
        told["status"]["message"]
            .as_str()
            .is_some_and(|why| why.contains("the daemon died")),
        "{told}"
    );
    assert!(shop.ctl.faults().is_empty(), "nothing is begun again");
    shop.assert_untouched();
}

#[test]
fn a_halt_ends_it_and_a_second_one_of_the_name_is_refused() {
    need!(require_program("nginx"));
    let shop = Shop::new();
    let file = shop.file(
        "{drop: {chance: 1%}}",
        "{fault: fault, for: 1m, flows: 100%}",
        "{success: \">= 1%\"}",
        "recovery: {within: 5s}",
    );
    let running = shop.acting(&file);
    let told = shop.ctl.ok(&["status"]).stdout;
    assert!(told.contains("shop: injecting, begun "), "{told}");
    let again = shop.ctl.run(&["run", &file.display().to_string()]);
    assert!(
        again.code != 0 && again.stderr.contains("is under way already"),
        "{again}"
    );
    shop.ctl.ok(&["halt", "--reason", "lunch"]);
    assert_exit(running, 11, "");
    shop.ctl.ok(&["halt", "--release"]);
    shop.assert_untouched();
}

/// What lies never holds: an error, cut off, a wrong body, slow, by turns.
#[test]
fn a_service_that_lies_never_makes_a_hypothesis_hold() {
    need!(require_program("nginx"));
    for lie in ["500", "cut", "wrong", "slow", "flapping"] {
        let shop = Shop::new();
        let expect = "{success: \">= 99%\", body: all is well}";
        let file = shop.file(
            "{delay: {latency: 1ms}}",
            "{fault: fault, for: 1s, flows: 100%}",
            expect,
            "recovery: {within: 2s}",
        );
        let running = shop.acting(&file);
        let file = shop.web.file(if lie == "flapping" { "500" } else { lie });
        std::fs::write(&file, "").expect("writes");
        eventually(SOON, "the fault has ended", || {
            if lie == "flapping" && std::fs::remove_file(&file).is_err() {
                std::fs::write(&file, "").expect("writes");
            }
            shop.ctl.faults().iter().all(|fault| fault.phase() == "Ended")
        });
        // It may have been well the last time.
        let _ = std::fs::remove_file(&file);
        assert_exit(running, 10, lie);
    }
}

#[test]
fn what_is_wrong_in_a_file_is_told_with_its_line_and_nothing_is_begun() {
    let shop = Shop::new();
    let file = shop.file(
        "{partition: {}}",
        "{fault: fualt, for: 1s}",
        "{p95: \"<= 50\"}",
        "abort: {after: soon}",
    );
    let output = shop.ctl.run(&["run", &file.display().to_string()]);
    assert_eq!(output.code, 2, "{output}");
    for told in ["run.yaml:7:", "run.yaml:10:"] {
        assert!(output.stderr.contains(told), "{told}: {output}");
    }
    assert!(
        shop.ctl
            .ok(&["get", "experiments", "-o", "name"])
            .stdout
            .is_empty()
    );
}

/// The real Prometheus, with an alerting rule.
#[test]
fn a_query_is_a_probe_and_an_alert_that_fires_aborts() {
    need!(require_program("nginx"));
    need!(require_program("prometheus"));
    let shop = Shop::with_daemon_at_the_client();
    shop.web.errors(1);
    let target = shop.net.server.at(8080).to_string();
    let _prometheus = prometheus(&shop.net.client.netns, &shop.web, &[&target]);
    let url = "http://127.0.0.1:9090";
    let file = |more: &str| {
        let step = "{fault: fault, for: 1m, flows: 100%}";
        let file = shop.file("{delay: {latency: 5ms}}", step, WELL, more);
        let text = std::fs::read_to_string(&file).expect("it is there");
        let query = format!(
            "  steadyState:\n    - {{name: errors, prometheus: {{url: \"{url}\", query: max(shop_errors)}}, every: 100ms, expect: \"<= 5\"}}\n"
        );
        std::fs::write(&file, text.replace("  steadyState:\n", &query)).expect("writes");
        file
    };
    let alert = format!("abort: {{alerts: [{{prometheus: \"{url}\", name: ShopErrors, every: 200ms}}]}}");
    let alerting = file(&alert);
    // Not well before its first scrape.
    let mut running = shop.start(&alerting);
    eventually(
        Duration::from_secs(30),
        "Prometheus has scraped, and the fault acts",
        || {
            if running.ended().is_some() {
                running = shop.start(&alerting);
            }
            shop.ctl.faults().iter().any(|fault| fault.phase() == "Active")
        },
    );
    // Until it has been rolled back, whatever the reason.
    let until_aborted = || {
        shop.web.errors(9);
        eventually(Duration::from_secs(20), "the fault has ended", || {
            shop.ctl.faults().iter().all(|fault| fault.phase() == "Ended")
        });
    };
    until_aborted();
    shop.web.errors(1);
    assert_exit(running, 11, "the alert fires");
    let told = shop.ctl.ok(&["get", "experiments", "shop", "-o", "json"]).stdout;
    let told: Value = serde_json::from_str(&told).expect("it is JSON");
    let why = told["status"]["abort"]["why"].as_str().unwrap_or_default();
    assert!(why.contains("ShopErrors"), "{told}");
    shop.assert_untouched();

    // Without an alert, the number itself is what is looked at.
    let running = shop.acting(&file("abort: {within: 2s}"));
    until_aborted();
    shop.web.errors(1);
    assert_exit(running, 11, "the number was too high for two seconds");
    shop.assert_untouched();
}

/// The fault decides by the seed of the experiment and the number of the packet, and by nothing else.
#[test]
fn the_same_seed_hits_the_same_packets() {
    const COUNT: u64 = 400;
    need!(require_program("nginx"));
    let shop = Shop::new();
    let sender = Workload::start(&shop.net.client.netns, None);
    let receiver = Workload::start(&shop.net.server.netns, None);
    let to = shop.net.server.at(7000);
    let sink = receiver.udp_sink(to);
    let lost = |seed: u64| {
        let step = "{fault: fault, for: 1m, flows: 100%}";
        let file = shop.file("{drop: {chance: 50%}}", step, WELL, &format!("seed: {seed}"));
        let text = std::fs::read_to_string(&file).expect("it is there");
        let udp = text.replace(
            "{protocol: tcp, remote: {ports: [8080]}}",
            "{protocol: udp, remote: {ports: [7000]}}",
        );
        std::fs::write(&file, udp).expect("writes");
        let running = shop.acting(&file);
        let before = receiver.sink_report(sink).sequences.len();
        let arrived = || receiver.sink_report(sink).sequences.split_off(before);
        assert_eq!(sender.udp_send(to, COUNT).accepted, COUNT);
        let dropped = || {
            let faults = shop.ctl.faults();
            let acting = faults.iter().find(|fault| fault.phase() == "Active");
            acting.map_or(0, |fault| fault.packets("dropped"))
        };
        eventually(SOON, "all have arrived or are counted", || {
            arrived().len() as u64 + dropped() == COUNT
        });
        let arrived = arrived();
        let lost: Vec<u64> = (0..COUNT).filter(|number| !arrived.contains(number)).collect();
        running.signal(Signal::SIGINT);
        assert_exit(running, 130, "");
        lost
    };
    let (first, again, other) = (lost(7), lost(7), lost(8));
    assert!((150..=250).contains(&first.len()), "{}", first.len());
    assert_eq!(first, again);
    assert_ne!(first, other);
    shop.assert_untouched();
}

/// Nothing of an experiment is measured by the wall clock.
#[test]
fn a_wall_clock_that_jumps_changes_no_verdict() {
    need!(require_program("nginx"));
    let clock = need!(WallClock::new());
    let shop = Shop::with_daemon(|_| clock.daemon());
    let step = "{fault: fault, for: 1s, flows: 100%}";
    let file = shop.file("{delay: {latency: 5ms}}", step, WELL, "recovery: {within: 5s}");
    for (seconds, ill, code) in [(-3600, false, 0), (3600, false, 0), (-7200, true, 10)] {
        clock.step(0);
        let running = shop.acting(&file);
        clock.step(seconds);
        if ill {
            std::fs::write(shop.web.file("500"), "").expect("writes");
            eventually(SOON, "the fault has ended", || {
                shop.ctl.faults().iter().all(|fault| fault.phase() == "Ended")
            });
            std::fs::remove_file(shop.web.file("500")).expect("it was there");
        }
        assert_exit(running, code, &format!("{seconds} s"));
        let told = shop.ctl.ok(&["get", "experiments", "shop", "-o", "json"]).stdout;
        let told: Value = serde_json::from_str(&told).expect("it is JSON");
        let took = told["status"]["recovery"]["tookMs"]
            .as_f64()
            .expect("it recovered");
        assert!((0.0..5000.0).contains(&took), "{told}");
        for point in told["status"]["probes"][0]["series"].as_array().expect("samples") {
            let (at, took) = (point["atMs"].as_f64(), point["tookMs"].as_f64());
            assert!(
                at >= Some(0.0) && at < Some(60_000.0) && took < Some(5000.0),
                "{point}"
            );
        }
    }
}

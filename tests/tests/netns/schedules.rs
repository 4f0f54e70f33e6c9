//! Experiments that begin by themselves.

use std::time::Duration;

use chaos_tests::{eventually, need, require_program};
use serde_json::Value;

use crate::shop::Shop;

/// A schedule in front of the experiment of the shop: every second, so that nobody waits. It takes longer than that.
fn every_second(shop: &Shop, more: &str) -> String {
    let run = shop.file(
        "{delay: {latency: 5ms}}",
        "{fault: fault, for: 1200ms, flows: 100%}",
        "{success: \">= 99%\"}",
        "recovery: {within: 5s}",
    );
    let run = std::fs::read_to_string(run).expect("it is there");
    let file = shop.folder.path().join("schedule.yaml");
    let text = format!(
        "apiVersion: chaos-daemon.dev/v1alpha1\n\
         kind: Schedule\n\
         metadata: {{name: often}}\n\
         spec: {{cron: \"* * * * * *\"{more}}}\n\
         ---\n{run}"
    );
    std::fs::write(&file, text).expect("writes");
    file.display().to_string()
}

fn status(shop: &Shop) -> Value {
    let told = shop.ctl.ok(&["get", "schedules", "often", "-o", "json"]).stdout;
    let view: Value = serde_json::from_str(&told).expect("it is JSON");
    view["status"].clone()
}

#[test]
fn a_schedule_begins_experiments_also_after_a_restart_until_it_is_removed() {
    need!(require_program("nginx"));
    let mut shop = Shop::new();
    let file = every_second(&shop, "");
    let added = shop.ctl.ok(&["schedule", "add", &file]);
    assert!(added.stdout.contains("often"), "{added}");
    let begun = |shop: &Shop| status(shop)["begun"].as_u64().unwrap_or_default();
    eventually(Duration::from_secs(20), "two have begun", || begun(&shop) >= 2);
    // While one is under way, the next does not begin.
    eventually(Duration::from_secs(20), "one was skipped", || {
        status(&shop)["skipped"].as_u64() >= Some(1)
    });
    shop.daemon.sigkill();
    let before = begun_on_disk(&shop);
    shop.daemon.start_again();
    eventually(Duration::from_secs(20), "another has begun", || {
        begun(&shop) > before
    });
    let listed = shop.ctl.ok(&["get", "schedules"]);
    assert!(
        listed.stdout.contains("NAME") && listed.stdout.contains("* * * * * *"),
        "{listed}"
    );
    shop.ctl.ok(&["schedule", "remove", "often"]);
    let again = shop.ctl.run(&["schedule", "remove", "often"]);
    assert_eq!(again.code, 2, "{again}");
    let runs = || shop.ctl.ok(&["get", "experiments", "-o", "json"]).stdout;
    eventually(Duration::from_secs(20), "the last is over", || {
        let told: Value = serde_json::from_str(&runs()).expect("it is JSON");
        let items = told["items"].as_array().expect("a list").clone();
        items.iter().all(|view| view["status"]["outcome"].is_string())
    });
    let held = runs().matches("\"Held\"").count();
    assert!(held >= 2, "{}", runs());
    shop.assert_untouched();
}

/// As the state directory has it.
fn begun_on_disk(shop: &Shop) -> u64 {
    let file = shop.daemon.state_dir().join("schedules/often.json");
    let text = std::fs::read_to_string(file).expect("it is there");
    let kept: Value = serde_json::from_str(&text).expect("it is JSON");
    kept["status"]["begun"].as_u64().expect("a number")
}

#[test]
fn in_a_blackout_nothing_begins_and_what_is_written_wrong_is_not_kept() {
    need!(require_program("nginx"));
    let shop = Shop::new();
    let blackout =
        ", blackouts: [{begins: \"2026-01-01T00:00:00Z\", ends: \"2096-01-01T00:00:00Z\", why: freeze}]";
    let file = every_second(&shop, blackout);
    shop.ctl.ok(&["schedule", "add", &file]);
    eventually(Duration::from_secs(20), "some were skipped", || {
        status(&shop)["skipped"].as_u64() >= Some(2)
    });
    let status = status(&shop);
    assert_eq!(status["begun"], 0, "{status}");
    let why = status["lastMessage"].as_str().expect("it is told");
    assert!(why.contains("(freeze)"), "{status}");
    assert!(shop.ctl.faults().is_empty());
    let next = shop.ctl.ok(&["schedule", "next", &file]);
    assert!(
        next.stdout.contains("does not begin: nothing begins in"),
        "{next}"
    );
    let file = every_second(&shop, ", jitter: soon, timeZone: Europe/Bonn");
    let output = shop.ctl.run(&["schedule", "add", &file]);
    assert_eq!(output.code, 2, "{output}");
    for told in ["schedule.yaml:4:", "spec.jitter", "spec.timeZone"] {
        assert!(output.stderr.contains(told), "{told}: {output}");
    }
}

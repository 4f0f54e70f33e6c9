//! What ran, kept over restarts.

use chaos_tests::{Chaosctl, eventually_some};
use serde_json::{Value, json};

use crate::bed::{Bed, SOON};

fn history(ctl: &Chaosctl, args: &[&str]) -> Vec<Value> {
    let output = ctl.ok(&[&["get", "history", "-o", "json"], args].concat());
    let value: Value = serde_json::from_str(&output.stdout).expect("it is JSON");
    value["items"].as_array().expect("a list").clone()
}

/// What happened to a run, in order.
fn kinds(run: &Value) -> Vec<&str> {
    let transitions = run["transitions"].as_array();
    let kinds = transitions
        .into_iter()
        .flatten()
        .map(|transition| &transition["kind"]);
    kinds.map(|kind| kind.as_str().unwrap_or_default()).collect()
}

#[test]
fn runs_are_kept_with_their_counters_and_a_killed_daemon_starts_none_again() {
    let mut bed = Bed::new();
    // Not what the kernel says on a new link of its own accord.
    let drop = |name: &str| {
        bed.on_client(name, json!({"drop": {"chance": "100%"}}))
            .traffic(json!({"protocol": "udp"}))
    };
    let faults = [drop("first"), drop("second")];
    bed.ctl.apply(&faults[..1]);
    assert!(!bed.reaches(bed.net.server.at(9000)));
    bed.delete("first");
    let kept = eventually_some(SOON, "the end is taken down", || {
        history(&bed.ctl, &["first"])
            .pop()
            .filter(|run| run["phase"] == "Ended" && kinds(run).contains(&"FaultEnded"))
    });
    assert_eq!(
        (&kept["reason"], &kept["seed"]),
        (&json!("Deleted"), &json!(1)),
        "{kept}"
    );
    assert_eq!(kept["packets"]["dropped"], 3, "{kept}");
    assert!(
        kept["by"].as_str().is_some_and(|by| by.contains("uid 0")),
        "{kept}"
    );
    assert_eq!(kinds(&kept), ["FaultActive", "FaultEnded"], "{kept}");

    bed.ctl.apply(&faults[1..]);
    eventually_some(SOON, "the beginning is taken down", || {
        history(&bed.ctl, &["second"]).pop()
    });
    bed.daemon.sigkill();
    bed.daemon.start_again();
    let runs = history(&bed.ctl, &[]);
    let phases: Vec<_> = runs.iter().map(|run| (&run["name"], &run["phase"])).collect();
    let wanted = [
        (&json!("second"), &json!("Interrupted")),
        (&json!("first"), &json!("Ended")),
    ];
    assert_eq!(phases, wanted);
    assert!(bed.ctl.faults().is_empty(), "none is started again");
    assert!(bed.reaches(bed.net.server.at(9000)));
    assert_eq!(history(&bed.ctl, &["--limit", "1"]).len(), 1);
    assert_eq!(history(&bed.ctl, &["--since", "1h"]).len(), 2);
}

#[test]
fn a_damaged_database_is_set_aside_and_keeps_nobody_from_ending_faults() {
    let mut bed = Bed::new();
    assert!(bed.daemon.stop().success());
    let file = bed.daemon.state_dir().join("history.db");
    for damage in [
        b"no database".repeat(2000),
        Vec::from(&b"SQLite format 3\0garbage"[..]),
    ] {
        std::fs::write(&file, damage).expect("it can be written");
        let _ = std::fs::remove_file(file.with_extension("db-wal"));
        bed.daemon.start_again();
        bed.ctl.apply(&[bed.on_client("cut", json!({"partition": {}}))]);
        assert!(!bed.reaches(bed.net.server.at(9000)));
        bed.delete("cut");
        eventually_some(SOON, "a new one has it", || history(&bed.ctl, &["cut"]).pop());
        assert!(bed.daemon.log().contains("set aside"), "{}", bed.daemon.log());
        assert!(bed.daemon.stop().success());
    }
    let aside = std::fs::read_dir(bed.daemon.state_dir())
        .expect("it can be read")
        .flatten()
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with("history.db.damaged-")
        })
        .count();
    assert!(aside >= 1, "the damaged one is kept");
    bed.daemon.start_again();
}

//! Who may do what on the socket.

use std::time::Duration;

use chaos_tests::{Daemon, FaultFile, Pair, eventually};
use serde_json::json;

use crate::people::{OPERATOR, People, STRANGER, VIEWER, refusals, roles};
use crate::policy::PolicyFile;

#[test]
fn each_role_may_do_its_part_and_every_refusal_names_the_rule_and_is_taken_down() {
    let net = Pair::new();
    let policy = PolicyFile::new(&roles());
    let path = policy.path();
    let daemon = Daemon::builder()
        .args(&["--policy", path.to_str().expect("it is text")])
        .start();
    let people = People::of(&daemon);
    let fault = FaultFile::on_netns("one", &net.client.netns, json!({"drop": {"chance": "10%"}}));

    let seen = people.run(STRANGER, &["get", "faults"]);
    assert_eq!(seen.code, 14, "{seen}");
    assert!(
        seen.stderr.contains("viewer") && seen.stderr.contains("policy.yaml:3"),
        "it names the rule: {seen}"
    );
    let refused = refusals(&daemon);
    let record = refused.last().expect("it is taken down");
    assert_eq!(record["who"]["uid"], STRANGER, "{record}");
    assert_eq!(record["rule"], "role", "{record}");
    let exe = record["who"]["exe"].as_str().unwrap_or_default();
    assert!(exe.ends_with("/chaosctl"), "{record}");

    assert_eq!(people.run(VIEWER, &["get", "faults"]).code, 0);
    assert_eq!(people.apply(VIEWER, &fault).code, 14);
    let applied = people.apply(OPERATOR, &fault);
    assert_eq!(applied.code, 0, "{applied}");
    assert_eq!(people.run(VIEWER, &["delete", "--yes", "one"]).code, 14);
    assert_eq!(daemon.ctl().fault("one").phase(), "Active");
    assert_eq!(people.run(STRANGER, &["halt"]).code, 14);

    let halted = people.run(VIEWER, &["halt"]);
    assert_eq!(halted.code, 0, "anybody who may look may halt: {halted}");
    assert_eq!(daemon.ctl().fault("one").reason(), "Halt");
    assert_eq!(people.run(OPERATOR, &["halt", "--release"]).code, 14);
    daemon.ctl().ok(&["halt", "--release"]);
    let by: Vec<_> = refusals(&daemon)
        .iter()
        .map(|record| record["who"]["uid"].as_u64().unwrap_or_default())
        .collect();
    let wanted = [STRANGER, VIEWER, VIEWER, STRANGER, OPERATOR].map(u64::from);
    assert_eq!(by, wanted);
}

#[test]
fn without_roles_the_socket_is_closed_to_others() {
    let daemon = Daemon::start();
    let people = People::of(&daemon);
    let closed = people.run(STRANGER, &["get", "faults"]);
    assert_eq!(closed.code, 20, "{closed}");
    assert!(closed.stderr.contains("permission denied"), "{closed}");
    assert_eq!(people.run(0, &["get", "faults"]).code, 0);
}

#[test]
fn strangers_cannot_keep_others_out() {
    let policy = PolicyFile::new(&roles());
    let path = policy.path();
    let daemon = Daemon::builder()
        .args(&["--policy", path.to_str().expect("it is text")])
        .start();
    let people = People::of(&daemon);
    // More than the seats that callers without a role have.
    let mut idle: Vec<_> = (0..40).map(|_| people.idle(STRANGER)).collect();
    eventually(
        Duration::from_secs(5),
        "strangers have taken all of their seats",
        || {
            let ran = people.run(STRANGER, &["get", "faults"]);
            ran.stderr.contains("too many connections")
        },
    );
    assert_eq!(people.run(VIEWER, &["halt"]).code, 0, "others get in");
    for process in &mut idle {
        process.kill().expect("it runs");
        process.wait().expect("it is ours");
    }
}

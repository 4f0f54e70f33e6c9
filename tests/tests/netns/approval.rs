//! Plans that need a second person.

use chaos_tests::{Daemon, FaultFile, Pair};
use serde_json::{Value, json};

use crate::people::{APPROVER, OPERATOR, People, audit, refusals, roles};
use crate::policy::PolicyFile;

fn hash(text: &str) -> &str {
    text.split(|letter: char| !letter.is_ascii_hexdigit())
        .find(|word| word.len() == 64)
        .unwrap_or_else(|| panic!("there is no hash in: {text}"))
}

#[test]
fn a_severe_plan_needs_somebody_else_and_a_changed_one_needs_it_again() {
    let net = Pair::new();
    let policy = PolicyFile::new(&format!("{}approval:\n  above: medium\n  expires: 1h\n", roles()));
    let path = policy.path();
    let mut daemon = Daemon::builder()
        .args(&["--policy", path.to_str().expect("it is text")])
        .start();
    let people = People::of(&daemon);
    let mild = FaultFile::on_netns("mild", &net.client.netns, json!({"drop": {"chance": "10%"}}));
    let applied = people.apply(OPERATOR, &mild);
    assert_eq!(applied.code, 0, "what is not severe needs nobody: {applied}");

    let cut = FaultFile::on_netns("cut", &net.client.netns, json!({"partition": {}})).seed(1);
    let refused = people.apply(OPERATOR, &cut);
    assert_eq!(refused.code, 14, "{refused}");
    assert!(
        refused.stderr.contains("approval.above") && refused.stderr.contains("chaosctl approve"),
        "{refused}"
    );
    let plan = hash(&refused.stderr).to_owned();
    assert_eq!(
        people.run(OPERATOR, &["approve", &plan]).code,
        14,
        "an operator is no approver"
    );
    let waiting = people.run(APPROVER, &["approve", "-o", "json"]);
    let waiting: Value = serde_json::from_str(&waiting.stdout).expect("it is JSON");
    assert_eq!(waiting["items"][0]["plan"], plan.as_str(), "{waiting}");
    assert_eq!(waiting["items"][0]["severity"], "high", "{waiting}");

    let own = people.apply(APPROVER, &cut);
    assert_eq!(own.code, 14, "an approver needs another one, too: {own}");
    let approved = people.run(APPROVER, &["approve", &plan[..12]]);
    assert_eq!(approved.code, 0, "{approved}");
    let own = people.apply(APPROVER, &cut);
    assert_eq!(own.code, 14, "not over one's own approval: {own}");
    assert!(own.stderr.contains("yourself"), "{own}");

    assert!(daemon.stop().success());
    daemon.start_again();
    let applied = people.apply(OPERATOR, &cut);
    assert_eq!(applied.code, 0, "also after a restart: {applied}");
    let longer = people.apply(OPERATOR, &cut.clone().lasting("59m"));
    assert_eq!(longer.code, 14, "a changed plan is another one: {longer}");
    assert_ne!(hash(&longer.stderr), plan);

    let records = audit(&daemon);
    let approval = records
        .iter()
        .find(|record| record["kind"] == "approved")
        .expect("it is taken down");
    assert_eq!(
        (&approval["plan"], &approval["who"]["uid"]),
        (&json!(plan), &json!(APPROVER))
    );
    let rules: Vec<_> = refusals(&daemon)
        .iter()
        .map(|record| record["rule"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(rules, ["approval", "role", "approval", "approval", "approval"]);
}

#[test]
fn nobody_approves_what_they_asked_for_and_an_approval_expires() {
    let net = Pair::new();
    let policy = PolicyFile::new(&format!("{}approval:\n  above: low\n  expires: 1ms\n", roles()));
    let path = policy.path();
    let daemon = Daemon::builder()
        .args(&["--policy", path.to_str().expect("it is text")])
        .start();
    let people = People::of(&daemon);
    let cut = FaultFile::on_netns("cut", &net.client.netns, json!({"partition": {}}));
    let refused = people.apply(APPROVER, &cut);
    let plan = hash(&refused.stderr).to_owned();
    let own = people.run(APPROVER, &["approve", &plan]);
    assert_eq!(own.code, 14, "{own}");
    assert!(own.stderr.contains("yourself"), "{own}");
    let other = daemon.ctl().run(&["approve", &plan]);
    assert_eq!(other.code, 0, "{other}");
    let late = people.apply(APPROVER, &cut);
    assert_eq!(late.code, 14, "{late}");
    assert!(late.stderr.contains("expired"), "{late}");
}

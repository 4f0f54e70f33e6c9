//! `policy.yaml`: what is read, and what is refused with its line.

use chaos_spec::policy::{Account, LocatedPolicy, Role, Severity};
use chaos_spec::{FaultKind, SpecPath};

const WHOLE: &str = r#"apiVersion: chaos-daemon.dev/v1alpha1
kind: Policy
limits:
  faults: 10
  faultsPerNetns: 4
  targets: 5
  duration: 10m
  flowShare: 50%
  flows: 1000
  packets: 1000000
  chance: {drop: 30%, partition: 0%}
  delay: 2s
  leastRate: 1mbit
deny:
  targets: [host, interface]
  cgroups: [/system.slice/sshd.service]
  netns: [host, /run/netns/bank]
  cidrs: [10.1.0.0/16]
  ports: [5432, 6000-6010]
allow:
  faults: [drop, delay]
windows:
  - {days: [mon-fri], from: "09:00", to: "17:00", timeZone: Europe/Berlin}
roles:
  viewer: {groups: [chaos]}
  operator: {users: [alice, 1000], certificates: [ci.example.org]}
  admin: {users: [0]}
approval: {above: medium, expires: 30m}
"#;

fn refusal(text: &str) -> String {
    match LocatedPolicy::parse("policy.yaml", text.as_bytes()) {
        Ok(_) => panic!("it was read: {text}"),
        Err(wrong) => wrong.to_string(),
    }
}

#[test]
fn a_whole_policy_is_read_and_every_rule_has_its_line() {
    let located = LocatedPolicy::parse("policy.yaml", WHOLE.as_bytes()).unwrap();
    let policy = &located.policy;
    assert_eq!(policy.limits.faults, Some(10));
    assert_eq!(policy.limits.chance[&FaultKind::Drop].to_string(), "30%");
    assert!(policy.limits.chance[&FaultKind::Partition].is_never());
    let roles = policy.roles.as_ref().unwrap();
    assert_eq!(
        roles.operator.users,
        [Account::Name("alice".to_owned()), Account::Id(1000)]
    );
    assert_eq!(roles.descending()[0].0, Role::Admin);
    assert_eq!(policy.approval.as_ref().unwrap().above, Severity::Medium);
    assert_eq!(policy.windows[0].to_string(), "mon-fri 09:00-17:00 Europe/Berlin");
    let at = |path: SpecPath| located.place(&path);
    let limits = SpecPath::root().field("limits");
    assert_eq!(at(limits.clone().field("duration")), "policy.yaml:7:13");
    assert_eq!(at(limits.field("chance").field("drop")), "policy.yaml:11:18");
    let ports = SpecPath::root().field("deny").field("ports").index(1);
    assert_eq!(at(ports), "policy.yaml:19:17");
}

#[test]
fn what_is_left_out_allows_everything() {
    let text = "apiVersion: chaos-daemon.dev/v1alpha1\nkind: Policy\n";
    let policy = LocatedPolicy::parse("p.yaml", text.as_bytes()).unwrap().policy;
    assert_eq!(policy.limits, chaos_spec::policy::Limits::default());
    assert!(policy.roles.is_none() && policy.approval.is_none() && policy.windows.is_empty());
}

#[test]
fn what_is_wrong_is_told_with_its_line_all_of_it() {
    let wrong = WHOLE
        .replace("duration: 10m", "duration: 10")
        .replace("flowShare: 50%", "flowShare: 50")
        .replace("cgroups: [/system", "cgroup: [/system")
        .replace("Europe/Berlin", "Europe/Atlantis")
        .replace("above: medium", "above: terrible");
    let told = refusal(&wrong);
    for part in [
        "policy.yaml:7:13: limits.duration:",
        "policy.yaml:8:14: limits.flowShare:",
        "policy.yaml:16:3: deny.cgroup:",
        "did you mean `cgroups`",
        "policy.yaml:23:",
        "time zone",
        "policy.yaml:28:",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
}

#[test]
fn other_documents_and_empty_ones_are_refused() {
    assert!(refusal("").contains("no document"));
    assert!(refusal("kind: NetworkFault\n").contains("write `kind: Policy`"));
    assert!(refusal("apiVersion: chaos-daemon.dev/v2\nkind: Policy\n").contains("policy.yaml:1:13"));
    assert!(refusal("kind: Policy\n").contains("apiVersion"));
    let head = "apiVersion: chaos-daemon.dev/v1alpha1\nkind: Policy\n";
    assert!(refusal(&format!("{head}---\n{head}")).contains("more than one"));
    assert!(refusal(&format!("{head}deny:\n  cgroups: [system.slice]\n")).contains("policy.yaml:4:13"));
    assert!(refusal(&format!("{head}deny:\n  ports: []\n")).contains("empty"));
    assert!(refusal("\u{0}\u{1}").contains("policy.yaml"));
}

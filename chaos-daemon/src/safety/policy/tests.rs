use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use chaos_spec::policy::LocatedPolicy;
use chaos_spec::{FaultSpec, NetworkFault};
use jiff::Timestamp;

use super::{Caps, Load, PolicyError, PolicyKeeper, Violation, check_spec};

const HEAD: &str = "apiVersion: chaos-daemon.dev/v1alpha1\nkind: Policy\n";

fn policy(rules: &str) -> LocatedPolicy {
    LocatedPolicy::parse("p.yaml", format!("{HEAD}{rules}").as_bytes()).unwrap()
}

/// A fault of ten seconds on a namespace, from the rest of its spec.
fn spec(rest: serde_json::Value) -> FaultSpec {
    let mut spec = serde_json::json!({"target": {"netns": "blue"}, "duration": "10s"});
    spec.as_object_mut()
        .unwrap()
        .extend(rest.as_object().unwrap().clone());
    let fault: NetworkFault = serde_json::from_value(serde_json::json!({
        "apiVersion": "chaos-daemon.dev/v1alpha1", "kind": "NetworkFault",
        "metadata": {"name": "f"}, "spec": spec,
    }))
    .unwrap();
    fault.spec
}

fn found(rules: &str, rest: serde_json::Value) -> Vec<Violation> {
    let now: Timestamp = "2026-01-05T12:00:00Z".parse().unwrap();
    check_spec(&policy(rules), &spec(rest), now)
}

/// Rules that are broken, dotted.
fn broken(rules: &str, rest: serde_json::Value) -> Vec<String> {
    let mut names: Vec<_> = found(rules, rest)
        .iter()
        .map(|one| one.rule.to_string())
        .collect();
    names.dedup();
    names
}

macro_rules! broken {
    ($rules:expr, {$($json:tt)*}) => { broken($rules, serde_json::json!({$($json)*})) };
}

#[test]
fn a_refusal_names_rule_line_field_and_remedy() {
    let found = found(
        "limits:\n  duration: 5s\n",
        serde_json::json!({"fault": {"partition": {}}}),
    );
    assert_eq!(
        found[0].to_string(),
        "spec.duration: 10s is longer than the 5s that are allowed (policy p.yaml:4:13: limits.duration) – write at most `5s`"
    );
}

#[test]
fn chances_are_compared_in_the_long_run() {
    let rules = "limits: {chance: {drop: 10%, partition: 0%, reset: 50%}}\n";
    assert!(broken!(rules, {"fault": {"drop": {"chance": "10%"}}}).is_empty());
    assert_eq!(
        broken!(rules, {"fault": {"drop": {"chance": "10.1%"}}}),
        ["limits.chance.drop"]
    );
    assert!(broken!(rules, {"fault": {"drop": {"every": 10}}}).is_empty());
    assert_eq!(
        broken!(rules, {"fault": {"drop": {"every": 9}}}),
        ["limits.chance.drop"]
    );
    // p=1% r=10%: 9.09% are lost; with r=8%: 11.1%.
    assert!(broken!(rules, {"fault": {"drop": {"gilbertElliott": {"p": "1%", "r": "10%"}}}}).is_empty());
    assert_eq!(
        broken!(rules, {"fault": {"drop": {"gilbertElliott": {"p": "1%", "r": "8%"}}}}),
        ["limits.chance.drop"]
    );
    assert_eq!(
        broken!(rules, {"fault": {"drop": {"gilbertElliott": {"p": "0%", "r": "0%"}}}}),
        ["limits.chance.drop"]
    );
    assert_eq!(
        broken!(rules, {"fault": {"partition": {}}}),
        ["limits.chance.partition"]
    );
    // A chance that is not written is 100 %.
    assert_eq!(broken!(rules, {"fault": {"reset": {}}}), ["limits.chance.reset"]);
    assert!(broken!(rules, {"fault": {"corrupt": {"chance": "100%"}}}).is_empty());
}

#[test]
fn budgets_are_required_where_they_are_capped() {
    let rules = "limits: {packets: 1000, flowShare: 50%, delay: 1s, leastRate: 1mbit}\n";
    assert_eq!(
        broken!(rules, {"fault": {"delay": {"latency": "900ms", "jitter": "200ms"}}}),
        ["limits.flowShare", "limits.packets", "limits.delay"]
    );
    for fault in [
        serde_json::json!({"http": {"delay": "2s"}}),
        serde_json::json!({"dns": {"delay": "2s"}}),
    ] {
        assert_eq!(
            broken!(rules, {"fault": fault, "traffic": {"flows": "50%"}, "safety": {"maxPackets": 10}}),
            ["limits.delay"]
        );
    }
    assert_eq!(
        broken!(rules, {"fault": {"bandwidth": {"rate": "999kbit"}}, "traffic": {"flows": "50%"},
                        "safety": {"maxPackets": 1001}}),
        ["limits.packets", "limits.leastRate"]
    );
    assert!(
        broken!(rules, {"fault": {"bandwidth": {"rate": "1mbit"}}, "traffic": {"flows": "5%"},
                        "safety": {"maxPackets": 1000}})
        .is_empty()
    );
}

#[test]
fn kinds_of_faults_and_targets_and_guards() {
    let rules = "deny: {targets: [host], faults: [corrupt], unguard: [ssh]}\nallow: {targets: [netns, host], faults: [drop, corrupt]}\n";
    assert!(broken!(rules, {"fault": {"drop": {"chance": "1%"}}}).is_empty());
    assert_eq!(broken!(rules, {"fault": {"reset": {}}}), ["allow.faults"]);
    assert_eq!(broken!(rules, {"fault": {"corrupt": {}}}), ["deny.faults[0]"]);
    assert_eq!(
        broken!(rules, {"fault": {"drop": {}}, "target": {"host": true}}),
        ["deny.targets[0]"]
    );
    assert_eq!(
        broken!(rules, {"fault": {"drop": {}}, "target": {"pid": 1}}),
        ["allow.targets"]
    );
    assert_eq!(
        broken!(rules, {"fault": {"drop": {}}, "safety": {"unguard": ["dhcp", "ssh"]}}),
        ["deny.unguard[0]"]
    );
}

#[test]
fn ports_that_are_named() {
    let rules = "deny: {ports: [22, 6000-6010]}\nallow: {ports: [80, 5000-7000]}\n";
    let with = |traffic: serde_json::Value| {
        broken(
            rules,
            serde_json::json!({"fault": {"partition": {}}, "traffic": traffic}),
        )
    };
    assert!(with(serde_json::json!({"remote": {"ports": [80, "5000-5999"]}})).is_empty());
    assert!(with(serde_json::json!({"local": {"ports": [80]}, "remote": {"ports": [9]}})).is_empty());
    assert_eq!(
        with(serde_json::json!({"remote": {"ports": ["5990-6000"]}})),
        ["deny.ports[1]"]
    );
    assert_eq!(
        with(serde_json::json!({"local": {"ports": ["20-30"]}})),
        ["deny.ports[0]", "allow.ports"]
    );
    assert_eq!(
        with(serde_json::json!({"remote": {"ports": ["80-81"]}})),
        ["allow.ports"]
    );
    assert_eq!(with(serde_json::json!({})), ["allow.ports"]);
    assert!(with(serde_json::json!({"protocol": "icmp"})).is_empty());
}

#[test]
fn a_fault_must_fit_into_an_open_window() {
    // Now it is Monday noon in UTC.
    let fault = serde_json::json!({"fault": {"partition": {}}});
    assert!(
        broken(
            "windows: [{days: [mon], from: \"09:00\", to: \"17:00\"}]\n",
            fault.clone()
        )
        .is_empty()
    );
    assert_eq!(
        broken("windows: [{days: [tue-sun]}]\n", fault.clone()),
        ["windows"]
    );
    // Closes in five seconds' worth of nothing: at noon sharp.
    assert_eq!(broken("windows: [{to: \"12:00\"}]\n", fault.clone()), ["windows"]);
    let long = serde_json::json!({"fault": {"partition": {}}, "duration": "2h"});
    let refused = found("windows: [{to: \"13:00\"}]\n", long);
    assert_eq!(refused[0].path.to_string(), "spec.duration");
    assert!(refused[0].remedy.contains("`1h`"), "{}", refused[0]);
}

#[test]
fn caps_count_what_would_be() {
    let policy = policy("limits: {faults: 3, targets: 2, faultsPerNetns: 2}\n");
    let load = |target: &'static str, netns: u32| Load {
        target,
        netns: vec![netns],
    };
    let rules = |found: Vec<Violation>| found.iter().map(|one| one.rule.to_string()).collect::<Vec<_>>();
    let mut caps = Caps::new([("a", load("x", 1)), ("b", load("x", 1))]);
    // A change of one that runs adds nothing.
    assert!(caps.add(&policy, "a", load("x", 1)).is_empty());
    assert_eq!(
        rules(caps.add(&policy, "c", load("x", 1))),
        ["limits.faultsPerNetns"]
    );
    assert!(caps.add(&policy, "c", load("y", 2)).is_empty());
    assert_eq!(
        rules(caps.add(&policy, "c", load("z", 1))),
        ["limits.faultsPerNetns"]
    );
    assert_eq!(
        rules(caps.add(&policy, "d", load("y", 3))),
        ["limits.faults", "limits.targets"]
    );
}

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_file_that_others_may_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy.yaml");
    write(&path, HEAD, 0o600);
    PolicyKeeper::load(Some(path.clone())).unwrap();
    for mode in [0o620, 0o602, 0o666] {
        write(&path, HEAD, mode);
        let error = PolicyKeeper::load(Some(path.clone())).unwrap_err();
        assert!(matches!(error, PolicyError::Writable { .. }), "{mode:o}: {error}");
    }
    write(&path, HEAD, 0o644);
    // Others could put another file into its place.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = PolicyKeeper::load(Some(path.clone())).unwrap_err();
    assert!(matches!(error, PolicyError::Writable { .. }), "{error}");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
    PolicyKeeper::load(Some(path)).unwrap();
}

#[test]
fn a_bad_new_policy_leaves_the_old_one_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy.yaml");
    write(&path, &format!("{HEAD}limits: {{faults: 1}}\n"), 0o600);
    let keeper = PolicyKeeper::load(Some(path.clone())).unwrap();
    let faults = || keeper.current().unwrap().policy.limits.faults;
    write(&path, &format!("{HEAD}limits:\n  faults: none\n"), 0o600);
    let error = keeper.reload().unwrap_err().to_string();
    assert!(error.contains("policy.yaml:4:11"), "{error}");
    assert_eq!(faults(), Some(1));
    std::fs::remove_file(&path).unwrap();
    assert!(keeper.reload().is_err());
    assert_eq!(faults(), Some(1));
    write(&path, &format!("{HEAD}limits: {{faults: 2}}\n"), 0o600);
    assert_eq!(keeper.reload().unwrap(), Some(path));
    assert_eq!(faults(), Some(2));
    assert_eq!(PolicyKeeper::default().reload().unwrap(), None);
}

/// Who may open the socket is decided at the start: a daemon whose `roles:` went would let in everybody whom they kept out.
#[test]
fn roles_neither_come_nor_go_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy.yaml");
    let with = format!("{HEAD}roles: {{viewer: {{users: [7]}}}}\n");
    let (without, other) = (HEAD.to_owned(), with.replace('7', "8"));
    for (first, second) in [(&with, &without), (&without, &with)] {
        write(&path, first, 0o600);
        let keeper = PolicyKeeper::load(Some(path.clone())).unwrap();
        let before = keeper.current();
        write(&path, second, 0o600);
        let error = keeper.reload().unwrap_err();
        assert!(matches!(error, PolicyError::RolesNeedRestart { .. }), "{error}");
        assert!(error.to_string().contains("restart the daemon"), "{error}");
        assert_eq!(
            keeper.current().map(|policy| policy.policy.clone()),
            before.map(|policy| policy.policy.clone())
        );
    }
    // Other people in them are read again.
    write(&path, &with, 0o600);
    let keeper = PolicyKeeper::load(Some(path.clone())).unwrap();
    write(&path, &other, 0o600);
    assert_eq!(keeper.reload().unwrap(), Some(path));
}

//! The node's policy: enforced whatever the caller says, and every refusal names rule and line.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use chaos_tests::{Cgroup, Daemon, FaultFile, Pair, eventually};
use serde_json::json;
use tempfile::TempDir;

const HEAD: &str = "apiVersion: chaos-daemon.dev/v1alpha1\nkind: Policy\n";

/// A policy file that nobody but its owner may write.
pub(crate) struct PolicyFile {
    folder: TempDir,
}

impl PolicyFile {
    pub(crate) fn new(rules: &str) -> Self {
        let file = Self {
            folder: TempDir::new().expect("a temporary folder can be made"),
        };
        file.write(rules);
        file
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("policy.yaml")
    }

    pub(crate) fn write(&self, rules: &str) {
        std::fs::write(self.path(), format!("{HEAD}{rules}")).expect("it can be written");
        self.mode(0o644);
    }

    fn mode(&self, mode: u32) {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.path(), mode).expect("its owner may");
    }

    /// `policy.yaml:LINE:` of the first line that holds `text`.
    fn line(&self, text: &str) -> String {
        let all = std::fs::read_to_string(self.path()).expect("it can be read");
        let line = all
            .lines()
            .position(|line| line.contains(text))
            .expect("it is in there");
        format!("policy.yaml:{}:", line + 1)
    }

    fn daemon(&self) -> Daemon {
        let path = self.path();
        let path = path.to_str().expect("it is text");
        Daemon::builder().args(&["--policy", path]).start()
    }
}

#[test]
fn over_cap_protected_and_out_of_window_are_refused_with_rule_and_line_and_change_nothing() {
    let net = Pair::new();
    let denied = Cgroup::new();
    let policy = PolicyFile::new(&format!(
        "limits:\n  duration: 2m\n  faults: 2\n  chance:\n    drop: 20%\n    partition: 0%\ndeny:\n  \
         cgroups: [{}]\n  netns: [{}]\n  ports: [5432]\n  cidrs: [10.77.0.0/30]\n",
        denied.path(),
        net.server.netns.path().display(),
    ));
    let daemon = policy.daemon();
    let ctl = daemon.ctl();
    let drop = |name: &str| FaultFile::on_netns(name, &net.client.netns, json!({"drop": {"chance": "10%"}}));
    ctl.apply(&[drop("one")]);
    let refused = [
        (drop("too-long").lasting("3m"), "limits.duration", "duration:"),
        (
            drop("too-much").fault(json!({"drop": {"chance": "30%"}})),
            "limits.chance.drop",
            "drop:",
        ),
        (
            drop("all").fault(json!({"partition": {}})),
            "limits.chance.partition",
            "partition:",
        ),
        (
            drop("port").traffic(json!({"remote": {"ports": ["5000-6000"]}})),
            "deny.ports[0]",
            "ports:",
        ),
        (
            drop("net").traffic(json!({"remote": {"cidrs": ["10.0.0.0/8"]}})),
            "deny.cidrs[0]",
            "cidrs:",
        ),
        (
            FaultFile::on_netns("netns", &net.server.netns, json!({"drop": {"chance": "1%"}})),
            "deny.netns[0]",
            "netns:",
        ),
        (
            FaultFile::on_cgroup("cgroup", &denied, json!({"drop": {"chance": "1%"}})),
            "deny.cgroups[0]",
            "cgroups:",
        ),
        // In place: the fault that runs stays as it is.
        (drop("one").lasting("3m"), "limits.duration", "duration:"),
    ];
    for (fault, rule, line) in refused {
        let answer = ctl.try_apply(std::slice::from_ref(&fault));
        let place = policy.line(line);
        assert_eq!(answer.code, 14, "{rule}: {answer}");
        for part in [rule, &place, "HTTP 403"] {
            assert!(answer.stderr.contains(part), "{part} in {answer}");
        }
        let planned = ctl.try_plan(std::slice::from_ref(&fault));
        assert_eq!(planned.code, 14, "plan, {rule}: {planned}");
        assert!(planned.stderr.contains(rule), "{planned}");
    }
    // All or none: the first of these would be fine.
    let both = ctl.try_apply(&[drop("fine"), drop("not").lasting("3m")]);
    assert_eq!(both.code, 14, "{both}");
    ctl.apply(&[drop("two")]);
    let third = ctl.try_apply(&[drop("three")]);
    assert!(
        third.code == 14 && third.stderr.contains("limits.faults"),
        "{third}"
    );
    assert!(third.stderr.contains(&policy.line("faults: 2")), "{third}");
    // The last place is free again.
    ctl.delete("two");
    ctl.apply(&[drop("three")]);
    let faults = ctl.faults();
    let names: Vec<_> = faults
        .iter()
        .filter(|f| f.phase() == "Active")
        .map(|f| f.name().to_owned())
        .collect();
    assert_eq!(names, ["one", "three"]);
    assert_eq!(ctl.fault("one").0["spec"]["duration"], "1m");
}

#[test]
fn inject_meets_the_policy_as_well() {
    let net = Pair::new();
    let policy = PolicyFile::new("allow:\n  faults: [delay]\n");
    let daemon = policy.daemon();
    let netns = net.client.netns.path();
    let netns = netns.to_str().expect("it is text");
    let answer = daemon
        .ctl()
        .run(&["inject", "drop", "1%", "--netns", netns, "--for", "10s"]);
    assert_eq!(answer.code, 14, "{answer}");
    let place = policy.line("faults:");
    for part in ["allow.faults", &place] {
        assert!(answer.stderr.contains(part), "{part} in {answer}");
    }
}

#[test]
fn a_policy_that_cannot_be_trusted_or_read_stops_the_start_with_its_line() {
    let policy = PolicyFile::new("limits:\n  duration: 5\n  falts: 1\n");
    let daemon = Daemon::start();
    let start = |args: &[&str]| {
        let mut command = daemon.second();
        let output = daemon
            .netns()
            .enter(|| command.args(args).output().expect("it can be started"));
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let path = policy.path();
    let path = path.to_str().expect("it is text");
    let (code, said) = start(&["--policy", path]);
    assert_eq!(code, Some(2), "{said}");
    for part in [
        &policy.line("duration"),
        &policy.line("falts"),
        "did you mean `faults`",
        "5s",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    policy.write("limits: {faults: 1}\n");
    policy.mode(0o666);
    let (code, said) = start(&["--policy", path]);
    assert!(code == Some(2) && said.contains("written by others"), "{said}");
    let (code, said) = start(&["--policy", "/nonexistent/policy.yaml"]);
    assert!(
        code == Some(2) && said.contains("/nonexistent/policy.yaml"),
        "{said}"
    );
}

#[test]
fn sighup_reads_it_again_and_a_bad_one_leaves_the_old_one_in_force() {
    let net = Pair::new();
    let policy = PolicyFile::new("limits: {faults: 0}\n");
    let daemon = policy.daemon();
    let ctl = daemon.ctl();
    let fault = FaultFile::on_netns("one", &net.client.netns, json!({"drop": {"chance": "10%"}}));
    assert_eq!(ctl.try_apply(std::slice::from_ref(&fault)).code, 14);
    let reload = |rules: &str, said: &str| {
        policy.write(rules);
        daemon.hangup();
        eventually(Duration::from_secs(5), said, || daemon.log().contains(said));
    };
    reload("limits: {faults: many}\n", "old one stays in force");
    assert!(daemon.log().contains(&policy.line("many")), "{}", daemon.log());
    assert_eq!(ctl.try_apply(std::slice::from_ref(&fault)).code, 14);
    reload("limits: {faults: 1}\n", "was read again");
    ctl.apply(&[fault]);
}

use super::*;
use crate::Diagnostics;
use crate::experiment::Action;

const ENTRY: &str = r#"apiVersion: chaos-daemon.dev/v1alpha1
kind: CatalogEntry
metadata: {name: slow}
spec:
  title: A dependency is slow
  category: dependency-latency
  description: It waits.
  trigger: A full disk.
  scope: TCP to the ports.
  severity: medium
  signals:
    - {what: Packets wait, shows: {fault: slow, counter: delayed}}
    - {what: It is slower, shows: {probe: service, beyond: {p95: "<= 1.5x baseline"}}}
    - {what: The pool is full}
  rollback: It ends by itself.
  stopRules: [Somebody notices]
  runbook: Look.
  parameters:
    target: {type: target, description: Whose, example: "cgroup=/orders"}
    duration: {type: duration, description: How long, default: 1m}
    latency: {type: duration, description: How late, default: 100ms}
    ports: {type: ports, description: Which, default: "5432"}
    url: {type: url, description: What is asked, example: "http://127.0.0.1/"}
    netns: {type: text, description: Where it is asked, optional: true}
    failures: {type: number, description: When to stop, default: 3}
  faults:
    - name: slow
      spec:
        target: ${target}
        traffic: {protocol: tcp, remote: {ports: "${ports}"}}
        fault: {delay: {latency: "${latency}"}}
        duration: ${duration}
  experiment:
    hypothesis: All is well with ${latency} more
    steadyState:
      - {name: service, http: {url: "${url}"}, netns: "${netns}"}
    method:
      - {fault: slow, for: "${duration}", name: late, repeat: 2}
    abort: {after: "${failures}"}
"#;

fn entry() -> LocatedEntry {
    parse_entries("slow.yaml", ENTRY.as_bytes()).unwrap().remove(0)
}

fn settings(texts: &[&str]) -> Vec<Setting> {
    texts
        .iter()
        .map(|text| Setting::from_flag(text).unwrap())
        .collect()
}

fn run(texts: &[&str]) -> Result<crate::experiment::LocatedRun, Diagnostics> {
    entry().run("orders", &settings(texts))
}

#[test]
fn values_take_their_places_and_what_is_left_out_is_left_out() {
    let run = run(&[
        "target=netns=blue",
        "url=http://10.0.0.1:8080/a?b=c",
        "latency=250ms",
        "ports=80,8000-8010",
    ])
    .unwrap();
    let fault = &run.faults[0].fault;
    assert_eq!(fault.spec.target.to_string(), "netns blue");
    assert_eq!(fault.spec.traffic.remote.as_ref().unwrap().ports.len(), 2);
    assert_eq!(
        fault.spec.fault.delay.as_ref().unwrap().latency.to_string(),
        "250ms"
    );
    assert_eq!(fault.spec.duration.to_string(), "1m");
    let spec = &run.experiment.spec;
    assert_eq!(run.experiment.name(), "orders");
    assert_eq!(spec.hypothesis, "All is well with 250ms more");
    assert_eq!(spec.steady_state[0].netns, None);
    assert_eq!(spec.abort.after.unwrap().0, 3);
}

#[test]
fn a_fault_on_several_targets_is_as_many_side_by_side() {
    let run = run(&["target=netns=blue", "target=pid=7", "url=http://10.0.0.1/"]).unwrap();
    let names: Vec<&str> = run.faults.iter().map(|located| located.fault.name()).collect();
    assert_eq!(names, ["slow-1", "slow-2"]);
    assert_eq!(run.faults[1].fault.spec.target.to_string(), "pid 7");
    let step = &run.experiment.spec.method[0];
    assert_eq!((step.name.as_deref(), step.repeat), (Some("late"), 2));
    let Action::Parallel(steps) = &step.action else {
        panic!("{step:?}")
    };
    let faults: Vec<&str> = steps
        .iter()
        .map(|step| match &step.action {
            Action::Fault(fault) => fault.fault.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(faults, ["slow-1", "slow-2"]);
    let twice = self::run(&["target=netns=blue", "target=netns=blue", "url=http://10.0.0.1/"]).unwrap_err();
    assert!(
        twice.to_string().contains("this target is named twice"),
        "{twice}"
    );
}

#[test]
fn what_is_set_wrong_is_told_and_nothing_is_made() {
    let url = "url=http://10.0.0.1/";
    for (set, told) in [
        (
            vec![url],
            "slow: `target` has to be given: Whose – for example `--set target=cgroup=/orders`",
        ),
        (
            vec![url, "target=netns=a", "latancy=1s"],
            "--set: slow has no parameter `latancy` – it has duration, failures, latency, netns, ports, target, url",
        ),
        (vec![url, "target=netns=a", "latency=100"], "--set: latency: "),
        (
            vec![url, "target=blue"],
            "--set: target: `blue` names no target – write `cgroup=/system.slice/orders.service`",
        ),
        (vec![url, "target=netns="], "`netns=` names no target"),
        (vec![url, "target=pid=x"], "`pid=x` names no target"),
        (vec![url, "target=netns=a", "ports=80,,81"], "--set: ports: "),
        (vec![url, "target=netns=a", "failures=many"], "--set: failures: "),
        (vec!["url=10.0.0.1", "target=netns=a"], "--set: url: "),
        (
            vec![url, "target=netns=a", "latency=1s", "latency=2s"],
            "`latency` is set twice",
        ),
        // In range for its type, and not for what is made of it; the place is the entry's.
        (
            vec![url, "target=netns=a", "duration=0s"],
            "slow.yaml:32:19: spec.duration: a fault of no length does nothing",
        ),
    ] {
        let found = run(&set).unwrap_err().to_string();
        assert!(found.contains(told), "{set:?}: {found}");
    }
    assert!(
        Setting::from_flag("latency")
            .unwrap_err()
            .contains("sets nothing")
    );
}

#[test]
fn a_value_is_never_more_than_a_value() {
    let nasty = "netns=x, method: [{fault: other}]";
    let run = run(&["target=netns=a", "url=http://10.0.0.1/", nasty]).unwrap();
    let netns = run.experiment.spec.steady_state[0].netns.as_deref();
    assert_eq!(netns, Some("x, method: [{fault: other}]"));
    assert_eq!(run.experiment.spec.method.len(), 1);
}

#[test]
fn lint_finds_what_is_wrong_with_an_entry() {
    assert_eq!(entry().lint(), []);
    for (from, to, told) in [
        ("\"${ports}\"", "[5432]", "spec.parameters.ports: nothing uses it"),
        (
            "\"${latency}\"",
            "\"${latencies}\"",
            "`${latencies}` is used, and there is no such parameter",
        ),
        (
            "default: 100ms",
            "optional: true, default: 100ms",
            "spec.parameters.latency: what it is when nobody says so is not clear",
        ),
        ("default: 100ms", "default: 100", "spec.parameters.latency: "),
        (
            "    target: {type: target",
            "    target: {type: text",
            "there is no parameter `target` of type target",
        ),
        (
            "{fault: slow, counter: delayed}",
            "{fault: fast, counter: delayed}",
            "spec.signals[0].shows: there is no fault `fast`",
        ),
        (
            "{probe: service, beyond",
            "{probe: other, beyond",
            "spec.signals[1].shows: there is no probe `other`",
        ),
        (
            "{fault: slow, for",
            "{fault: fast, for",
            "there is no NetworkFault `fast` beside the experiment",
        ),
        (
            "runbook: Look.",
            "runbook: \" \"",
            "spec.runbook: nothing is written here",
        ),
    ] {
        let text = ENTRY.replacen(from, to, 1);
        assert_ne!(text, ENTRY, "{from}");
        let wrong = parse_entries("slow.yaml", text.as_bytes())
            .unwrap()
            .remove(0)
            .lint();
        let found = Diagnostics(wrong).to_string();
        assert!(
            found.contains(told) && found.contains("slow.yaml:"),
            "{from}: {found}"
        );
    }
    let form = parse_entries(
        "slow.yaml",
        ENTRY.replace("severity: medium", "severity: grave").as_bytes(),
    );
    assert!(
        form.unwrap_err()
            .to_string()
            .contains("slow.yaml:10:13: spec.severity"),
        "{ENTRY}"
    );
}

#[test]
fn a_mission_binds_an_entry_and_says_when() {
    let text = r#"apiVersion: chaos-daemon.dev/v1alpha1
kind: Mission
metadata: {name: orders-canary}
spec:
  entry: slow
  targets: [{cgroup: /orders}, "netns=blue"]
  set: {url: "http://10.0.0.1/", ports: [80, 81], failures: 5}
  duration: 2m
  windows: [{days: [mon-fri], from: "10:00", to: "16:00"}]
"#;
    let mission = parse_mission("m.yaml", text.as_bytes()).unwrap().unwrap();
    let run = entry().run("orders-canary", &mission.settings()).unwrap();
    assert_eq!(run.faults.len(), 2);
    assert_eq!(run.faults[0].fault.spec.duration.to_string(), "2m");
    assert_eq!(run.experiment.spec.abort.after.unwrap().0, 5);
    let at = |text: &str| mission.closed(text.parse().unwrap());
    assert_eq!(at("2026-11-20T12:00:00Z"), None);
    assert!(
        at("2026-11-21T12:00:00Z")
            .unwrap()
            .contains("mon-fri 10:00-16:00 UTC")
    );
    let wrong = text.replace("failures: 5", "failures: few");
    let mission = parse_mission("m.yaml", wrong.as_bytes()).unwrap().unwrap();
    let found = entry()
        .run("orders-canary", &mission.settings())
        .unwrap_err()
        .to_string();
    assert!(
        found.starts_with("m.yaml:7:61: failures: `few` is no whole number"),
        "{found}"
    );
    assert!(parse_mission("slow.yaml", ENTRY.as_bytes()).unwrap().is_none());
}

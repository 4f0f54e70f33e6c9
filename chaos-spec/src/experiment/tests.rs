use super::*;
use crate::{Diagnostics, Duration};

const RUN: &str = r#"apiVersion: chaos-daemon.dev/v1alpha1
kind: Experiment
metadata: {name: orders-survive-a-slow-db}
spec:
  hypothesis: Checkout stays above 99 % success while the database answers 100 ms later
  steadyState:
    - {name: checkout, http: {url: "http://127.0.0.1:8080/checkout"}, every: 200ms, expect: {success: ">= 99%", p95: "<= 1.5x baseline"}}
    - {name: errors, prometheus: {url: "http://127.0.0.1:9090", query: "sum(rate(errors_total[1m]))"}, expect: "<= 0.5"}
  method:
    - {fault: slow-orders-db, ramp: [{flows: 5%, for: 30s}, {flows: 100%, latency: 200ms, for: 60s}]}
    - {pause: 5s}
    - parallel:
        - {fault: slow-orders-db, for: 10s, flows: 50%}
        - {until: {condition: {name: leader, tcp: {address: "127.0.0.1:5432"}}, within: 20s}, repeat: 2}
  abort: {after: 3 failures, errorBudget: 5%}
  recovery: {within: 30s}
---
apiVersion: chaos-daemon.dev/v1alpha1
kind: NetworkFault
metadata: {name: slow-orders-db}
spec:
  target: {netns: /run/netns/orders}
  traffic: {remote: {ports: [5432]}}
  fault: {delay: {latency: 100ms}}
  duration: 5m
"#;

fn run(text: &str) -> Result<LocatedRun, Diagnostics> {
    parse_run(&[("run.yaml".to_owned(), text.as_bytes().to_vec())])
}

fn wrong(text: &str) -> String {
    run(text).unwrap_err().to_string()
}

#[test]
fn what_is_written_is_read_and_comes_back_over_the_wire() {
    let run = run(RUN).unwrap();
    assert_eq!(run.experiment.spec.steady_state.len(), 2);
    assert_eq!(run.experiment.spec.abort.after, Some(Failures(3)));
    let submission = run.submission();
    let body = serde_json::to_vec(&submission).unwrap();
    assert_eq!(parse_run_body(&body).unwrap(), submission);
}

#[test]
fn a_stage_makes_a_fault_of_its_own() {
    let run = run(RUN).unwrap();
    let fault = &run.faults[0].fault;
    let Action::Fault(step) = &run.experiment.spec.method[0].action else {
        panic!("the first step is a fault");
    };
    let shaped: Vec<_> = step
        .ramp
        .iter()
        .map(|stage| shape(&run.experiment, fault, &stage.settings).unwrap())
        .collect();
    assert_eq!(shaped[0].name(), "orders-survive-a-slow-db-slow-orders-db");
    assert_eq!(shaped[0].spec.traffic.flows, crate::Chance::percent(5));
    assert_eq!(shaped[1].spec.traffic.flows, None, "all of them");
    let latency = |index: usize| shaped[index].spec.fault.delay.as_ref().unwrap().latency;
    assert_eq!(latency(0), Duration::from_millis(100));
    assert_eq!(latency(1), Duration::from_millis(200));
    let small = shape(&run.experiment, fault, &Settings::default()).unwrap();
    assert_eq!(
        small.spec.traffic.flows,
        Some(DEFAULT_FLOWS),
        "nobody said how many"
    );
}

#[test]
fn requests_and_look_ups_have_a_chance_and_a_delay_too() {
    let run = run(RUN).unwrap();
    let settings = Settings {
        chance: crate::Chance::percent(40),
        latency: Some(Duration::from_millis(300)),
        ..Settings::default()
    };
    let shaped = |fault: &str, settings: &Settings| {
        let mut written = run.faults[0].fault.clone();
        written.spec.fault = serde_json::from_str(fault).unwrap();
        let shaped = shape(&run.experiment, &written, settings);
        shaped.map(|shaped| serde_json::to_value(&shaped.spec.fault).unwrap())
    };
    for fault in [r#"{"http": {"delay": "1s"}}"#, r#"{"dns": {"delay": "1s"}}"#] {
        let shaped = shaped(fault, &settings).unwrap();
        let (_, inner) = shaped.as_object().unwrap().iter().next().unwrap();
        assert_eq!(inner, &serde_json::json!({"delay": "300ms", "chance": "40%"}));
    }
    let error = shaped(r#"{"http": {"status": 503}}"#, &settings).unwrap_err();
    assert!(error.message.contains("it does not have a `delay`"), "{error}");
    let chance = Settings {
        latency: None,
        ..settings
    };
    let ramped = shaped(r#"{"http": {"status": 503, "chance": "10%"}}"#, &chance).unwrap();
    assert_eq!(ramped["http"]["chance"], "40%");
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_a_remedy() {
    for (from, to, line, says) in [
        (
            "fault: slow-orders-db, ramp",
            "fault: slow-order-db, ramp",
            10,
            "there is no NetworkFault `slow-order-db`",
        ),
        ("latency: 200ms", "rate: 1mbit", 10, "has no use for it"),
        (
            "latency: 200ms",
            "chance: 20%",
            10,
            "has no chance: it is a delay",
        ),
        ("after: 3 failures", "after: soon", 15, "is no number of failures"),
        ("1.5x baseline", "1.5x basline", 7, "write"),
        ("every: 200ms", "every: 1ms", 7, "1ms is out of range"),
        ("name: errors", "name: checkout", 8, "is there twice"),
        ("pause: 5s", "pause: 0s", 11, "0s is out of range"),
        (
            "{pause: 5s}",
            "{pause: 5s, flows: 5%}",
            11,
            "`flows` is there without `fault`",
        ),
        ("{pause: 5s}", "{}", 11, "the step does nothing"),
        ("within: 30s", "within: 30days", 16, "out of range"),
        (
            "hypothesis: Checkout",
            "hypothesis: \"\" #",
            5,
            "this is no hypothesis",
        ),
        (
            "{until: {condition: {name: leader, tcp: {address: \"127.0.0.1:5432\"}}, within: 20s}, repeat: 2}",
            "{fault: slow-orders-db, for: 1s}",
            14,
            "is beside itself",
        ),
    ] {
        assert!(RUN.contains(from), "{from}");
        let text = wrong(&RUN.replace(from, to));
        assert!(text.contains(says), "{to}: {text}");
        assert!(text.contains(&format!("run.yaml:{line}:")), "{to}: {text}");
    }
    assert!(wrong(RUN.split_once("---\n").unwrap().1).contains("no Experiment in it"));
    assert!(
        parse_run_body(b"{}")
            .unwrap_err()
            .to_string()
            .contains("no experiment")
    );
    assert!(parse_run_body(b"[1]").is_err());
}

#[test]
fn a_probe_that_is_compared_with_the_baseline_has_to_be_there() {
    let text = wrong(&RUN.replace("name: checkout,", "name: checkout, mode: onFault,"));
    assert!(
        text.contains("is not looked at before anything is done"),
        "{text}"
    );
    let only_edges = RUN
        .replace("name: checkout,", "name: checkout, mode: edge,")
        .replace("name: errors,", "name: errors, mode: start,");
    assert!(wrong(&only_edges).contains("nothing can be refuted"));
}

#[test]
fn a_ramp_of_targets_begins_with_the_first_and_ends_with_all() {
    let faults = ["slow-orders-db", "second", "third"];
    let steps = |ramp: &str| {
        let mut text = RUN.replace(
            "    - {pause: 5s}\n",
            &format!("    - {{faults: [{}], ramp: [{ramp}]}}\n", faults.join(", ")),
        );
        for name in &faults[1..] {
            let (_, fault) = RUN.split_once("---\n").unwrap();
            text += &format!("---\n{}", fault.replace("slow-orders-db", name));
        }
        run(&text)
    };
    let run = steps("{targets: 1, for: 10s, flows: 5%}, {targets: 3, for: 20s, flows: 100%}").unwrap();
    let step = &run.experiment.spec.method[1];
    let Some(("parallel", [first, second, third])) = step.inside() else {
        panic!("{step:?}")
    };
    let ramp = |step: &Step| match &step.action {
        Action::Fault(step) => step
            .ramp
            .iter()
            .map(|stage| (stage.targets, stage.length.to_string()))
            .collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(ramp(first), [(None, "10s".to_owned()), (None, "20s".to_owned())]);
    for later in [second, third] {
        let Some(("serial", [wait, acts])) = later.inside() else {
            panic!("{later:?}")
        };
        assert_eq!(wait.action, Action::Pause(Duration::from_secs(10)));
        assert_eq!(ramp(acts), [(None, "20s".to_owned())]);
    }
    // Over the wire it is the same.
    let body = serde_json::to_vec(&run.submission()).unwrap();
    assert_eq!(parse_run_body(&body).unwrap().experiment, run.experiment);
    for (ramp, told) in [
        (
            "{targets: 4, for: 1s}",
            "`targets: 4` is out of range – there are 3 faults",
        ),
        (
            "{targets: 2, for: 1s}, {targets: 1, for: 1s}",
            "a ramp of targets only grows",
        ),
    ] {
        let found = steps(ramp).unwrap_err().to_string();
        assert!(found.contains(told) && found.contains("run.yaml:11:"), "{found}");
    }
    let alone = wrong(&RUN.replace("{flows: 5%, for: 30s}", "{targets: 1, for: 30s}"));
    assert!(
        alone.contains("there is one fault – leave it out, or write `faults: [slow-orders-db"),
        "{alone}"
    );
}

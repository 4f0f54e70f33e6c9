//! Several errors, several documents.

use crate::{GOOD, Parts, messages};

#[test]
fn every_error_of_a_document_is_told_at_once() {
    let text = Parts {
        target: "target: {netns: blue, interfces: [eth0]}",
        traffic: "traffic: {protocol: tpc, flows: 5, local: {ports: [70000, 80, 0]}}",
        fault: "fault: {drop: {chance: 130%}}",
        duration: "durration: 5m",
        more: "seed: -1",
    }
    .text();
    let expected = "\
f.yaml:5:25: spec.target.interfces: there is no such field – did you mean `interfaces`?
f.yaml:6:23: spec.traffic.protocol: `tpc` is not known here – did you mean `tcp`?
f.yaml:6:35: spec.traffic.flows: `5` has no percent sign – write `5%`
f.yaml:6:54: spec.traffic.local.ports[0]: 70000 is not a port: ports end at 65535 – write a port between 1 and 65535
f.yaml:6:65: spec.traffic.local.ports[2]: 0 is not a port that traffic uses – write a port between 1 and 65535
f.yaml:7:26: spec.fault.drop.chance: 130% is more than 100% – write a chance between 0% and 100%
f.yaml:8:3: spec.durration: there is no such field – did you mean `duration`?
f.yaml:9:9: spec.seed: expected a whole number, found the number -1 – write digits only";
    assert_eq!(messages("f.yaml", &text), expected);
}

#[test]
fn what_only_follows_from_an_error_is_not_told() {
    let text = Parts {
        target: "target: {cgrup: /a}",
        duration: "duration: soon",
        ..GOOD
    }
    .text();
    let told = messages("f.yaml", &text);
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(
        told.contains("spec.target.cgrup") && told.contains("spec.duration: `soon`"),
        "{told}"
    );
}

#[test]
fn a_flood_of_errors_is_cut() {
    let ports = vec!["0"; 100].join(", ");
    let traffic = format!("traffic: {{local: {{ports: [{ports}]}}}}");
    let told = Parts {
        traffic: &traffic,
        ..GOOD
    }
    .messages();
    assert_eq!(told.lines().count(), 20);
}

#[test]
fn each_document_is_checked_and_counted_in_its_file() {
    let bad = Parts {
        duration: "duration: 0s",
        ..GOOD
    }
    .text()
    .replace("name: a", "name: b");
    let text = format!("{}---\n{bad}", GOOD.text());
    assert_eq!(
        messages("f.yaml", &text),
        "f.yaml:18:13: spec.duration: a fault of no length does nothing – write how long it lasts, such as `5m`"
    );
}

#[test]
fn a_name_may_stand_only_once() {
    let text = format!("{}---\n{}", GOOD.text(), GOOD.text());
    assert_eq!(
        messages("f.yaml", &text),
        "f.yaml:13:18: metadata.name: the name `a` is taken at line 3 – give each fault a name of its own"
    );
    let first = chaos_spec::parse("one.yaml", GOOD.text().as_bytes()).expect("good");
    let second = chaos_spec::parse("two.yaml", GOOD.text().as_bytes()).expect("good");
    let both: Vec<_> = first.into_iter().chain(second).collect();
    let told: Vec<_> = chaos_spec::parse::same_names(&both)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        told,
        [
            "two.yaml:3:18: metadata.name: the name `a` is taken at one.yaml:3:18 – give each fault a name of its own"
        ]
    );
}

#[test]
fn a_body_gets_pointers() {
    let good = r#"{"apiVersion": "chaos-daemon.dev/v1alpha1", "kind": "NetworkFault", "metadata": {"name": "a"},
        "spec": {"target": {"host": true}, "fault": {"partition": {}}, "duration": "5m"}}"#;
    let faults = chaos_spec::parse_body(good.as_bytes()).expect("good");
    assert_eq!(faults.len(), 1);

    let bad = good.replace("\"5m\"", "5");
    let body = format!("{{\"items\": [{good}, {bad}, {good}]}}");
    let errors = chaos_spec::parse_body(body.as_bytes()).expect_err("bad").0;
    let problems: Vec<chaos_spec::api::ProblemError> = errors.into_iter().map(Into::into).collect();
    let told: Vec<_> = problems
        .iter()
        .map(|p| (p.pointer.as_str(), p.path.as_str(), p.message.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (
                "/items/1/spec/duration",
                "items[1].spec.duration",
                "`5` has no unit"
            ),
            (
                "/items/2/metadata/name",
                "items[2].metadata.name",
                "the name `a` is taken by items[0]"
            ),
        ]
    );
    let cut = chaos_spec::parse_body(&good.as_bytes()[..60]).expect_err("cut");
    assert_eq!(
        cut.to_string(),
        "1:60: this is not JSON: EOF while parsing a string – the text is cut short: send or save the whole of it"
    );
}

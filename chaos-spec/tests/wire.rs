//! The JSON of the API: its exact shape, and that readers forgive what they do not know.

use chaos_spec::api::{
    Attachment, Event, EventKind, FaultList, FaultView, Hook, Mode, Packets, Phase, Problem, ProblemError,
    Reason, Status,
};
use chaos_spec::{
    Chance, Drop, Duration, Fault, FaultSpec, Metadata, SpecError, SpecPath, Target, WarningKind,
};
use serde_json::json;

fn view() -> FaultView {
    let drop = Fault::drop(Drop::chance(Chance::percent(30).expect("below 100")));
    FaultView {
        metadata: Metadata {
            name: "a".to_owned(),
            ..Metadata::default()
        },
        spec: FaultSpec::new(Target::netns("blue"), drop, Duration::from_secs(300)),
        status: Status {
            phase: Phase::Ended,
            reason: Some(Reason::TargetGone),
            started_at: "2025-01-02T03:04:05Z".parse().ok(),
            seed: Some(42),
            packets: Packets {
                matched: 10,
                dropped: 3,
                passed: 7,
                ..Packets::default()
            },
            attachments: vec![Attachment {
                netns: "blue".to_owned(),
                interface: "eth0".to_owned(),
                hook: Hook::TcEgress,
                mode: Mode::Tcx,
                line: None,
            }],
            warnings: vec![WarningKind::HostTarget.into()],
            ..Status::default()
        },
    }
}

#[test]
fn faults_look_as_the_contract_says() {
    let list = serde_json::to_value(FaultList { items: vec![view()] }).expect("JSON");
    assert_eq!(
        list,
        json!({"items": [{
            "metadata": {"name": "a"},
            "spec": {"target": {"netns": "blue"}, "fault": {"drop": {"chance": "30%"}}, "duration": "5m"},
            "status": {
                "phase": "Ended", "reason": "TargetGone", "startedAt": "2025-01-02T03:04:05Z", "seed": 42,
                "packets": {
                    "matched": 10, "passed": 7, "dropped": 3, "delayed": 0, "corrupted": 0, "duplicated": 0,
                    "reordered": 0, "reset": 0, "rejected": 0, "throttled": 0, "answered": 0, "unseen": 0
                },
                "attachments": [{"netns": "blue", "interface": "eth0", "hook": "tc-egress", "mode": "tcx"}],
                "warnings": [{
                    "code": "HostTarget",
                    "message": "the target is the whole host: every process in its network namespace is hit",
                    "advice": "name a cgroup, pid, container or netns to hit less"
                }]
            }
        }]})
    );
    let names: Vec<_> = Packets::default().named().iter().map(|(name, _)| *name).collect();
    let fields = list["items"][0]["status"]["packets"]
        .as_object()
        .expect("an object");
    assert_eq!(names, fields.keys().collect::<Vec<_>>());
}

#[test]
fn readers_forgive_what_is_new() {
    let mut newer = serde_json::to_value(view()).expect("JSON");
    newer["status"]["packets"]["teleported"] = json!(7);
    newer["status"]["mood"] = json!("fine");
    assert_eq!(serde_json::from_value::<FaultView>(newer).expect("read"), view());
    let event = json!({"seq": 1, "time": "2025-01-02T03:04:05Z", "kind": "FaultSang", "message": "la"});
    assert_eq!(
        serde_json::from_value::<Event>(event).expect("read").kind,
        EventKind::Unknown
    );
}

#[test]
fn problems_follow_rfc_9457() {
    let path = SpecPath::from_pointer("/items/2/spec/target/cgroup");
    let error = ProblemError::from(SpecError::new(path, "no such cgroup", "start the service first"));
    let problem = Problem::new(422, "The fault cannot be carried out", "1 error").with_errors(vec![error]);
    assert_eq!(
        serde_json::to_value(&problem).expect("JSON"),
        json!({
            "type": "about:blank", "title": "The fault cannot be carried out", "status": 422, "detail": "1 error",
            "errors": [{
                "pointer": "/items/2/spec/target/cgroup", "path": "items[2].spec.target.cgroup",
                "message": "no such cgroup", "remedy": "start the service first"
            }]
        })
    );
}

#[test]
fn pointers_survive_odd_names() {
    let path = SpecPath::root().field("metadata").field("labels").field("a/b~c");
    assert_eq!(path.pointer(), "/metadata/labels/a~1b~0c");
    assert_eq!(SpecPath::from_pointer(&path.pointer()), path);
}

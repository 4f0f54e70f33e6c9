//! What a fault could leave behind, before and after: links, queueing disciplines, BPF programs.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::stage::{Stage, ip};
use crate::process::{capture, find_program};

/// Links and qdiscs of the demo's namespaces, and those of the machine's own.
#[derive(Debug, PartialEq)]
pub(super) struct Snapshot {
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq)]
struct Part {
    what: String,
    list: Vec<Value>,
}

impl Snapshot {
    pub(super) fn take(stage: &Stage) -> Result<Self> {
        let mut parts = Vec::new();
        for netns in stage.namespaces() {
            parts.push(Part {
                what: format!("ip -n {netns} -j link"),
                list: list(&ip(&["-n", netns, "-j", "link"])?)?,
            });
            parts.push(Part {
                what: format!("tc -n {netns} -j qdisc"),
                list: list(&tc(&["-n", netns, "-j", "qdisc"])?)?,
            });
        }
        parts.push(Part {
            what: "tc -j qdisc".into(),
            list: list(&tc(&["-j", "qdisc"])?)?,
        });
        Ok(Self { parts })
    }

    /// Lines that say what differs; none when all is as it was. In the machine's own namespace a device may come
    /// or go meanwhile for other reasons, so only devices that are in both are compared there.
    pub(super) fn differences(&self, after: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (old, new) in self.parts.iter().zip(&after.parts) {
            let shared = old.what == "tc -j qdisc";
            let gone = missing(&old.list, &new.list, shared);
            let added = missing(&new.list, &old.list, shared);
            lines.extend(gone.iter().map(|item| format!("{}: gone: {item}", old.what)));
            lines.extend(added.iter().map(|item| format!("{}: new: {item}", old.what)));
        }
        lines
    }
}

/// Items of `of` that `from` lacks; with `shared`, only those of devices that both know.
fn missing<'a>(of: &'a [Value], from: &[Value], shared: bool) -> Vec<&'a Value> {
    of.iter()
        .filter(|item| !from.contains(item))
        .filter(|item| !shared || from.iter().any(|other| other["dev"] == item["dev"]))
        .collect()
}

fn tc(args: &[&str]) -> Result<String> {
    capture(Command::new(find_program("tc").context("no `tc`")?).args(args))
}

fn list(json: &str) -> Result<Vec<Value>> {
    serde_json::from_str(json).with_context(|| format!("no JSON list: {json}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(what: &str, json: &str) -> Snapshot {
        Snapshot {
            parts: vec![Part {
                what: what.into(),
                list: list(json).expect("a list"),
            }],
        }
    }

    #[test]
    fn a_qdisc_that_stays_behind_is_a_difference() {
        let clean = r#"[{"dev": "demo-client", "kind": "noqueue"}]"#;
        let dirty =
            r#"[{"dev": "demo-client", "kind": "noqueue"}, {"dev": "demo-client", "kind": "clsact"}]"#;
        for what in ["tc -n x -j qdisc", "tc -j qdisc"] {
            let (before, after) = (snapshot(what, clean), snapshot(what, dirty));
            assert_eq!(before.differences(&after).len(), 1, "{what}");
            assert!(before.differences(&before).is_empty());
        }
    }

    #[test]
    fn a_foreign_device_may_come_in_the_machines_own_namespace_only() {
        let before = r#"[{"dev": "a", "kind": "noqueue"}]"#;
        let after = r#"[{"dev": "a", "kind": "noqueue"}, {"dev": "docker0", "kind": "noqueue"}]"#;
        assert!(
            snapshot("tc -j qdisc", before)
                .differences(&snapshot("tc -j qdisc", after))
                .is_empty()
        );
        let own = "tc -n x -j qdisc";
        assert_eq!(snapshot(own, before).differences(&snapshot(own, after)).len(), 1);
    }
}

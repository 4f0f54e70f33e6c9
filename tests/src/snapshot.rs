//! What a namespace's devices look like, to see that a fault left nothing.

use std::fmt::Write as _;

use aya::programs::TcAttachType;
use serde_json::Value;

use crate::bpf::tcx_programs;
use crate::skip::require_program;
use crate::{Device, Netns, run};

/// Links, qdiscs, filters, programs and offloads of a namespace, without counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    lines: Vec<String>,
}

impl Snapshot {
    /// Of `netns`; `devices` are those whose filters, programs and offloads are looked at, too.
    pub fn of(netns: &Netns, devices: &[&Device]) -> Self {
        let mut text = String::new();
        let mut section = |name: &str, value: &str| {
            let _ = writeln!(text, "# {name}\n{value}");
        };
        section("ip link", &pretty(&netns.run(&["ip", "-j", "-d", "link"])));
        section("ip address", &pretty(&netns.run(&["ip", "-j", "address"])));
        section("tc qdisc", &pretty(&netns.run(&["tc", "-j", "qdisc"])));
        for device in devices {
            assert_eq!(device.netns().name(), netns.name(), "a device of this namespace");
            let name = device.name();
            section(
                "tc class",
                &pretty(&netns.run(&["tc", "-j", "class", "show", "dev", name])),
            );
            for (way, attach) in [
                ("ingress", TcAttachType::Ingress),
                ("egress", TcAttachType::Egress),
            ] {
                let filters = netns.run(&["tc", "-j", "filter", "show", "dev", name, way]);
                section(&format!("tc filter {name} {way}"), &pretty(&filters));
                section(
                    &format!("tcx {name} {way}"),
                    &tcx_programs(device, attach).join("\n"),
                );
            }
            if require_program("ethtool").is_ok() {
                section(
                    &format!("ethtool -k {name}"),
                    &netns.enter(|| run(&["ethtool", "-k", name])),
                );
            }
        }
        if require_program("bpftool").is_ok() {
            section("bpftool net", &pretty(&netns.run(&["bpftool", "-j", "net"])));
        }
        Self {
            lines: text.lines().map(str::to_owned).collect(),
        }
    }

    /// Of the devices' own namespaces, in this order.
    pub fn of_devices(devices: &[&Device]) -> Self {
        let lines = devices
            .iter()
            .flat_map(|device| Self::of(device.netns(), &[device]).lines)
            .collect();
        Self { lines }
    }

    /// # Panics
    /// When it differs from `before`; the message has the lines that came and went.
    #[track_caller]
    pub fn assert_same_as(&self, before: &Self) {
        if self == before {
            return;
        }
        let missing = before
            .lines
            .iter()
            .filter(|line| !self.lines.contains(line))
            .map(|line| format!("- {line}"));
        let extra = self
            .lines
            .iter()
            .filter(|line| !before.lines.contains(line))
            .map(|line| format!("+ {line}"));
        let difference: Vec<String> = missing.chain(extra).collect();
        panic!(
            "the namespace is not as it was before:\n{}",
            difference.join("\n")
        );
    }
}

/// One fact a line, so that a difference is short; counters and times left out.
fn pretty(json: &str) -> String {
    if json.trim().is_empty() {
        return String::new();
    }
    match serde_json::from_str::<Value>(json) {
        Ok(value) => {
            let mut text = String::new();
            flatten(&value, &mut String::new(), &mut text);
            text
        }
        // tc prints classes and some filters as plain text all the same.
        Err(_) => json.to_owned(),
    }
}

fn flatten(value: &Value, path: &mut String, text: &mut String) {
    // The id under which netlink knows a peer's namespace: made when somebody first asks for it.
    const VOLATILE: [&str; 9] = [
        "stats",
        "stats64",
        "bytes",
        "packets",
        "drops",
        "valid_life_time",
        "link_netnsid",
        "tentative",
        "preferred_life_time",
    ];
    // How long a bridge's timers have still to run.
    let is_volatile = |name: &str| VOLATILE.contains(&name) || name.ends_with("_timer");
    let length = path.len();
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter().filter(|(name, _)| !is_volatile(name)) {
                let _ = write!(path, ".{name}");
                flatten(field, path, text);
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let _ = write!(path, "[{index}]");
                flatten(item, path, text);
                path.truncate(length);
            }
        }
        plain => {
            let _ = writeln!(text, "{path} = {plain}");
        }
    }
}

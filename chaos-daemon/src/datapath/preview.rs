//! What arming would come to, or came to.

use chaos_ebpf_common::abi::Hook;
use chaos_spec::WarningKind;
use chaos_spec::api::{Attachment, HostChange, Line, Mode, PlannedFault, PlannedRule, ResolvedTarget};

use super::{Arm, Datapath, DatapathError, Record, space::TcMode, wire_hook};
use crate::{
    plan::{self, Context},
    target::{Identity, Interface, OURS, Place, Resolved},
};

/// What arming would come to.
pub(super) fn plan(datapath: &Datapath, arm: &Arm) -> Result<PlannedFault, DatapathError> {
    let context = Context {
        seed: arm.seed,
        addresses: &arm.addresses,
    };
    let mut drafts = plan::drafts(&arm.spec, &context)?;
    datapath.fit(arm, &mut drafts)?;
    let mut planned = PlannedFault {
        name: arm.name.clone(),
        ..PlannedFault::default()
    };
    let direction = arm.spec.traffic.direction;
    let mut hooks = Vec::new();
    let mut entrances = Vec::new();
    for place in &arm.target.places {
        planned.targets.push(resolved(&arm.target, place));
        let space = datapath.spaces.values().find(|space| space.netns == place.netns);
        let mut here = Vec::new();
        if direction.has_egress() {
            here.push(Hook::Egress);
        }
        if direction.has_ingress() {
            here.push(datapath.arriving_hook(arm, place, space.map_or(u32::MAX, |space| space.index)));
        }
        for hook in here {
            let mode = match (hook, datapath.capabilities.tc) {
                (Hook::Xdp, _) => Mode::XdpNative,
                (_, TcMode::Tcx) => Mode::Tcx,
                (_, TcMode::Clsact) => Mode::Clsact,
            };
            let way = datapath.way(arm, &drafts, space.map(|space| space.index), hook)?;
            let line = way.line;
            for interface in &place.interfaces {
                planned
                    .attachments
                    .push(attachment(place.netns.label.clone(), interface, hook, mode, line));
                if line == Some(Line::User) && hook == Hook::Egress && arm.spec.fault.bandwidth.is_some() {
                    let what = format!(
                        "a TAP device ({OURS}N) with htb in {}, to hold senders back",
                        place.netns.label
                    );
                    if planned.host_changes.iter().all(|change| change.what != what) {
                        planned.host_changes.push(HostChange {
                            what,
                            undone_by: "the end of the fault, or the end of the daemon's process".to_owned(),
                        });
                    }
                }
                if way.cable {
                    let what = format!(
                        "a veth device ({OURS}N) with fq in {} for {}, its far end in a namespace of the daemon",
                        place.netns.label, interface.name
                    );
                    if planned.host_changes.iter().all(|change| change.what != what) {
                        planned.host_changes.push(HostChange {
                            what,
                            undone_by: "the end of the fault, or the end of the daemon's process".to_owned(),
                        });
                    }
                }
                if way.thread && !entrances.contains(&(place.netns.inode, interface.index)) {
                    entrances.push((place.netns.inode, interface.index));
                    planned.host_changes.push(HostChange {
                        what: format!(
                            "a TAP device ({OURS}N) in {} for {}",
                            place.netns.label, interface.name
                        ),
                        undone_by: "the end of the fault, or the end of the daemon's process".to_owned(),
                    });
                }
                if mode == Mode::Clsact {
                    planned.host_changes.push(HostChange {
                        what: format!(
                            "a clsact qdisc and a filter on {} in {}",
                            interface.name, place.netns.label
                        ),
                        undone_by: "the end of the fault, or the next start of the daemon".to_owned(),
                    });
                }
            }
            if !hooks.contains(&hook) {
                hooks.push(hook);
            }
        }
    }
    // Faults act in the order of their creation; one that is changed keeps its place.
    let place = |order: u32, fault: &str, text: String| (order, fault.to_owned(), text);
    let mut rules: Vec<(u32, String, String)> = Vec::new();
    for record in datapath.faults.values().filter(|record| record.arm.id != arm.id) {
        let mut theirs = record.arm.target.places.iter();
        if theirs.any(|p| arm.target.places.iter().any(|q| p.netns == q.netns)) {
            let texts = record
                .places
                .iter()
                .map(|p| plan::rule_text(&record.arm.spec, p.hook));
            rules.extend(texts.map(|text| place(record.order, &record.name, text)));
        }
    }
    let own = datapath
        .faults
        .get(&arm.id)
        .map_or(u32::MAX, |record| record.order);
    let texts = hooks.into_iter().map(|hook| plan::rule_text(&arm.spec, hook));
    rules.extend(texts.map(|text| place(own, &arm.name, text)));
    rules.sort_by_key(|(order, ..)| *order);
    planned.rules = (1..)
        .zip(rules)
        .map(|(order, (_, fault, text))| PlannedRule { order, fault, text })
        .collect();
    Ok(planned)
}

fn resolved(target: &Resolved, place: &Place) -> ResolvedTarget {
    let (cgroup_ids, cgroup_path, pid) = match &target.identity {
        Identity::Whole => (Vec::new(), None, None),
        Identity::Cgroup { id, path, .. } => (vec![*id], Some(path.display().to_string()), None),
        Identity::Process { pid } => (Vec::new(), None, Some(*pid)),
    };
    ResolvedTarget {
        netns: place.netns.label.clone(),
        netns_inode: Some(place.netns.inode),
        interfaces: place
            .interfaces
            .iter()
            .map(|interface| interface.name.clone())
            .collect(),
        cgroup_ids,
        cgroup_path,
        pid,
    }
}

/// The namespace as a target would name it; `host` for the daemon's own.
fn name_or_path(label: &str) -> String {
    match label.split_once(':') {
        Some(("netns", name)) => name.to_owned(),
        Some(("pid", pid)) => format!("/proc/{pid}/ns/net"),
        _ => label.to_owned(),
    }
}

pub(super) fn attachment(
    netns: String,
    interface: &Interface,
    hook: Hook,
    mode: Mode,
    line: Option<Line>,
) -> Attachment {
    Attachment {
        netns: name_or_path(&netns),
        interface: interface.name.clone(),
        hook: wire_hook(hook),
        mode,
        line,
    }
}

/// What arming came to.
pub(super) fn answer(datapath: &Datapath, record: &Record) -> super::Armed {
    let mut answer = super::Armed {
        deadline_boot_ns: record.deadline,
        ..super::Armed::default()
    };
    for place in &record.places {
        let Some(space) = datapath.spaces.get(&place.space) else {
            continue;
        };
        let line = place.way.line;
        for interface in &place.interfaces {
            let Some(mode) = space.mode(interface.index, place.hook) else {
                continue;
            };
            answer
                .attachments
                .push(attachment(place.label.clone(), interface, place.hook, mode, line));
            match mode {
                Mode::Clsact => answer.warnings.push(WarningKind::ClsactFallback {
                    interface: interface.name.clone(),
                }),
                Mode::XdpNative => answer.warnings.push(WarningKind::XdpBeforeStack {
                    interface: interface.name.clone(),
                }),
                Mode::Tcx => {}
            }
        }
    }
    answer.warnings.dedup();
    answer
}

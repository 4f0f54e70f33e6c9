use crate::output::faults::way;
use std::collections::BTreeSet;
use std::fmt::Write;

use chaos_spec::api::{Plan, PlanApproval, PlannedFault, ResolvedTarget};

use super::Paint;
use super::faults::interface;

/// What would happen, in paragraphs: one a fault. Warnings are left to stderr.
pub(crate) fn plan_text(plan: &Plan) -> String {
    let paint = Paint::stdout();
    let mut text = String::new();
    for (place, fault) in plan.faults.iter().enumerate() {
        if place > 0 {
            text.push('\n');
        }
        text.push_str(&paint.heading(&format!("fault/{}", fault.name)));
        text.push('\n');
        for (heading, lines) in paragraphs(fault) {
            for (place, line) in lines.iter().enumerate() {
                let heading = if place == 0 { heading } else { "" };
                // Writing to a string cannot fail.
                let _ = writeln!(text, "  {heading:<11} {line}");
            }
        }
    }
    if let Some(PlanApproval {
        plan,
        severity,
        needed,
    }) = &plan.approval
    {
        let _ = write!(text, "\nplan {plan}, severity {severity}");
        if *needed {
            let _ = write!(
                text,
                "\n{}: somebody else has to approve it: chaosctl approve {plan}",
                paint.warning("needs a second person")
            );
        }
        text.push('\n');
    }
    text
}

fn paragraphs(fault: &PlannedFault) -> Vec<(&'static str, Vec<String>)> {
    let targets = fault.targets.iter().map(target).collect();
    let rules = fault.rules.iter().map(|rule| {
        let from = if rule.fault == fault.name {
            String::new()
        } else {
            format!("   [{}]", rule.fault)
        };
        format!("{}. {}{from}", rule.order, rule.text)
    });
    let mut attachments: Vec<_> = fault
        .attachments
        .iter()
        .map(|attachment| {
            format!(
                "{} {} ({})",
                interface(attachment),
                attachment.hook,
                way(attachment)
            )
        })
        .collect();
    let lines: BTreeSet<_> = fault.attachments.iter().filter_map(|at| at.line).collect();
    attachments.extend(
        lines
            .iter()
            .map(|line| format!("{}: {}", line.word(), line.reason())),
    );
    let changes = fault
        .host_changes
        .iter()
        .map(|change| format!("{} – undone by {}", change.what, change.undone_by));
    vec![
        ("target", or_none(targets)),
        ("rules", or_none(rules.collect())),
        ("attaches to", or_none(attachments)),
        ("changes", or_none(changes.collect())),
    ]
}

fn or_none(lines: Vec<String>) -> Vec<String> {
    if lines.is_empty() {
        vec!["nothing".to_owned()]
    } else {
        lines
    }
}

fn target(target: &ResolvedTarget) -> String {
    let mut parts = vec![format!("netns {}", target.netns.trim_start_matches("netns:"))];
    parts.extend(target.netns_inode.map(|inode| format!("(inode {inode})")));
    parts.extend(target.pid.map(|pid| format!("pid {pid}")));
    parts.extend(target.cgroup_path.as_ref().map(|path| format!("cgroup {path}")));
    if target.interfaces.is_empty() {
        parts.push("no interface".to_owned());
    } else {
        parts.push(format!("interfaces {}", target.interfaces.join(", ")));
    }
    parts.join(" ")
}

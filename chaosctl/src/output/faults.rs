use chaos_spec::FaultKind;
use chaos_spec::api::{Attachment, FaultView, HealthState, Packets, Phase, Reason};
use comfy_table::Color;
use jiff::Timestamp;

use super::{Column, Field, Table, left};

/// What the table of these has: counts of requests where something reads them, and more when it may be wide.
fn columns(wide: bool, counts_answers: bool) -> Vec<Column> {
    let mut columns = vec![Column::Word("NAME"), Column::Word("PHASE")];
    if wide {
        columns.extend([Column::Prose("REASON"), Column::Prose("HEALTH")]);
    }
    columns.extend([
        Column::Prose("WHAT"),
        Column::Prose("WHERE"),
        Column::Number("LEFT"),
        Column::Number("MATCHED"),
        Column::Number("AFFECTED"),
    ]);
    if counts_answers {
        columns.extend([Column::Number("ANSWERED"), Column::Number("UNSEEN")]);
    }
    if wide {
        columns.extend([
            Column::Word("HOOK"),
            Column::Word("MODE"),
            Column::Prose("INTERFACES"),
            Column::Word("SEED"),
        ]);
    }
    columns
}

/// One row a fault, in the order of the daemon.
pub(crate) fn fault_table(faults: &[FaultView], wide: bool, now: Timestamp, terminal: bool) -> String {
    let counts_answers = faults.iter().any(reads_requests);
    let mut table = Table::new(&columns(wide, counts_answers));
    for fault in faults {
        let status = &fault.status;
        let mut row: Vec<Field> = vec![fault.metadata.name.as_str().into(), phase(fault)];
        if wide {
            row.push(reason(fault));
            row.push(health(fault));
        }
        row.extend([
            what(fault).into(),
            fault.spec.target.to_string().into(),
            left(status, now).into(),
            status.packets.matched.to_string().into(),
            affected(&status.packets).into(),
        ]);
        if counts_answers {
            row.extend(answers(fault));
        }
        if wide {
            let attachments = &status.attachments;
            row.extend([
                distinct(attachments, |attachment| attachment.hook.to_string()).into(),
                distinct(attachments, way).into(),
                distinct(attachments, interface).into(),
                status
                    .seed
                    .map(|seed| seed.to_string())
                    .unwrap_or_default()
                    .into(),
            ]);
        }
        table.row(row);
    }
    table.render(terminal)
}

fn reads_requests(fault: &FaultView) -> bool {
    let fault = &fault.spec.fault;
    fault.has(FaultKind::Http) || fault.has(FaultKind::Dns)
}

/// How many requests or look-ups were answered, and how many packets the fault could not read.
fn answers(fault: &FaultView) -> [Field; 2] {
    let Packets { answered, unseen, .. } = fault.status.packets;
    if reads_requests(fault) {
        [answered.to_string().into(), unseen.to_string().into()]
    } else {
        ["".into(), "".into()]
    }
}

/// `tcx`, or `tcx + user line`.
pub(super) fn way(attachment: &Attachment) -> String {
    match attachment.line {
        Some(line) => format!("{} + {}", attachment.mode, line.word()),
        None => attachment.mode.to_string(),
    }
}

/// How a fault ended, in one line: `fault/drop-3f2a ended Deadline: 120 matched, 36 affected (30.0%)`.
pub(crate) fn outcome(fault: &FaultView) -> String {
    let status = &fault.status;
    let reason = status
        .reason
        .map(|reason| format!(" {reason}"))
        .unwrap_or_default();
    let message = status
        .message
        .as_ref()
        .map(|text| format!(" ({text})"))
        .unwrap_or_default();
    let counts: Vec<_> = status
        .packets
        .named()
        .into_iter()
        .filter(|(name, count)| *name == "matched" || *count > 0)
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    let share = match affected(&status.packets) {
        none if none.is_empty() => none,
        share => format!("; {share} affected"),
    };
    let name = &fault.metadata.name;
    format!(
        "fault/{name} ended{reason}{message}: {}{share}",
        counts.join(", ")
    )
}

fn phase(fault: &FaultView) -> Field {
    let phase = fault.status.phase;
    let color = match (phase, fault.status.reason) {
        (Phase::Active, _) => Color::DarkGreen,
        (Phase::Pending, _) => Color::DarkYellow,
        (Phase::Ended, Some(Reason::Error | Reason::Lease | Reason::Health | Reason::TargetGone)) => {
            Color::DarkRed
        }
        (Phase::Ended, _) => Color::DarkGrey,
    };
    Field::colored(phase.word(), color)
}

fn reason(fault: &FaultView) -> Field {
    match (fault.status.reason, &fault.status.message) {
        (Some(reason), Some(message)) => format!("{reason}: {message}").into(),
        (Some(reason), None) => reason.word().into(),
        (None, Some(message)) => message.as_str().into(),
        (None, None) => "".into(),
    }
}

/// `Well`, or what the first check that is not well has: `checkout Failing (2 of 3)`.
fn health(fault: &FaultView) -> Field {
    let rank = |state| match state {
        HealthState::Well => 0,
        HealthState::Unknown => 1,
        HealthState::Failing => 2,
        HealthState::Failed => 3,
    };
    // Of equal ones, the first.
    let worst = fault
        .status
        .health
        .iter()
        .rev()
        .max_by_key(|check| rank(check.state));
    match worst {
        None => "".into(),
        Some(check) => match check.state {
            HealthState::Well => Field::colored("Well", Color::DarkGreen),
            HealthState::Unknown => "Unknown".into(),
            HealthState::Failing | HealthState::Failed => {
                let (failures, most) = (check.failures, check.failure_threshold);
                let text = format!("{} {} ({failures} of {most})", check.name, check.state);
                Field::colored(text, Color::DarkRed)
            }
        },
    }
}

fn what(fault: &FaultView) -> String {
    chaos_spec::explain::summary(&fault.spec)
}

/// The share of matched packets to which something was done.
fn affected(packets: &Packets) -> String {
    if packets.matched == 0 {
        return String::new();
    }
    let acted = packets.matched.saturating_sub(packets.passed);
    format!("{:.1}%", acted as f64 / packets.matched as f64 * 100.0)
}

/// `eth0`, or `eth0@blue` in another network namespace.
pub(super) fn interface(attachment: &Attachment) -> String {
    match attachment.netns.as_str() {
        "host" => attachment.interface.clone(),
        netns => format!("{}@{netns}", attachment.interface),
    }
}

/// Each once, in the order of appearance.
fn distinct(attachments: &[Attachment], text: impl Fn(&Attachment) -> String) -> String {
    let mut seen: Vec<String> = Vec::new();
    for attachment in attachments {
        let text = text(attachment);
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    seen.join(",")
}

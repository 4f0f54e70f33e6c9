//! What `apply` and `inject` share: sending faults, and telling what became of them.

use std::fmt;

use chaos_spec::api::{FaultList, FaultView, Phase};
use chaos_spec::{Located, NetworkFault};

use crate::cli::Session;
use crate::failure::Failure;
use crate::manifest;
use crate::output::{Format, Paint, fault_table, rendered};

/// A fault after it was sent.
pub(super) struct Submitted {
    pub(super) view: FaultView,
    change: Change,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Created,
    Changed,
    Unchanged,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
        })
    }
}

/// Sends all faults in one request, `before` being what the daemon had. In the order in which they were given.
pub(super) async fn submit(
    session: &Session,
    faults: Vec<NetworkFault>,
    before: &FaultList,
) -> Result<Vec<Submitted>, Failure> {
    let names: Vec<String> = faults.iter().map(|fault| fault.name().to_owned()).collect();
    let mut answer = session.daemon.submit(faults).await?.items;
    let mut submitted = Vec::with_capacity(names.len());
    for name in names {
        let Some(place) = answer.iter().position(|view| view.metadata.name == name) else {
            let text = format!(
                "the daemon accepted {name} but its answer does not have it – see `chaosctl get faults`"
            );
            return Err(Failure::NotCarriedOut(text));
        };
        let view = answer.swap_remove(place);
        let old = before.items.iter().find(|view| view.metadata.name == name);
        submitted.push(Submitted {
            change: change(old, &view),
            view,
        });
    }
    Ok(submitted)
}

/// The same spec in the same run of its time is unchanged.
fn change(old: Option<&FaultView>, new: &FaultView) -> Change {
    match old {
        None => Change::Created,
        Some(old) if old.status.phase == Phase::Ended => Change::Created,
        Some(old) if old.spec == new.spec && old.status.ends_at == new.status.ends_at => Change::Unchanged,
        Some(_) => Change::Changed,
    }
}

/// Prints warnings to stderr, and each fault to stdout: one line, or as `format` has it.
pub(super) fn print(
    session: &mut Session,
    submitted: &[Submitted],
    format: Option<Format>,
) -> Result<(), Failure> {
    let several = submitted.len() > 1;
    for fault in submitted {
        let name = fault.view.metadata.name.as_str();
        session
            .out
            .warnings(several.then_some(name), &fault.view.status.warnings);
    }
    let views = || {
        submitted
            .iter()
            .map(|fault| fault.view.clone())
            .collect::<Vec<_>>()
    };
    let text = match format {
        None => {
            let paint = Paint::stdout();
            let line = |fault: &Submitted| {
                let change = fault.change.to_string();
                let change = if fault.change == Change::Unchanged {
                    paint.faint(&change)
                } else {
                    paint.good(&change)
                };
                format!("fault/{} {change}\n", fault.view.metadata.name)
            };
            submitted.iter().map(line).collect()
        }
        Some(Format::Name) => submitted
            .iter()
            .map(|fault| format!("fault/{}\n", fault.view.metadata.name))
            .collect(),
        Some(format) => match rendered(format, &FaultList { items: views() })? {
            Some(text) => text,
            None => {
                let wide = format == Format::Wide;
                fault_table(&views(), wide, jiff::Timestamp::now(), session.out.is_terminal())
            }
        },
    };
    session.out.data(&text)
}

/// A refusal by the daemon, with the places in the files that were sent.
pub(super) fn placed(failure: Failure, sent: &[Located]) -> Failure {
    match failure {
        Failure::Refused(mut refusal) => {
            manifest::place(refusal.errors_mut(), sent);
            Failure::Refused(refusal)
        }
        other => other,
    }
}

pub(super) fn faults_of(located: &[Located]) -> Vec<NetworkFault> {
    located.iter().map(|located| located.fault.clone()).collect()
}

//! `--wait`: from the start of a fault to its end.

use chaos_spec::api::{FaultList, FaultView, Phase, Reason};
use jiff::Timestamp;
use tokio::time::sleep;

use super::interrupts::{Interrupts, left};
use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format, outcome, rendered};
use crate::verb::ending::{Ending, LOOK_EVERY, end};

/// Waits until the fault ends, or ends it when interrupted. `documents`: print its last state as JSON or YAML.
pub(super) async fn follow(
    session: &mut Session,
    name: &str,
    documents: Option<Format>,
    mut interrupts: Interrupts,
) -> Result<Exit, Failure> {
    loop {
        if interrupts.any() {
            return roll_back(session, name, documents, interrupts).await;
        }
        // A request to stop cuts the look short, also one at a daemon that hangs.
        let look = tokio::select! {
            look = session.daemon.fault(name) => look,
            () = interrupts.next() => continue,
        };
        let fault = match look {
            Ok(Some(fault)) => fault,
            Ok(None) => {
                session.out.passed();
                return Err(Failure::NotCarriedOut(format!(
                    "the daemon no longer knows fault/{name}; it has ended, but how is not known – was the \
                     daemon started again? Its log tells"
                )));
            }
            Err(failure) => {
                session.out.passed();
                if failure.is_unreachable() {
                    session.out.progress(&format!(
                        "lost the daemon while fault/{name} was active; when the daemon is dead or hangs, its \
                         faults have ended with it"
                    ));
                }
                return Err(failure);
            }
        };
        if fault.status.phase == Phase::Ended {
            session.out.passed();
            print_end(session, &fault, documents)?;
            return ended(&fault);
        }
        session.out.passing(&progress(&fault));
        tokio::select! {
            () = sleep(LOOK_EVERY) => {}
            () = interrupts.next() => {}
        }
    }
}

async fn roll_back(
    session: &mut Session,
    name: &str,
    documents: Option<Format>,
    mut interrupts: Interrupts,
) -> Result<Exit, Failure> {
    session.out.passed();
    session.out.progress(&format!(
        "interrupted: ending fault/{name} (again to leave at once)"
    ));
    let ending = tokio::select! {
        ending = end(&session.daemon, name) => ending,
        () = interrupts.next() => return Err(left(name)),
    };
    match ending {
        Ok(Ending::Ended(view)) => {
            match view {
                Some(view) => print_end(session, &view, documents)?,
                None => session.out.progress(&format!("fault/{name} ended")),
            }
            Ok(Exit::INTERRUPTED)
        }
        Ok(Ending::Unknown) => Ok(Exit::INTERRUPTED),
        Err(failure @ Failure::RollbackIncomplete(_)) => Err(failure),
        Err(failure) => Err(Failure::RollbackIncomplete(format!(
            "fault/{name} could not be ended: {failure}; the kernel ends it when its time is over"
        ))),
    }
}

fn print_end(session: &mut Session, fault: &FaultView, documents: Option<Format>) -> Result<(), Failure> {
    let list = || FaultList {
        items: vec![fault.clone()],
    };
    let document = documents
        .map(|format| rendered(format, &list()))
        .transpose()?
        .flatten();
    session.out.data(&document.unwrap_or_else(|| outcome(fault)))
}

/// What the end of a fault means to whoever waited for it.
fn ended(fault: &FaultView) -> Result<Exit, Failure> {
    match fault.status.reason {
        Some(Reason::Error) => {
            let message = fault
                .status
                .message
                .as_deref()
                .unwrap_or("the daemon gives no reason; its log may");
            Err(Failure::NotCarriedOut(format!(
                "fault/{} could not be carried out: {message}",
                fault.metadata.name
            )))
        }
        None | Some(Reason::Deadline | Reason::Budget) => Ok(Exit::DONE),
        Some(
            Reason::Lease
            | Reason::Health
            | Reason::Halt
            | Reason::Deleted
            | Reason::Replaced
            | Reason::TargetGone,
        ) => Ok(Exit::ABORTED),
    }
}

/// `fault/drop-3f2a Active, 41s left, 120 matched, 84 passed`
fn progress(fault: &FaultView) -> String {
    let status = &fault.status;
    let left = output::left(status, Timestamp::now());
    let packets = &status.packets;
    let name = &fault.metadata.name;
    let acted = packets.matched.saturating_sub(packets.passed);
    format!(
        "fault/{name} {}, {left} left, {} matched, {acted} affected",
        status.phase, packets.matched
    )
}

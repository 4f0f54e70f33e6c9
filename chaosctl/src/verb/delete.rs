use std::io::{self, BufRead, IsTerminal, Write};
use std::pin::pin;
use std::time::Duration;

use chaos_spec::api::{Phase, Reason};
use clap::Args;
use futures_util::{StreamExt, stream};
use tokio::join;
use tokio::time::timeout;

use super::ending::{Ending, end};
use crate::cli::Session;
use crate::daemon::Daemon;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::nearest::nearest;
use crate::output::Paint;

/// How long a look may keep a deletion.
const GLANCE: Duration = Duration::from_millis(50);

/// Faults that are ended at the same time.
const AT_ONCE: usize = 16;

/// End faults before their time
///
/// Example:
///   chaosctl delete drop-3f2a
///   chaosctl delete --all --yes
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Delete {
    /// Names of faults, `drop-3f2a` or `fault/drop-3f2a`.
    #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
    names: Vec<String>,
    /// End every fault that has not ended. Asks first when run on a terminal.
    #[arg(long)]
    all: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

impl Delete {
    pub(crate) async fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        let names = if self.all {
            live(session).await?
        } else {
            self.names.iter().map(|name| bare(name)).collect()
        };
        if names.is_empty() {
            session.out.progress("there is no fault to end");
            return Ok(Exit::DONE);
        }
        if self.all && !self.yes && !agreed(&names) {
            session.out.progress("nothing was ended");
            return Ok(Exit::DONE);
        }
        // One that fails, or takes its time, does not keep the others from ending; the first failure is the one that is
        // told last.
        let Session { daemon, out, .. } = session;
        let ends = names.iter().map(|name| delete(daemon, name, self.all));
        let mut ends = stream::iter(ends).buffered(AT_ONCE);
        let mut failure = None;
        while let Some(end) = ends.next().await {
            let told = match end {
                Ok(Some(text)) => out.data(&text),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = told
                && let Some(earlier) = failure.replace(error)
            {
                out.progress(&format!("{} {earlier}", Paint::stderr().error("error:")));
            }
        }
        failure.map_or(Ok(Exit::DONE), Err)
    }
}

/// Ends a fault; what there is to tell. `gone_is_fine`: it was there a moment ago, so it ended by itself.
async fn delete(daemon: &Daemon, name: &str, gone_is_fine: bool) -> Result<Option<String>, Failure> {
    if name.is_empty() {
        return Err(Failure::Usage(
            "a name is empty – write the name of a fault".to_owned(),
        ));
    }
    let ending = if gone_is_fine {
        end(daemon, name).await?
    } else {
        match end_unless_ended(daemon, name).await? {
            Ok(ending) => ending,
            Err(reason) => return Ok(Some(had_ended(name, reason))),
        }
    };
    match ending {
        Ending::Ended(view) => {
            let reason = view.and_then(|view| view.status.reason);
            // Its end and the deletion can still cross.
            let other = reason.filter(|reason| *reason != Reason::Deleted);
            Ok(Some(match other {
                Some(_) => had_ended(name, other),
                None => format!("fault/{name} deleted"),
            }))
        }
        Ending::Unknown if gone_is_fine => Ok(None),
        Ending::Unknown => Err(unknown(daemon, name).await),
    }
}

/// Ends a fault; of one that had ended before, why.
async fn end_unless_ended(daemon: &Daemon, name: &str) -> Result<Result<Ending, Option<Reason>>, Failure> {
    // The answer to a deletion does not tell a fault that has just ended by it from one that was deleted an hour ago.
    let mut look = pin!(daemon.fault(name));
    let (before, ending) = match timeout(GLANCE, &mut look).await {
        Ok(before) => (before?, None),
        // A daemon that is at work is told at once: that stops the fault sooner than either is answered.
        Err(_) => {
            let (before, ending) = join!(look, end(daemon, name));
            (before?, Some(ending?))
        }
    };
    Ok(match (before, ending) {
        (Some(view), _) if view.status.phase == Phase::Ended => Err(view.status.reason),
        (_, Some(ending)) => Ok(ending),
        (_, None) => Ok(end(daemon, name).await?),
    })
}

fn had_ended(name: &str, reason: Option<Reason>) -> String {
    match reason {
        Some(reason) => format!("fault/{name} had ended already ({reason})"),
        None => format!("fault/{name} had ended already"),
    }
}

/// "There is no fault …", with the name that may have been meant.
pub(super) async fn unknown(daemon: &Daemon, name: &str) -> Failure {
    let faults = daemon.faults().await.unwrap_or_default();
    let known = faults.items.iter().map(|fault| fault.metadata.name.as_str());
    let remedy = match nearest(name, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None if faults.items.is_empty() => "there are no faults at all".to_owned(),
        None => "`chaosctl get faults` lists those that exist".to_owned(),
    };
    Failure::Usage(format!("there is no fault `{name}` – {remedy}"))
}

/// Without the `fault/` of `-o name`.
pub(super) fn bare(name: &str) -> String {
    name.strip_prefix("fault/").unwrap_or(name).to_owned()
}

async fn live(session: &Session) -> Result<Vec<String>, Failure> {
    let faults = session.daemon.faults().await?.items.into_iter();
    Ok(faults
        .filter(|fault| fault.status.phase != Phase::Ended)
        .map(|fault| fault.metadata.name)
        .collect())
}

/// Asks on a terminal; elsewhere `--all` is answer enough.
fn agreed(names: &[String]) -> bool {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return true;
    }
    let _ = write!(
        io::stderr(),
        "End {} fault(s): {}? [y/N] ",
        names.len(),
        names.join(", ")
    );
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.is_ok() && ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
}

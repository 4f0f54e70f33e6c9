use std::time::Duration;

use chaos_spec::api::{FaultList, FaultView, Phase};
use clap::Args;
use jiff::Timestamp;
use tokio::time::sleep;

use super::delete::{bare, unknown};
use super::{experiments, history, schedule};
use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, fault_table, rendered};

/// Ended faults that a table shows.
const ENDED_SHOWN: usize = 10;

/// Show faults and their counters, experiments, schedules, or what ran on this node before
///
/// `get faults` lists them all, those that ended recently included; `get faults NAME` shows one. AFFECTED is the
/// share of matched packets to which something was done; of http and dns, of requests and look-ups. `get history
/// [NAME]` shows what ran, also before a restart of the daemon, the newest first.
///
/// Example:
///   chaosctl get faults
///   chaosctl get faults drop-3f2a -o json
///   chaosctl get experiments
///   chaosctl get schedules
///   chaosctl get history --since 1h
///   chaosctl get faults -o wide --watch
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Get {
    /// `faults`, `experiments`, `schedules` or `history`, and the names of those to show; all when none is named.
    #[arg(value_name = "faults|experiments|schedules|history] [NAME")]
    words: Vec<String>,
    /// How to print them.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
    /// Show them again every second, until Ctrl-C.
    #[arg(short, long)]
    watch: bool,
    /// With --watch: how often.
    #[arg(long, value_name = "TIME", default_value = "1s", requires = "watch")]
    interval: chaos_spec::Duration,
    /// Of the history: what started at most this long ago.
    #[arg(long, value_name = "TIME")]
    since: Option<chaos_spec::Duration>,
    /// Of the history: so many runs at most.
    #[arg(long, value_name = "N", default_value = "50")]
    limit: usize,
}

impl Get {
    pub(crate) async fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        if let Some(("history", names)) = self
            .words
            .split_first()
            .map(|(first, names)| (first.as_str(), names))
        {
            if self.watch {
                return Err(Failure::Usage(
                    "--watch is for faults: the history only grows".to_owned(),
                ));
            }
            return history::show(session, names, self.since, self.limit, self.output).await;
        }
        if let Some(("experiment" | "experiments", names)) = self
            .words
            .split_first()
            .map(|(first, names)| (first.as_str(), names))
        {
            return experiments::show(session, names, self.output).await;
        }
        if let Some(("schedule" | "schedules", names)) = self
            .words
            .split_first()
            .map(|(first, names)| (first.as_str(), names))
        {
            return schedule::show(session, names, self.output).await;
        }
        if self.since.is_some() {
            return Err(Failure::Usage("--since is for `chaosctl get history`".to_owned()));
        }
        let names = names(&self.words)?;
        let single = names.len() == 1 && matches!(self.output, Format::Json | Format::Yaml);
        loop {
            let faults = faults(session, &names).await?;
            let text = match faults.as_slice() {
                [only] if single => rendered(self.output, only)?,
                _ => rendered(
                    self.output,
                    &FaultList {
                        items: faults.clone(),
                    },
                )?,
            };
            let text = match text {
                Some(text) => text,
                None if names.is_empty() => self.for_people(session, &recent(session, faults)),
                None => self.for_people(session, &faults),
            };
            let terminal = session.out.is_terminal();
            // Home, and what was there before is wiped: the table stands still.
            let home = if self.watch && terminal {
                "\x1b[H\x1b[2J"
            } else {
                ""
            };
            if !text.is_empty() || self.watch {
                session.out.data(&format!("{home}{text}"))?;
            }
            if !self.watch || session.out.is_closed() {
                return Ok(Exit::DONE);
            }
            sleep(self.interval.as_std().max(Duration::from_millis(50))).await;
        }
    }

    fn for_people(&self, session: &Session, faults: &[FaultView]) -> String {
        if self.output == Format::Name {
            return faults
                .iter()
                .map(|fault| format!("fault/{}\n", fault.metadata.name))
                .collect();
        }
        if faults.is_empty() {
            session
                .out
                .progress("there are no faults – start one with `chaosctl inject` or `chaosctl apply`");
            return String::new();
        }
        fault_table(
            faults,
            self.output == Format::Wide,
            Timestamp::now(),
            session.out.is_terminal(),
        )
    }
}

/// What a person looks for in a table: all that runs, and the latest of those that ended. Data formats and
/// named faults leave nothing out.
fn recent(session: &Session, faults: Vec<FaultView>) -> Vec<FaultView> {
    let ended = faults
        .iter()
        .filter(|fault| fault.status.phase == Phase::Ended)
        .count();
    let mut hidden = ended.saturating_sub(ENDED_SHOWN);
    if hidden > 0 {
        session.out.progress(&format!(
            "and {hidden} that ended before – name one to see it, or use -o json for all"
        ));
    }
    faults
        .into_iter()
        .filter(|fault| {
            let hide = fault.status.phase == Phase::Ended && hidden > 0;
            hidden -= usize::from(hide);
            !hide
        })
        .collect()
}

/// `get`, `get faults`, `get faults NAME …`, `get fault/NAME`, `get NAME`.
fn names(words: &[String]) -> Result<Vec<String>, Failure> {
    let names = match words.split_first() {
        Some((first, names)) => match first.as_str() {
            "fault" | "faults" | "networkfault" | "networkfaults" => names,
            _ => words,
        },
        None => words,
    };
    if names.iter().any(String::is_empty) {
        return Err(Failure::Usage(
            "a name is empty – write the name of a fault, or none for all".to_owned(),
        ));
    }
    Ok(names.iter().map(|name| bare(name)).collect())
}

/// All faults, or the named ones in the order of their names on the command line.
async fn faults(session: &Session, names: &[String]) -> Result<Vec<FaultView>, Failure> {
    if names.is_empty() {
        return Ok(session.daemon.faults().await?.items);
    }
    let mut faults = Vec::with_capacity(names.len());
    for name in names {
        match session.daemon.fault(name).await? {
            Some(fault) => faults.push(fault),
            None => return Err(unknown(&session.daemon, name).await),
        }
    }
    Ok(faults)
}

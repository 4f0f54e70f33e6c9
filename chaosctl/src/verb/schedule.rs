use std::path::PathBuf;

use chaos_spec::api::{ScheduleList, ScheduleView};
use chaos_spec::catalog::MISSION_KIND;
use chaos_spec::schedule::{Begins, LocatedSchedule, ScheduleSubmission};
use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::catalog::Shelf;
use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::manifest;
use crate::nearest::nearest;
use crate::output::{Format, Listing, rendered, schedule_table};

/// Let experiments begin by themselves
///
/// A file has one Schedule, and behind a line of `---` an Experiment with its NetworkFaults, or a Mission. The daemon
/// keeps it, also across restarts; its experiments begin in the name of whoever added it.
///
/// Example:
///   chaosctl schedule add weekly.yaml
///   chaosctl schedule next weekly.yaml
///   chaosctl get schedules
///   chaosctl schedule remove weekly
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Schedule {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Add(Add),
    Next(Next),
    Remove(Remove),
}

/// Keep a schedule on the daemon, in place of one of the same name
#[derive(Args, Debug)]
struct Add {
    /// A file, or `-` for standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    shelf: Shelf,
    /// How to print it.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// Show when a schedule would begin its experiment; needs no daemon
#[derive(Args, Debug)]
struct Next {
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// So many times.
    #[arg(long, value_name = "N", default_value = "5")]
    count: usize,
}

/// Forget a schedule; what it began goes on
#[derive(Args, Debug)]
struct Remove {
    #[arg(value_name = "NAME")]
    name: String,
}

impl Schedule {
    pub(crate) async fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        match self.verb {
            Verb::Add(verb) => verb.run(session).await,
            Verb::Next(verb) => verb.run(session),
            Verb::Remove(verb) => verb.run(session).await,
        }
    }
}

impl Add {
    async fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        let located = manifest::read_schedule(&self.file)?;
        let submission = submission(located, &self.shelf)?;
        let view = session.daemon.add_schedule(&submission).await?;
        let text = match rendered(self.output, &view)? {
            Some(text) => text,
            None => schedule_table(&[view], session.out.is_terminal()),
        };
        session.out.data(&text)?;
        Ok(Exit::DONE)
    }
}

/// With the mission's experiment in its place, and its windows.
fn submission(located: LocatedSchedule, shelf: &Shelf) -> Result<ScheduleSubmission, Failure> {
    let file = located.file().to_owned();
    let mut schedule = located.schedule;
    let run = match located.begins {
        Begins::Run(run) => *run,
        Begins::Mission(mission) => {
            let windows = &mission.mission.spec.windows;
            if !windows.is_empty() && !schedule.spec.windows.is_empty() {
                let text = format!(
                    "{file}: both the Schedule and the {MISSION_KIND} have `windows` – keep those of one"
                );
                return Err(Failure::Usage(text));
            }
            schedule.spec.windows.extend(windows.iter().cloned());
            shelf.run_of(&mission)?.0
        }
    };
    Ok(ScheduleSubmission {
        schedule,
        run: run.submission(),
    })
}

impl Next {
    fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        let schedule = manifest::read_schedule(&self.file)?.schedule;
        let mut text = format!("{}: {}\n", schedule.name(), schedule.spec.cron.describe());
        let mut moment = Timestamp::now();
        for _ in 0..self.count.min(1000) {
            let Some(next) = schedule.spec.after(moment) else {
                break;
            };
            let verdict = match schedule.spec.verdict_at(next) {
                None => String::new(),
                Some(why) => format!("  does not begin: {why}"),
            };
            text.push_str(&format!("  {next}{verdict}\n"));
            moment = next;
        }
        session.out.data(&text)?;
        Ok(Exit::DONE)
    }
}

impl Remove {
    async fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        let name = self.name.strip_prefix("schedule/").unwrap_or(&self.name);
        match session.daemon.remove_schedule(name).await? {
            Some(_) => {
                session.out.data(&format!("schedule/{name} removed"))?;
                Ok(Exit::DONE)
            }
            None => Err(unknown(session, name).await),
        }
    }
}

/// `get schedules`.
pub(super) async fn show(session: &mut Session, names: &[String], format: Format) -> Result<Exit, Failure> {
    let mut items = session.daemon.schedules().await?.items;
    for name in names {
        if !items.iter().any(|view| view.name() == name) {
            return Err(unknown(session, name).await);
        }
    }
    if !names.is_empty() {
        items.retain(|view| names.iter().any(|name| name == view.name()));
    }
    Listing {
        kind: "schedule",
        items,
        asked: names.len(),
        name: ScheduleView::name,
        table: schedule_table,
        nothing: "nothing begins by itself – `chaosctl schedule add FILE` changes that",
    }
    .print(&mut session.out, format, |items| ScheduleList { items })
}

async fn unknown(session: &Session, name: &str) -> Failure {
    let known = session.daemon.schedules().await.unwrap_or_default().items;
    let remedy = match nearest(name, known.iter().map(|view| view.name())) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`chaosctl get schedules` lists them".to_owned(),
    };
    Failure::Usage(format!("there is no schedule `{name}` – {remedy}"))
}

use std::path::PathBuf;
use std::time::Duration;

use chaos_spec::api::{ExperimentStatus, ExperimentView, ProblemError};
use chaos_spec::catalog::{Signal, SignalSeen, signals_of};
use chaos_spec::experiment::LocatedRun;
use chaos_spec::path::Step;
use chaos_spec::{SpecError, SpecPath};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::catalog::Shelf;
use super::report;
use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::manifest;
use crate::output::{Format, Paint, rendered};

/// How often the daemon is asked how it goes.
const PACE: Duration = Duration::from_millis(250);
/// A daemon that restarts, or a line that breaks, is waited for so long; the experiment goes on without us.
const PATIENCE: u32 = 20;

/// Run an experiment: look, inject, watch, roll back, look again
///
/// The files have one Experiment, and the NetworkFaults that its steps name; or one file has a Mission, which makes both
/// of an entry of the catalogue. The daemon carries it out: it goes on when this terminal goes away. Ctrl-C rolls back; a
/// second one leaves, and the daemon still rolls back.
///
/// Example:
///   chaosctl run checkout.yaml --report out/
///   chaosctl run missions/orders-without-dns.yaml
///
/// Exit codes: 0 the hypothesis held, 10 refuted, 11 aborted and rolled back, 12 no steady state, not started,
/// 13 rollback incomplete, 14 refused by policy or outside of the mission's window, 15 did not recover,
/// 130 interrupted and rolled back.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Run {
    /// Files, directories, or `-` for standard input.
    #[arg(value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    shelf: Shelf,
    #[command(flatten)]
    manner: Manner,
}

/// How a run is followed.
#[derive(Args, Debug)]
pub(super) struct Manner {
    /// Write report.json, report.md, report.html and junit.xml into this directory.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Begin it, and do not wait for its end.
    #[arg(long, conflicts_with = "report")]
    detach: bool,
    /// How to print the result.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

impl Run {
    pub(crate) async fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        if let Some(mission) = manifest::read_mission(&self.files)? {
            let (run, signals) = self.shelf.of_mission(&mission)?;
            return self.manner.carry_out(session, &run, &signals).await;
        }
        let run = manifest::read_run(&self.files)?;
        self.manner.carry_out(session, &run, &[]).await
    }
}

impl Manner {
    /// Begins a run and follows it to its end. `signals` are what should be seen.
    pub(super) async fn carry_out(
        &self,
        session: &mut Session,
        run: &LocatedRun,
        signals: &[Signal],
    ) -> Result<Exit, Failure> {
        if let Some(folder) = &self.report {
            report::make_folder(folder)?;
        }
        // Before anything is begun: what is typed from here on rolls back.
        let mut interrupts = signal(SignalKind::interrupt()).map_err(Failure::Runtime)?;
        let mut terminations = signal(SignalKind::terminate()).map_err(Failure::Runtime)?;
        let started = session.daemon.start_experiment(&run.submission()).await;
        let started = started.map_err(|failure| placed(failure, run))?;
        if self.detach {
            session.out.data(&format!("experiment/{}", started.id))?;
            return Ok(Exit::DONE);
        }
        session.out.progress(&format!(
            "{}: {} ({})",
            started.name(),
            started.spec.hypothesis,
            started.id
        ));
        let mut follower = Follower::default();
        let mut orders = 0;
        let over = loop {
            tokio::select! {
                biased;
                _ = interrupts.recv() => orders += 1,
                _ = terminations.recv() => orders += 1,
                view = follower.look(session, &started.id) => {
                    if let Some(view) = view? {
                        break view;
                    }
                    continue;
                }
            }
            if orders > 1 {
                session.out.progress("left; the daemon rolls it back");
                return Ok(Exit::INTERRUPTED);
            }
            session.out.progress("rolling back …");
            session.daemon.stop_experiment(&started.id).await?;
        };
        self.tell(session, &over, signals)
    }

    fn tell(
        &self,
        session: &mut Session,
        view: &ExperimentView,
        signals: &[Signal],
    ) -> Result<Exit, Failure> {
        let status = &view.status;
        for warning in &status.warnings {
            session
                .out
                .progress(&format!("{} {warning}", Paint::stderr().warning("warning:")));
        }
        if let Some(folder) = &self.report {
            report::write_all(folder, view)?;
            session
                .out
                .progress(&format!("report: {}", folder.join("report.html").display()));
        }
        let text = match self.output {
            Some(format) => rendered(format, view)?,
            None => None,
        };
        let text = match text {
            Some(text) => text,
            None => in_words(view) + &seen_in_words(&signals_of(signals, view)),
        };
        session.out.data(&text)?;
        Ok(status.outcome.map_or(Exit::INTERNAL, Exit::of_outcome))
    }
}

/// A line for each thing that should have been seen.
fn seen_in_words(signals: &[SignalSeen]) -> String {
    let paint = Paint::stdout();
    let line = |signal: &SignalSeen| {
        let word = match signal.seen {
            Some(true) => paint.good("seen"),
            Some(false) => paint.warning("not seen"),
            None => "look yourself".to_owned(),
        };
        format!("  {word}: {}\n", signal.what)
    };
    signals.iter().map(line).collect()
}

/// The outcome, and a line for each probe.
fn in_words(view: &ExperimentView) -> String {
    let status = &view.status;
    let paint = Paint::stdout();
    let outcome = status.outcome.map_or("under way", |outcome| outcome.words());
    let outcome = if status.outcome.is_some_and(|it| it.exit_code() == 0) {
        paint.good(outcome)
    } else {
        paint.error(outcome)
    };
    let mut text = format!("{}: {outcome}\n", view.name());
    if let Some(message) = &status.message {
        text.push_str(&format!("  {message}\n"));
    }
    for probe in &status.probes {
        let share = |seen: &chaos_spec::api::Seen| match seen.samples {
            0 => "–".to_owned(),
            samples => format!("{:.1} %", (samples - seen.failed) as f64 / samples as f64 * 100.0),
        };
        let p95 = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.1} ms"));
        text.push_str(&format!(
            "  {}: well {} before, {} during, {} after; p95 {} before, {} during\n",
            probe.name,
            share(&probe.baseline),
            share(&probe.during),
            share(&probe.after),
            p95(probe.baseline.p95_ms),
            p95(probe.during.p95_ms),
        ));
    }
    for fault in &status.faults {
        text.push_str(&format!(
            "  {}: {} – {} packets matched\n",
            fault.name, fault.what, fault.packets.matched
        ));
    }
    if let Some(took) = status.recovery.as_ref().and_then(|recovery| recovery.took_ms) {
        text.push_str(&format!("  well again after {took:.0} ms\n"));
    }
    text
}

/// Follows a run and tells of what is new.
#[derive(Default)]
struct Follower {
    /// Phases and steps that were told.
    phases: usize,
    steps: usize,
    failures: u32,
}

impl Follower {
    /// The run, once it is over.
    async fn look(&mut self, session: &mut Session, id: &str) -> Result<Option<ExperimentView>, Failure> {
        sleep(PACE).await;
        let view = match session.daemon.glance(id).await {
            Ok(Some(view)) => view,
            Ok(None) => {
                let text = format!("the daemon knows nothing of {id} any more – its log says why");
                return Err(Failure::NotCarriedOut(text));
            }
            Err(failure) if failure.is_unreachable() && self.failures < PATIENCE => {
                self.failures += 1;
                return Ok(None);
            }
            Err(failure) => return Err(failure),
        };
        self.failures = 0;
        self.tell(session, &view.status);
        if !view.is_over() {
            return Ok(None);
        }
        session.daemon.experiment(id).await
    }

    fn tell(&mut self, session: &Session, status: &ExperimentStatus) {
        let phases = status.phases.iter().skip(self.phases);
        let phases = phases.map(|phase| (phase.at, phase.phase.words().to_owned()));
        let steps = status.steps.iter().skip(self.steps);
        let steps = steps.map(|step| (step.started_at, format!("  {} {}", step.name, step.settings)));
        let mut news: Vec<_> = phases.chain(steps).collect();
        (self.phases, self.steps) = (status.phases.len(), status.steps.len());
        news.sort_by_key(|(at, _)| *at);
        for (at, text) in news {
            let since = status
                .started_at
                .map_or(0.0, |start| at.duration_since(start).as_secs_f64());
            let since = Paint::stderr().faint(&format!("{since:6.1} s"));
            session.out.progress(&format!("{since}  {}", text.trim_end()));
        }
        let seen: Vec<String> = status
            .probes
            .iter()
            .map(|probe| {
                let last = probe.series.last();
                let said = last.map_or("…", |point| if point.ok { "well" } else { "failed" });
                format!("{} {said}", probe.name)
            })
            .collect();
        if status.outcome.is_some() {
            session.out.passed();
        } else {
            session.out.passing(&seen.join("  "));
        }
    }
}

/// A refusal by the daemon, with the places in the files.
fn placed(failure: Failure, run: &LocatedRun) -> Failure {
    match failure {
        Failure::Refused(mut refusal) => {
            for error in refusal.errors_mut() {
                place(error, run);
            }
            Failure::Refused(refusal)
        }
        other => other,
    }
}

fn place(error: &mut ProblemError, run: &LocatedRun) {
    let path = SpecPath::from_pointer(&error.pointer);
    let [Step::Field(part), inside @ ..] = path.steps() else {
        return;
    };
    if part == "experiment" {
        let inside = inside.iter().fold(SpecPath::root(), |path, step| match step {
            Step::Field(name) => path.field(name.clone()),
            Step::Index(index) => path.index(*index),
        });
        let told = run.diagnose(SpecError::new(inside.clone(), String::new(), String::new()));
        error.line = told.line();
        error.column = told.column();
        error.file = Some(run.file().to_owned());
        error.path = inside.to_string();
    }
}

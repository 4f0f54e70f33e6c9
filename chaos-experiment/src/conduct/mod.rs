//! Carries an experiment out, from the first question to the last.

mod abort;
mod recover;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chaos_probe::{Net, Sample};
use chaos_spec::api::{AbortRun, ExperimentPhase as Phase, ExperimentView, Outcome, ProbeRun};
use chaos_spec::experiment::{DEFAULT_FLOWS, Experiment, Mode, RunSubmission, SteadyProbe};
use jiff::Timestamp;
use tokio::sync::watch as signal;

use crate::judge::Judge;
use crate::method::{self, Acting, Ending, Method};
use crate::watch::Watch;
use crate::{Injector, Ledger, Refusal};

/// How often it is looked at what goes by time alone.
const TICK: Duration = Duration::from_millis(50);

/// Where sockets and programs of probes come from.
pub trait Nets: Send + Sync + 'static {
    /// Those of a network namespace, by path or name; of the process itself when there is none.
    fn within(&self, netns: Option<&str>) -> Arc<dyn Net>;
}

/// Somebody wants a run to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopOrder {
    /// Who, in words.
    pub by: String,
}

/// All that carrying out an experiment takes.
pub struct Conductor {
    pub run: RunSubmission,
    pub injector: Arc<dyn Injector>,
    pub nets: Arc<dyn Nets>,
    /// What happens is written there.
    pub ledger: Ledger,
    /// Holds an order once the run is to stop.
    pub stop: signal::Receiver<Option<StopOrder>>,
}

/// How the method came to its end.
enum MethodEnd {
    Done,
    Aborted {
        why: String,
        probe: Option<String>,
        at: Instant,
    },
    Refused(Refusal),
    Failed(String),
    Interrupted(String),
}

/// Carries it out to its end, whatever that is, and gives what there is to report. Everything that was begun is undone
/// when it returns, unless the outcome says otherwise.
pub async fn conduct(conductor: Conductor) -> ExperimentView {
    let ledger = conductor.ledger.clone();
    let (outcome, message) = Run::new(conductor).carry_out().await;
    ledger.close(outcome, message);
    ledger.view()
}

struct Run {
    conductor: Conductor,
    acting: Acting,
    seed: u64,
    /// One for each probe that is looked at during the method.
    judges: Vec<Option<Judge>>,
}

type Over = (Outcome, String);

impl Run {
    fn new(conductor: Conductor) -> Self {
        let seed = conductor.ledger.view().status.seed;
        Self {
            conductor,
            acting: Acting::default(),
            seed,
            judges: Vec::new(),
        }
    }

    fn experiment(&self) -> &Experiment {
        &self.conductor.run.experiment
    }

    fn ledger(&self) -> &Ledger {
        &self.conductor.ledger
    }

    fn probes(&self) -> &[SteadyProbe] {
        &self.experiment().spec.steady_state
    }

    async fn carry_out(mut self) -> Over {
        self.say_what_is_left_open();
        if let Err(over) = self.prepare().await {
            return over;
        }
        if let Err(over) = self.baseline().await {
            return over;
        }
        self.ledger().enter(Phase::Injecting);
        let (end, watch) = match self.inject().await {
            Ok(ended) => ended,
            Err(over) => return over,
        };
        self.ledger().enter(Phase::RollingBack);
        let (rolled_back, restored) = self.roll_back().await;
        if let MethodEnd::Aborted { why, probe, at } = &end {
            let ago = Instant::now().saturating_duration_since(*at);
            let decided =
                Timestamp::now().checked_sub(jiff::SignedDuration::try_from(ago).unwrap_or_default());
            self.ledger().note(|status| {
                status.abort = Some(AbortRun {
                    why: why.clone(),
                    probe: probe.clone(),
                    at: decided.unwrap_or_else(|_| Timestamp::now()),
                    restored_ms: rolled_back
                        .is_ok()
                        .then(|| restored.saturating_duration_since(*at).as_secs_f64() * 1000.0),
                });
            });
        }
        if matches!(end, MethodEnd::Done) {
            // What was asked while the fault acted, and is still waiting for its answer.
            self.drain(watch, restored).await;
        } else {
            drop(watch);
        }
        let deviations = self.write_down(|run, seen| run.during = seen);
        if let Err(why) = rolled_back {
            return (Outcome::RollbackIncomplete, why);
        }
        self.warn_of_idle_faults();
        match end {
            MethodEnd::Interrupted(by) => {
                return (
                    Outcome::Interrupted,
                    format!("stopped by {by}; everything is undone"),
                );
            }
            MethodEnd::Refused(refusal) => return refused(&refusal),
            MethodEnd::Failed(why) => return (Outcome::Failed, why),
            MethodEnd::Done | MethodEnd::Aborted { .. } => {}
        }
        self.ledger().enter(Phase::Recovering);
        let recovered = self.recover(restored).await;
        match (recovered, end) {
            (Err(over), _) => over,
            (Ok(()), MethodEnd::Aborted { why, .. }) => (Outcome::Aborted, why),
            (Ok(()), _) => match deviations.first() {
                None => (
                    Outcome::Held,
                    match self.probes().len() {
                        1 => "its probe bears it out".to_owned(),
                        probes => format!("all {probes} probes bear it out"),
                    },
                ),
                Some(_) => (Outcome::Refuted, deviations.join("; ")),
            },
        }
    }

    /// What a reader of the report should know.
    fn say_what_is_left_open(&self) {
        let spec = &self.experiment().spec;
        if spec.abort == Default::default() {
            self.ledger().warn(
                "nothing says when to stop early (`abort`), so it goes on to the end whatever the probes see"
                    .to_owned(),
            );
        }
        let asked = method::asked_for(self.experiment(), &self.conductor.run.faults, self.seed);
        for open in asked.iter().filter(|asked| asked.is_open) {
            self.ledger().warn(format!(
                "`{}` acts on {DEFAULT_FLOWS} of the flows where nothing says more; write `flows: 100%` to hit all",
                open.fault.name()
            ));
        }
    }

    async fn prepare(&self) -> Result<(), Over> {
        let asked = method::asked_for(self.experiment(), &self.conductor.run.faults, self.seed);
        let asked = asked.into_iter().map(|asked| asked.fault).collect();
        match self.conductor.injector.check(asked).await {
            Ok(()) => Ok(()),
            // Nothing was begun that could be aborted.
            Err(Refusal::Halted(why)) => Err((Outcome::RefusedByPolicy, why)),
            Err(refusal) => Err(refused(&refusal)),
        }
    }

    fn watch_those(&self, judges: &[Option<Judge>]) -> Result<Watch, Over> {
        let probes = self.probes().iter().zip(judges).enumerate();
        let wanted = probes.filter_map(|(index, (steady, judge))| {
            let judge = judge.as_ref()?;
            Some((index, steady, judge.expect.clone()))
        });
        Watch::new(wanted, &*self.conductor.nets)
            .map(Watch::start)
            .map_err(|(name, error)| (Outcome::Failed, format!("the probe `{name}`: {error}")))
    }

    /// Looks for a while; leaves judges for the method behind.
    async fn baseline(&mut self) -> Result<(), Over> {
        self.ledger().enter(Phase::Baseline);
        let judges = self
            .probes()
            .iter()
            .map(|steady| steady.mode.before().then(|| Judge::of_baseline(steady)));
        self.judges = judges.collect();
        let mut watch = self.watch_those(&self.judges)?;
        let end = Instant::now() + self.experiment().spec.baseline.length.as_std();
        let mut stop = self.conductor.stop.clone();
        loop {
            let seen_all = self.judges.iter().flatten().all(|judge| judge.tally.samples > 0);
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() && seen_all {
                break;
            }
            tokio::select! {
                biased;
                by = ordered(&mut stop) => {
                    return Err((Outcome::Interrupted, format!("stopped by {by} before anything was done")));
                }
                seen = watch.next() => match seen {
                    Some((index, sample)) => { self.judge(index, &sample); }
                    // No probe is looked at before.
                    None => tokio::time::sleep(left).await,
                },
                () = tokio::time::sleep(left), if !left.is_zero() => {}
            }
        }
        drop(watch);
        let unsteady = self.write_down(|run, seen| run.baseline = seen);
        if !unsteady.is_empty() {
            return Err((
                Outcome::NoSteadyState,
                format!(
                    "not all was well before anything was done: {}",
                    unsteady.join("; ")
                ),
            ));
        }
        let judges = self.probes().iter().zip(&self.judges).map(|(steady, baseline)| {
            steady.mode.during().then(|| match baseline {
                Some(baseline) => Judge::against(steady, &baseline.tally),
                None => Judge::of_baseline(steady),
            })
        });
        self.judges = judges.collect();
        Ok(())
    }

    /// Judges a sample; why it is not well, if it is not.
    fn judge(&mut self, index: usize, sample: &Sample) -> Option<String> {
        let judged = self.judges.get_mut(index)?.as_mut()?.add(sample);
        self.conductor.ledger.point(index, sample, sample.is_well());
        judged.err()
    }

    /// Puts into the ledger what was seen; gives what does not bear it out.
    fn write_down(&self, put: impl Fn(&mut ProbeRun, chaos_spec::api::Seen)) -> Vec<String> {
        let mut deviations = Vec::new();
        for (index, judge) in self.judges.iter().enumerate() {
            let Some(judge) = judge else { continue };
            let verdict = judge.verdict().err();
            let name = &self.probes()[index].name;
            deviations.extend(verdict.as_ref().map(|why| format!("{name}: {why}")));
            self.ledger().note(|status| {
                if let Some(run) = status.probes.get_mut(index) {
                    put(run, judge.tally.seen());
                    run.expect = judge.words();
                    run.deviation = verdict.or_else(|| run.deviation.take());
                }
            });
        }
        deviations
    }

    /// Carries the method out until it is done, or something says stop.
    async fn inject(&mut self) -> Result<(MethodEnd, Watch), Over> {
        let mut watch = self.watch_those(&self.judges)?;
        let mut alerts = self.watch_alerts()?;
        let length = method::length(&self.experiment().spec.method, &self.conductor.run.faults);
        let budgets = self.budgets(length);
        let run = self.conductor.run.clone();
        let (injector, nets) = (
            Arc::clone(&self.conductor.injector),
            Arc::clone(&self.conductor.nets),
        );
        let (ledger, acting) = (self.conductor.ledger.clone(), std::mem::take(&mut self.acting));
        let method = Method {
            experiment: &run.experiment,
            faults: &run.faults,
            injector: &*injector,
            nets: &*nets,
            ledger: &ledger,
            acting: &acting,
            seed: self.seed,
        };
        let mut stop = self.conductor.stop.clone();
        let mut ticks = tokio::time::interval(TICK);
        let end = {
            let mut steps = std::pin::pin!(method.run());
            loop {
                tokio::select! {
                    biased;
                    by = ordered(&mut stop) => {
                        break MethodEnd::Interrupted(by);
                    }
                    Some((index, sample)) = watch.next() => {
                        if self.probes()[index].mode == Mode::OnFault && !acting.any() {
                            continue;
                        }
                        let why = self.judge(index, &sample);
                        if let Some(end) = self.too_much(index, &sample, why, &budgets) {
                            break end;
                        }
                    }
                    Some((index, sample)) = alerts.next() => {
                        if let Err(why) = &sample.outcome {
                            let alert = &self.experiment().spec.abort.alerts[index];
                            break MethodEnd::Aborted {
                                why: format!("the alert `{}`: {why}", alert.name),
                                probe: None,
                                at: sample.ended(),
                            };
                        }
                    }
                    done = &mut steps => break of_steps(done),
                    _ = ticks.tick() => {
                        if let Some(end) = self.too_long() {
                            break end;
                        }
                    }
                }
            }
        };
        self.acting = acting;
        Ok((end, watch))
    }

    /// Takes in what was still under way.
    async fn drain(&mut self, mut watch: Watch, restored: Instant) {
        watch.close();
        while let Some((index, sample)) = watch.next().await {
            // One that began when nothing acted any more says nothing about the fault.
            if sample.began <= restored {
                self.judge(index, &sample);
            }
        }
    }

    fn warn_of_idle_faults(&self) {
        let faults = self.ledger().view().status.faults;
        for fault in faults.iter().filter(|fault| fault.packets.matched == 0) {
            self.ledger().warn(format!(
                "`{}` met no packet at all: whatever the outcome is, it says nothing about this fault",
                fault.name
            ));
        }
    }
}

/// Waits for an order to stop; who gave it.
async fn ordered(stop: &mut signal::Receiver<Option<StopOrder>>) -> String {
    let by = match stop.wait_for(Option::is_some).await {
        Ok(order) => order.as_ref().map(|order| order.by.clone()),
        // Whoever could order it has gone.
        Err(_) => None,
    };
    match by {
        Some(by) => by,
        None => std::future::pending().await,
    }
}

fn of_steps(done: Result<(), Ending>) -> MethodEnd {
    let at = Instant::now();
    match done {
        Ok(()) => MethodEnd::Done,
        Err(Ending::Refused(refusal)) => MethodEnd::Refused(refusal),
        Err(Ending::Failed(why)) => MethodEnd::Failed(why),
        Err(Ending::Waited(why)) => MethodEnd::Aborted { why, probe: None, at },
        Err(Ending::FaultEnded {
            name,
            reason,
            message,
        }) => {
            let reason = reason.map_or_else(|| "Unknown".to_owned(), |reason| format!("{reason:?}"));
            MethodEnd::Aborted {
                why: format!("`{name}` ended before its time ({reason}): {message}"),
                probe: None,
                at,
            }
        }
    }
}

fn refused(refusal: &Refusal) -> Over {
    match refusal {
        Refusal::Policy(why) => (Outcome::RefusedByPolicy, why.clone()),
        Refusal::Halted(why) => (Outcome::Aborted, why.clone()),
        Refusal::Other(why) => (Outcome::Failed, why.clone()),
    }
}

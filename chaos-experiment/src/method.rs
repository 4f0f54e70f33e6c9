//! Carries out the steps.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chaos_spec::api::Reason;
use chaos_spec::experiment::{Action, Experiment, FaultStep, Settings, Step, Until, shape};
use chaos_spec::{Expect, NetworkFault, SpecError, summary};
use futures_util::future::{BoxFuture, try_join_all};

use crate::conduct::Nets;
use crate::judge::Judge;
use crate::watch::Watch;
use crate::{Injector, Ledger, Look, Refusal};

/// How often it is looked whether a fault still acts.
const GLANCE: Duration = Duration::from_millis(100);
/// A fault's own deadline comes so long after the step means to end it: it ends also when nobody is left to do so.
const SPARE: Duration = Duration::from_secs(10);

/// Why the method did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Refused(Refusal),
    /// A fault ended that was to go on.
    FaultEnded {
        name: String,
        reason: Option<Reason>,
        message: String,
    },
    /// Something that was waited for did not come.
    Waited(String),
    Failed(String),
}

/// The faults that were begun, and those that act now.
#[derive(Default)]
pub(crate) struct Acting(Mutex<Names>);

#[derive(Default)]
struct Names {
    begun: Vec<String>,
    active: HashSet<String>,
}

impl Acting {
    fn names(&self) -> MutexGuard<'_, Names> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before it is asked for: whatever comes then, it is ended.
    fn begins(&self, name: &str) {
        let mut names = self.names();
        if !names.begun.iter().any(|begun| begun == name) {
            names.begun.push(name.to_owned());
        }
    }

    fn acts(&self, name: &str) {
        self.names().active.insert(name.to_owned());
    }

    pub(crate) fn ended(&self, name: &str) {
        let mut names = self.names();
        names.active.remove(name);
        names.begun.retain(|begun| begun != name);
    }

    /// Those that may still be there, the newest first.
    pub(crate) fn left(&self) -> Vec<String> {
        self.names().begun.iter().rev().cloned().collect()
    }

    pub(crate) fn any(&self) -> bool {
        !self.names().active.is_empty()
    }
}

/// What the steps need.
pub(crate) struct Method<'a> {
    pub(crate) experiment: &'a Experiment,
    pub(crate) faults: &'a [NetworkFault],
    pub(crate) injector: &'a dyn Injector,
    pub(crate) nets: &'a dyn Nets,
    pub(crate) ledger: &'a Ledger,
    pub(crate) acting: &'a Acting,
    pub(crate) seed: u64,
}

/// One stretch of a fault step: so long, with these numbers; none: without the fault.
struct Stretch {
    length: Duration,
    settings: Option<Settings>,
}

impl Method<'_> {
    /// All steps, one after the other.
    pub(crate) async fn run(&self) -> Result<(), Ending> {
        self.steps(&self.experiment.spec.method).await
    }

    fn steps<'s>(&'s self, steps: &'s [Step]) -> BoxFuture<'s, Result<(), Ending>> {
        Box::pin(async move {
            for step in steps {
                self.repeated(step).await?;
            }
            Ok(())
        })
    }

    async fn repeated(&self, step: &Step) -> Result<(), Ending> {
        for _ in 0..step.repeat {
            match &step.action {
                Action::Fault(fault) => self.fault(&step.label(), fault).await?,
                Action::Parallel(steps) => {
                    try_join_all(steps.iter().map(|step| self.repeated(step))).await?;
                }
                Action::Serial(steps) => self.steps(steps).await?,
                Action::Pause(length) => {
                    let place = self.ledger.step(step.label(), String::new(), None);
                    tokio::time::sleep(length.as_std()).await;
                    self.ledger.step_over(place);
                }
                Action::Until(until) => {
                    let place = self.ledger.step(step.label(), String::new(), None);
                    self.until(until).await?;
                    self.ledger.step_over(place);
                }
            }
        }
        Ok(())
    }

    /// Waits until one sample is well.
    async fn until(&self, until: &Until) -> Result<(), Ending> {
        let condition = &*until.condition;
        let mut judge = Judge::of_baseline(condition);
        let expect: Expect = judge.expect.clone();
        let watch = Watch::new(std::iter::once((0, condition, expect)), self.nets);
        let mut watch = watch
            .map_err(|(name, error)| Ending::Failed(format!("`{name}`: {error}")))?
            .start();
        let mut last = "nothing was seen of it".to_owned();
        let seen = async {
            while let Some((_, sample)) = watch.next().await {
                match judge.add(&sample) {
                    Ok(()) => return,
                    Err(why) => last = why,
                }
            }
        };
        match tokio::time::timeout(until.within.as_std(), seen).await {
            Ok(()) => Ok(()),
            Err(_) => Err(Ending::Waited(format!(
                "`{}` was not so within {}: {last}",
                condition.name, until.within
            ))),
        }
    }

    async fn fault(&self, label: &str, step: &FaultStep) -> Result<(), Ending> {
        let fault = self.written(&step.fault)?;
        let stretches = stretches(step, fault);
        let whole: Duration = stretches.iter().map(|stretch| stretch.length).sum();
        let mut running = None;
        for stretch in &stretches {
            let Some(settings) = &stretch.settings else {
                self.end(running.take()).await?;
                let place = self.ledger.step(label.to_owned(), "off".to_owned(), None);
                tokio::time::sleep(stretch.length).await;
                self.ledger.step_over(place);
                continue;
            };
            let shaped = ready(self.experiment, fault, settings, self.seed, whole)
                .map_err(|error| Ending::Failed(format!("{}: {}", error.path, error.message)))?;
            let name = shaped.name().to_owned();
            self.acting.begins(&name);
            self.ledger.fault(&name, summary(&fault.spec));
            running = Some(name.clone());
            let seed = self.injector.apply(shaped).await.map_err(Ending::Refused)?;
            self.ledger.fault_has_seed(&name, seed);
            self.acting.acts(&name);
            let settings = settings.to_string();
            let place = self.ledger.step(label.to_owned(), settings, Some(name.clone()));
            self.hold(&name, stretch.length).await?;
            self.ledger.step_over(place);
        }
        self.end(running).await
    }

    fn written(&self, name: &str) -> Result<&NetworkFault, Ending> {
        let found = self.faults.iter().find(|fault| fault.name() == name);
        found.ok_or_else(|| Ending::Failed(format!("there is no fault `{name}`")))
    }

    /// Stays for so long, while the fault acts.
    async fn hold(&self, name: &str, length: Duration) -> Result<(), Ending> {
        let end = Instant::now() + length;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(left.min(GLANCE)).await;
            match self.injector.look(name).await {
                Ok(Look::Active(_)) => {}
                Ok(Look::Ended {
                    reason: Some(Reason::Budget),
                    ..
                }) => {
                    self.ledger
                        .warn(format!("`{name}` had spent its budget before its time was over"));
                    tokio::time::sleep(end.saturating_duration_since(Instant::now())).await;
                    return Ok(());
                }
                Ok(Look::Ended {
                    reason,
                    message,
                    packets,
                }) => {
                    self.acting.ended(name);
                    self.ledger.fault_over(name, Some(packets), reason);
                    return Err(Ending::FaultEnded {
                        name: name.to_owned(),
                        reason,
                        message,
                    });
                }
                Ok(Look::Unknown) => {
                    return Err(Ending::FaultEnded {
                        name: name.to_owned(),
                        reason: None,
                        message: "nobody knows of it any more".to_owned(),
                    });
                }
                Err(error) => return Err(Ending::Failed(error)),
            }
        }
    }

    async fn end(&self, name: Option<String>) -> Result<(), Ending> {
        let Some(name) = name else { return Ok(()) };
        let packets = self.injector.end(&name).await.map_err(Ending::Failed)?;
        self.acting.ended(&name);
        self.ledger.fault_over(&name, packets, Some(Reason::Deleted));
        Ok(())
    }
}

/// What a step would ask for.
#[derive(PartialEq)]
pub(crate) struct Asked {
    pub(crate) fault: NetworkFault,
    /// Nobody has said how many flows it acts on.
    pub(crate) is_open: bool,
}

/// All that the steps of an experiment would ask for.
pub(crate) fn asked_for(experiment: &Experiment, faults: &[NetworkFault], seed: u64) -> Vec<Asked> {
    let mut asked = Vec::new();
    gather(experiment, faults, seed, &experiment.spec.method, &mut asked);
    asked
}

fn gather(
    experiment: &Experiment,
    faults: &[NetworkFault],
    seed: u64,
    steps: &[Step],
    asked: &mut Vec<Asked>,
) {
    for step in steps {
        match &step.action {
            Action::Fault(step) => {
                let Some(fault) = faults.iter().find(|fault| fault.name() == step.fault) else {
                    continue;
                };
                let stretches = stretches(step, fault);
                let whole: Duration = stretches.iter().map(|stretch| stretch.length).sum();
                for settings in stretches.into_iter().filter_map(|stretch| stretch.settings) {
                    let is_open = settings.flows.or(fault.spec.traffic.flows).is_none();
                    let shaped = ready(experiment, fault, &settings, seed, whole);
                    let shaped = shaped.map(|fault| Asked { fault, is_open });
                    if let Ok(shaped) = shaped
                        && !asked.contains(&shaped)
                    {
                        asked.push(shaped);
                    }
                }
            }
            Action::Parallel(steps) | Action::Serial(steps) => {
                gather(experiment, faults, seed, steps, asked);
            }
            Action::Pause(_) | Action::Until(_) => {}
        }
    }
}

/// How long the steps take, one after the other; what waits for something is taken to be short.
pub(crate) fn length(steps: &[Step], faults: &[NetworkFault]) -> Duration {
    let one = |step: &Step| {
        let once = match &step.action {
            Action::Fault(step) => faults
                .iter()
                .find(|fault| fault.name() == step.fault)
                .map_or(Duration::ZERO, |fault| {
                    stretches(step, fault).iter().map(|stretch| stretch.length).sum()
                }),
            Action::Parallel(steps) => steps
                .iter()
                .map(|step| length(std::slice::from_ref(step), faults))
                .max()
                .unwrap_or_default(),
            Action::Serial(steps) => length(steps, faults),
            Action::Pause(length) => length.as_std(),
            Action::Until(_) => Duration::ZERO,
        };
        once * step.repeat
    };
    steps.iter().map(one).sum()
}

/// The fault of one stretch of a step that takes so long as a whole: just what is asked for.
fn ready(
    experiment: &Experiment,
    fault: &NetworkFault,
    settings: &Settings,
    seed: u64,
    whole: Duration,
) -> Result<NetworkFault, SpecError> {
    let mut shaped = shape(experiment, fault, settings)?;
    shaped.spec.seed = Some(fault.spec.seed.unwrap_or_else(|| seed_of(seed, fault.name())));
    shaped.spec.duration = (whole + SPARE).into();
    Ok(shaped)
}

fn stretches(step: &FaultStep, fault: &NetworkFault) -> Vec<Stretch> {
    let with = |length: Duration, settings: Settings| Stretch {
        length,
        settings: Some(settings),
    };
    if let Some(pulse) = &step.pulse {
        let on = || with(pulse.on.as_std(), step.settings.clone());
        let off = || Stretch {
            length: pulse.off.as_std(),
            settings: None,
        };
        let mut stretches: Vec<Stretch> = (0..pulse.times).flat_map(|_| [on(), off()]).collect();
        // Nothing is waited for behind the last.
        stretches.pop();
        return stretches;
    }
    if step.ramp.is_empty() {
        let length = step.length.unwrap_or(fault.spec.duration);
        return vec![with(length.as_std(), step.settings.clone())];
    }
    let stages = step.ramp.iter();
    stages
        .map(|stage| with(stage.length.as_std(), stage.settings.over(&step.settings)))
        .collect()
}

/// The same for the same run seed and fault; splitmix64 over FNV-1a.
fn seed_of(seed: u64, name: &str) -> u64 {
    let hash = name.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let mixed = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    // JSON numbers are exact up to here.
    (mixed ^ mixed >> 31) & ((1 << 53) - 1)
}

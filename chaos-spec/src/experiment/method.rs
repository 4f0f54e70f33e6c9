//! What an experiment does: steps, one after the other or side by side.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SteadyProbe;
use crate::spec::not_empty;
use crate::{Chance, Duration, Rate};

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "StepFields", into = "StepFields")]
#[schemars(with = "StepFields")]
pub struct Step {
    /// For reports; left out: what it does.
    pub name: Option<String>,
    pub action: Action,
    /// So many times.
    pub repeat: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A fault, for a while.
    Fault(FaultStep),
    /// Steps side by side, until the last is done.
    Parallel(Vec<Step>),
    /// Steps one after the other.
    Serial(Vec<Step>),
    /// Nothing, for a while.
    Pause(Duration),
    /// Nothing, until something is so.
    Until(Until),
}

/// A fault that starts, changes and ends with the step.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultStep {
    /// Name of a NetworkFault.
    pub fault: String,
    /// How long; left out: as long as the fault says, or as its ramp takes.
    pub length: Option<Duration>,
    /// What differs from the fault as it is written.
    pub settings: Settings,
    /// Stages, one after the other.
    pub ramp: Vec<Stage>,
    /// On and off, again and again.
    pub pulse: Option<Pulse>,
}

/// Numbers of a fault that a step or a stage sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub flows: Option<Chance>,
    pub chance: Option<Chance>,
    pub latency: Option<Duration>,
    pub jitter: Option<Duration>,
    pub rate: Option<Rate>,
}

/// One stage of a ramp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "StageFields", into = "StageFields")]
#[schemars(with = "StageFields")]
pub struct Stage {
    pub length: Duration,
    /// Of several faults, so many act; taken out when the step is read.
    pub targets: Option<u32>,
    pub settings: Settings,
}

/// On and off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pulse {
    /// So long the fault acts.
    pub on: Duration,
    /// So long it does not.
    pub off: Duration,
    /// So many times.
    #[schemars(range(min = 1, max = 1000))]
    pub times: u32,
}

/// Waits for something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Until {
    pub condition: Box<SteadyProbe>,
    /// Longer than this is an end of the experiment.
    pub within: Duration,
}

/// The fields as they are written.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "Step", rename_all = "camelCase", deny_unknown_fields)]
struct StepFields {
    /// For reports; left out: what it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Name of a NetworkFault beside the experiment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    /// In place of `fault`: several of them, side by side; stages may say `targets`, how many of them act.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "not_empty"
    )]
    faults: Vec<String>,
    /// With `fault`: how long; left out: as long as the fault says, or as its ramp takes.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    length: Option<Duration>,
    /// With `fault`: the share of flows that it acts on; 5 % when nobody says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flows: Option<Chance>,
    /// With `fault`: the chance of whatever in it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chance: Option<Chance>,
    /// With `fault`: the latency of its `delay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    latency: Option<Duration>,
    /// With `fault`: the jitter of its `delay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jitter: Option<Duration>,
    /// With `fault`: the rate of its `bandwidth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<Rate>,
    /// With `fault`: stages, one after the other.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "not_empty"
    )]
    ramp: Vec<Stage>,
    /// With `fault`: on and off, again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pulse: Option<Pulse>,
    /// Steps side by side.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "not_empty"
    )]
    parallel: Vec<Step>,
    /// Steps one after the other, as one of those side by side.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "not_empty"
    )]
    serial: Vec<Step>,
    /// Nothing, for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pause: Option<Duration>,
    /// Nothing, until something is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Until>,
    /// The step, so many times.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schemars(range(min = 1, max = 1000))]
    repeat: u32,
}

/// The fields as they are written.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "Stage", rename_all = "camelCase", deny_unknown_fields)]
struct StageFields {
    #[serde(rename = "for")]
    length: Duration,
    /// With `faults`: the first so many of them act, and never fewer than in the stage before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    targets: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flows: Option<Chance>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chance: Option<Chance>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    latency: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jitter: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<Rate>,
}

const KINDS: &str = "`fault`, `faults`, `parallel`, `serial`, `pause` or `until`";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum StepError {
    #[error("the step does nothing – write exactly one of {KINDS}")]
    None,
    #[error("{0} are in one step – keep one, and write another step for the other")]
    Several(String),
    #[error("`{0}` is there without `fault` – it sets a number of a fault; leave it out")]
    NoFault(&'static str),
    #[error("`{0}` and `{1}` both say how long – keep one")]
    Lengths(&'static str, &'static str),
    #[error(
        "`targets` is a number of `faults`, and there is one fault – leave it out, or write `faults: [{0}, …]`"
    )]
    NotSeveral(String),
    #[error("`targets: {0}` is out of range – there are {1} faults")]
    Targets(u32, usize),
    #[error("`targets: {1}` comes after `targets: {0}` – a ramp of targets only grows")]
    Shrinks(u32, u32),
}

impl Settings {
    /// These, and from `outer` what these leave open.
    #[must_use]
    pub fn over(&self, outer: &Self) -> Self {
        Self {
            flows: self.flows.or(outer.flows),
            chance: self.chance.or(outer.chance),
            latency: self.latency.or(outer.latency),
            jitter: self.jitter.or(outer.jitter),
            rate: self.rate.or(outer.rate),
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl std::fmt::Display for Settings {
    /// `flows 5%, latency 100ms`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |name: &str, value: Option<String>| value.map(|value| format!("{name} {value}"));
        let parts = [
            text("flows", self.flows.map(|it| it.to_string())),
            text("chance", self.chance.map(|it| it.to_string())),
            text("latency", self.latency.map(|it| it.to_string())),
            text("jitter", self.jitter.map(|it| it.to_string())),
            text("rate", self.rate.map(|it| it.to_string())),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        f.write_str(&parts.join(", "))
    }
}

impl Step {
    /// A step of its own, once.
    pub fn once(action: Action) -> Self {
        Self {
            name: None,
            action,
            repeat: 1,
        }
    }

    /// The steps inside it, and the field that they stand in.
    pub fn inside(&self) -> Option<(&'static str, &[Self])> {
        match &self.action {
            Action::Parallel(steps) => Some(("parallel", steps)),
            Action::Serial(steps) => Some(("serial", steps)),
            Action::Fault(_) | Action::Pause(_) | Action::Until(_) => None,
        }
    }

    /// Its name, or what it does.
    pub fn label(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        match &self.action {
            Action::Fault(step) => step.fault.clone(),
            Action::Parallel(steps) => {
                let labels: Vec<String> = steps.iter().map(Self::label).collect();
                labels.join(" + ")
            }
            Action::Serial(steps) => {
                let labels: Vec<String> = steps.iter().map(Self::label).collect();
                labels.join(", ")
            }
            Action::Pause(length) => format!("pause {length}"),
            Action::Until(until) => format!("until {}", until.condition.name),
        }
    }
}

/// Serde's `flatten` would let unknown fields pass, so both groups of fields have these.
macro_rules! settings_of {
    ($fields:ident) => {
        Settings {
            flows: $fields.flows,
            chance: $fields.chance,
            latency: $fields.latency,
            jitter: $fields.jitter,
            rate: $fields.rate,
        }
    };
}

impl From<StageFields> for Stage {
    fn from(fields: StageFields) -> Self {
        Self {
            length: fields.length,
            targets: fields.targets,
            settings: settings_of!(fields),
        }
    }
}

impl From<Stage> for StageFields {
    fn from(stage: Stage) -> Self {
        let Settings {
            flows,
            chance,
            latency,
            jitter,
            rate,
        } = stage.settings;
        Self {
            length: stage.length,
            targets: stage.targets,
            flows,
            chance,
            latency,
            jitter,
            rate,
        }
    }
}

impl TryFrom<StepFields> for Step {
    type Error = StepError;

    fn try_from(fields: StepFields) -> Result<Self, StepError> {
        let kinds = [
            ("fault", fields.fault.is_some()),
            ("faults", !fields.faults.is_empty()),
            ("serial", !fields.serial.is_empty()),
            ("parallel", !fields.parallel.is_empty()),
            ("pause", fields.pause.is_some()),
            ("until", fields.until.is_some()),
        ];
        let named: Vec<String> = kinds
            .into_iter()
            .filter(|(_, there)| *there)
            .map(|(kind, _)| format!("`{kind}`"))
            .collect();
        match named.len() {
            0 => return Err(StepError::None),
            1 => {}
            _ => return Err(StepError::Several(named.join(" and "))),
        }
        if fields.fault.is_none() && fields.faults.is_empty() {
            let of_faults = [
                ("for", fields.length.is_some()),
                ("flows", fields.flows.is_some()),
                ("chance", fields.chance.is_some()),
                ("latency", fields.latency.is_some()),
                ("jitter", fields.jitter.is_some()),
                ("rate", fields.rate.is_some()),
                ("ramp", !fields.ramp.is_empty()),
                ("pulse", fields.pulse.is_some()),
            ];
            if let Some((field, _)) = of_faults.into_iter().find(|(_, there)| *there) {
                return Err(StepError::NoFault(field));
            }
        }
        for (one, other, both) in [
            ("for", "ramp", fields.length.is_some() && !fields.ramp.is_empty()),
            ("for", "pulse", fields.length.is_some() && fields.pulse.is_some()),
            ("ramp", "pulse", !fields.ramp.is_empty() && fields.pulse.is_some()),
        ] {
            if both {
                return Err(StepError::Lengths(one, other));
            }
        }
        let step = FaultStep {
            fault: fields.fault.clone().unwrap_or_default(),
            length: fields.length,
            settings: settings_of!(fields),
            ramp: fields.ramp,
            pulse: fields.pulse,
        };
        let action = if let Some(fault) = fields.fault {
            if step.ramp.iter().any(|stage| stage.targets.is_some()) {
                return Err(StepError::NotSeveral(fault));
            }
            Action::Fault(step)
        } else if !fields.faults.is_empty() {
            several(&fields.faults, &step)?
        } else if !fields.serial.is_empty() {
            Action::Serial(fields.serial)
        } else if let Some(length) = fields.pause {
            Action::Pause(length)
        } else if let Some(until) = fields.until {
            Action::Until(until)
        } else {
            Action::Parallel(fields.parallel)
        };
        Ok(Self {
            name: fields.name,
            action,
            repeat: fields.repeat,
        })
    }
}

/// A step of each fault, side by side; those that a ramp of targets comes to later wait until then.
fn several(faults: &[String], step: &FaultStep) -> Result<Action, StepError> {
    let mut before = 1;
    for targets in step.ramp.iter().filter_map(|stage| stage.targets) {
        if targets == 0 || usize::try_from(targets).is_ok_and(|targets| targets > faults.len()) {
            return Err(StepError::Targets(targets, faults.len()));
        }
        if targets < before {
            return Err(StepError::Shrinks(before, targets));
        }
        before = targets;
    }
    let one = |(index, fault): (usize, &String)| {
        let acts = |stage: &Stage| {
            let targets = stage.targets.and_then(|targets| usize::try_from(targets).ok());
            targets.is_none_or(|targets| index < targets)
        };
        let first = step.ramp.iter().position(acts).unwrap_or(step.ramp.len());
        let (waits, ramp) = step.ramp.split_at(first);
        let ramp = ramp.iter().map(|stage| Stage {
            targets: None,
            ..stage.clone()
        });
        let step_of_one = Step::once(Action::Fault(FaultStep {
            fault: fault.clone(),
            ramp: ramp.collect(),
            ..step.clone()
        }));
        let wait: std::time::Duration = waits.iter().map(|stage| stage.length.as_std()).sum();
        match (wait.is_zero(), first == step.ramp.len() && first > 0) {
            // No stage comes to it.
            (_, true) => Step::once(Action::Pause(wait.into())),
            (true, false) => step_of_one,
            (false, false) => {
                let wait = Step::once(Action::Pause(wait.into()));
                Step::once(Action::Serial(vec![wait, step_of_one]))
            }
        }
    };
    Ok(Action::Parallel(faults.iter().enumerate().map(one).collect()))
}

impl From<Step> for StepFields {
    fn from(step: Step) -> Self {
        let mut fields = Self {
            name: step.name,
            repeat: step.repeat,
            ..Self::default()
        };
        match step.action {
            Action::Fault(FaultStep {
                fault,
                length,
                settings,
                ramp,
                pulse,
            }) => {
                fields.fault = Some(fault);
                fields.length = length;
                fields.flows = settings.flows;
                fields.chance = settings.chance;
                fields.latency = settings.latency;
                fields.jitter = settings.jitter;
                fields.rate = settings.rate;
                fields.ramp = ramp;
                fields.pulse = pulse;
            }
            Action::Parallel(steps) => fields.parallel = steps,
            Action::Serial(steps) => fields.serial = steps,
            Action::Pause(length) => fields.pause = Some(length),
            Action::Until(until) => fields.until = Some(until),
        }
        fields
    }
}

const fn one() -> u32 {
    1
}

fn is_one(number: &u32) -> bool {
    *number == 1
}

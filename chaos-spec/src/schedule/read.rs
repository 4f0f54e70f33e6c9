use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Blackout, SCHEDULE_KIND, Schedule};
use crate::catalog::{LocatedMission, MISSION_KIND, mission_of};
use crate::experiment::{LocatedRun, RunSubmission, kind_of, placed, run_of, submission_of};
use crate::parse::node::Node;
use crate::parse::{self, collect};
use crate::validate::validate_name;
use crate::{Diagnostic, Diagnostics, Duration, SpecError, SpecPath};

/// A schedule that knows where it was written, and what it begins.
#[derive(Clone, Debug)]
pub struct LocatedSchedule {
    pub schedule: Schedule,
    pub begins: Begins,
    file: String,
    node: Node,
}

/// What stands beside a schedule.
#[derive(Clone, Debug)]
pub enum Begins {
    Run(Box<LocatedRun>),
    Mission(Box<LocatedMission>),
}

/// What a daemon is asked to keep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScheduleSubmission {
    pub schedule: Schedule,
    pub run: RunSubmission,
}

impl LocatedSchedule {
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Adds file and line to an error about the schedule.
    pub fn diagnose(&self, error: SpecError) -> Diagnostic {
        let mark = self.node.locate(&error.path);
        parse::place(&self.file, &SpecPath::root(), error, mark)
    }
}

/// The schedule of a file, with the experiment and its faults, or with a mission.
///
/// # Errors
/// Everything that is wrong with the form and the meaning of each document; or there is no schedule, or several.
pub fn parse_schedule(file: &str, text: &[u8]) -> Result<LocatedSchedule, Diagnostics> {
    let mut schedules = Vec::new();
    let mut missions = Vec::new();
    let mut others = Vec::new();
    for document in parse::documents_of(file, text)? {
        match kind_of(&document) {
            Some(SCHEDULE_KIND) => schedules.push(document),
            Some(MISSION_KIND) => missions.push(document),
            _ => others.push((file, document)),
        }
    }
    let whole =
        |message: &str, remedy: &str| Diagnostics::from(Diagnostic::whole(file, None, message, remedy));
    let Ok([node]) = <[Node; 1]>::try_from(schedules) else {
        return Err(whole(
            "there has to be one Schedule in it, and no more",
            "write `kind: Schedule`, and the Experiment or the Mission behind a line of `---`",
        ));
    };
    let mut wrong: Vec<Diagnostic> = Vec::new();
    let schedule = match collect::document::<Schedule>(&node, SCHEDULE_KIND) {
        Ok(schedule) => {
            let errors = validate(&schedule).into_iter();
            wrong.extend(errors.map(|error| {
                let mark = node.locate(&error.path);
                parse::place(file, &SpecPath::root(), error, mark)
            }));
            Some(schedule)
        }
        Err(errors) => {
            wrong.extend(placed(file, &SpecPath::root(), errors));
            None
        }
    };
    let begins = match (missions.pop(), others.is_empty()) {
        (Some(mission), true) if missions.is_empty() => {
            mission_of(file, mission).map(|mission| Begins::Mission(Box::new(mission)))
        }
        (Some(_), _) => Err(whole(
            "there is more beside the Schedule than one Mission",
            "keep the Mission alone, or the Experiment and its faults",
        )),
        (None, _) => run_of(file, others, Vec::new()).map(|run| Begins::Run(Box::new(run))),
    };
    let begins = begins.map_err(|errors| wrong.extend(errors.0)).ok();
    match (schedule, begins) {
        (Some(schedule), Some(begins)) if wrong.is_empty() => Ok(LocatedSchedule {
            schedule,
            begins,
            file: file.to_owned(),
            node,
        }),
        _ => Err(Diagnostics(wrong)),
    }
}

/// A [`ScheduleSubmission`] from a request body. Errors carry paths into the body.
///
/// # Errors
/// Everything that is wrong with the form and the meaning of it.
pub fn parse_schedule_body(body: &[u8]) -> Result<ScheduleSubmission, Diagnostics> {
    let document = parse::json_of(body)?;
    let mut wrong = Vec::new();
    let mut part = |name: &str| {
        let node = document.get(name);
        if node.is_none() {
            let error = SpecError::new(
                SpecPath::of(name),
                format!("there is no {name} in it"),
                "send `{\"schedule\": {…}, \"run\": {\"experiment\": {…}, \"faults\": [{…}]}}`",
            );
            wrong.push(parse::place("", &SpecPath::root(), error, None));
        }
        node
    };
    let (schedule, run) = (part("schedule"), part("run"));
    let schedule = schedule.and_then(|node| {
        let at = SpecPath::of("schedule");
        match collect::document::<Schedule>(node, SCHEDULE_KIND) {
            Ok(schedule) => {
                let errors = validate(&schedule).into_iter();
                wrong.extend(errors.map(|error| parse::place("", &at, error, None)));
                Some(schedule)
            }
            Err(errors) => {
                wrong.extend(placed("", &at, errors));
                None
            }
        }
    });
    let run = run.and_then(|node| match submission_of(node, &SpecPath::of("run")) {
        Ok(run) => Some(run),
        Err(errors) => {
            wrong.extend(errors.0);
            None
        }
    });
    match (schedule, run) {
        (Some(schedule), Some(run)) if wrong.is_empty() => Ok(ScheduleSubmission { schedule, run }),
        _ => Err(Diagnostics(wrong)),
    }
}

/// What a schedule may not say.
fn validate(schedule: &Schedule) -> Vec<SpecError> {
    let mut wrong: Vec<SpecError> = validate_name(&schedule.metadata.name).into_iter().collect();
    let at = |field: &str| SpecPath::of("spec").field(field);
    let day = Duration::from_secs(24 * 3600);
    for (field, time) in [
        ("jitter", schedule.spec.jitter),
        ("startWithin", schedule.spec.start_within),
    ] {
        if time > day {
            wrong.push(SpecError::new(
                at(field),
                format!("{time} is out of range"),
                format!("write at most {day}"),
            ));
        }
    }
    if schedule.spec.start_within.is_zero() {
        wrong.push(SpecError::new(
            at("startWithin"),
            "everything would be missed",
            "write for example `1m`",
        ));
    }
    for (index, blackout) in schedule.spec.blackouts.iter().enumerate() {
        if let Blackout::Span(span) = blackout
            && span.ends <= span.begins
        {
            wrong.push(SpecError::new(
                at("blackouts").index(index),
                "it ends before it begins",
                "write the earlier one as `begins`",
            ));
        }
    }
    wrong
}

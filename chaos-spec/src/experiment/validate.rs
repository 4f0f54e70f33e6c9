//! What an experiment may not say.

use std::collections::HashSet;

use super::{Action, EXPERIMENT_KIND, Experiment, FaultStep, Mode, Settings, SteadyProbe, Step, shape};
use crate::path::SpecPath;
use crate::validate::{MAX_DURATION, validate, validate_health, validate_name};
use crate::{
    API_VERSION, Duration, Expect, HealthCheck, LatencyTolerance, NetworkFault, SpecError, WindowExpect,
};

const LONGEST_HYPOTHESIS: usize = 1000;
const MOST_PROBES: usize = 100;
const MOST_STEPS: usize = 200;
const DEEPEST: usize = 4;
const MOST_TIMES: u32 = 1000;

/// Everything that is wrong with an experiment and its use of these faults; empty when a daemon may try it. Paths
/// start at the experiment.
pub fn validate_run(experiment: &Experiment, faults: &[NetworkFault]) -> Vec<SpecError> {
    let mut check = Check {
        experiment,
        faults,
        errors: Vec::new(),
        steps: 0,
    };
    check.head();
    check.probes();
    check.times();
    let method = SpecPath::of("spec.method");
    check.steps(&experiment.spec.method, &method, 1);
    check.errors
}

struct Check<'a> {
    experiment: &'a Experiment,
    faults: &'a [NetworkFault],
    errors: Vec<SpecError>,
    steps: usize,
}

impl Check<'_> {
    fn add(&mut self, path: SpecPath, message: impl Into<String>, remedy: impl Into<String>) {
        if self.errors.len() < 1000 {
            self.errors.push(SpecError::new(path, message, remedy));
        }
    }

    fn head(&mut self) {
        let experiment = self.experiment;
        for (field, written, only) in [
            ("apiVersion", &experiment.api_version, API_VERSION),
            ("kind", &experiment.kind, EXPERIMENT_KIND),
        ] {
            if written != only {
                let message = format!("`{written}` is not known here");
                self.add(SpecPath::of(field), message, format!("write `{field}: {only}`"));
            }
        }
        self.errors.extend(validate_name(&experiment.metadata.name));
        let hypothesis = &experiment.spec.hypothesis;
        if hypothesis.trim().is_empty() || hypothesis.len() > LONGEST_HYPOTHESIS {
            self.add(
                SpecPath::of("spec.hypothesis"),
                "this is no hypothesis",
                format!("write a sentence of at most {LONGEST_HYPOTHESIS} bytes: what will hold while this is done"),
            );
        }
    }

    fn probes(&mut self) {
        let probes = &self.experiment.spec.steady_state;
        let place = SpecPath::of("spec.steadyState");
        if probes.len() > MOST_PROBES {
            let message = format!("{} probes are more than anybody can watch", probes.len());
            return self.add(place, message, format!("write at most {MOST_PROBES}"));
        }
        let mut names = HashSet::new();
        for (index, probe) in probes.iter().enumerate() {
            let at = place.clone().index(index);
            if !names.insert(&probe.name) {
                let message = format!("the name `{}` is there twice", probe.name);
                self.add(
                    at.clone().field("name"),
                    message,
                    "give each probe a name of its own",
                );
            }
            self.probe(probe, &at);
        }
        if !probes.iter().any(|probe| probe.mode.during()) {
            self.add(
                place,
                "nothing is looked at while the fault acts, so nothing can be refuted",
                "make the `mode` of one probe `continuous`",
            );
        }
    }

    /// What is known of health checks holds for these, too.
    fn probe(&mut self, steady: &SteadyProbe, at: &SpecPath) {
        let check = HealthCheck {
            name: Some(steady.name.clone()),
            expect: absolute(steady),
            interval: steady.every,
            timeout: steady.timeout,
            window: steady.window,
            netns: steady.netns.clone(),
            ..HealthCheck::new(steady.probe.clone())
        };
        let list = SpecPath::root().index(0);
        let (interval, every) = (list.clone().field("interval"), SpecPath::root().field("every"));
        for error in validate_health(&[check], &SpecPath::root()) {
            let path = if error.path == interval {
                every.clone()
            } else {
                error.path.after(&list)
            };
            self.add(path.below(at), error.message, error.remedy);
        }
        let relative = steady
            .expect
            .value
            .is_some_and(crate::ValueTolerance::is_relative)
            || steady
                .expect
                .percentiles()
                .any(|(_, _, tolerance)| tolerance.is_relative());
        if relative && !steady.mode.before() {
            self.add(
                at.clone().field("expect"),
                "it is compared with the baseline, and is not looked at before anything is done",
                "make its `mode` `continuous` or `edge`",
            );
        }
        if steady.mode == Mode::Start && relative {
            self.add(
                at.clone().field("expect"),
                "it is compared with the baseline, and is looked at only then",
                "make its `mode` `continuous` or `edge`",
            );
        }
    }

    fn times(&mut self) {
        let spec = &self.experiment.spec;
        let hour = Duration::from_secs(3600);
        for (path, time, least) in [
            (
                "spec.baseline.for",
                spec.baseline.length,
                Duration::from_millis(100),
            ),
            (
                "spec.recovery.within",
                spec.recovery.within,
                Duration::from_millis(100),
            ),
        ] {
            if time < least || time > hour {
                self.add(
                    SpecPath::of(path),
                    format!("{time} is out of range"),
                    format!("write {least} to {hour}"),
                );
            }
        }
        if spec.abort.within.is_some_and(Duration::is_zero) {
            self.add(
                SpecPath::of("spec.abort.within"),
                "no time at all would stop it at the first failure",
                "write `after: 1 failure`",
            );
        }
        for (index, alert) in spec.abort.alerts.iter().enumerate() {
            let at = SpecPath::of("spec.abort.alerts").index(index);
            if alert.name.is_empty() || alert.name.contains(['"', '\\', '\n']) {
                self.add(
                    at.clone().field("name"),
                    "this is no name of an alert",
                    "write what stands behind `alert:` in the rule",
                );
            }
            if alert.every < Duration::from_millis(100) || alert.every > hour {
                self.add(
                    at.field("every"),
                    format!("{} is out of range", alert.every),
                    format!("write 100ms to {hour}"),
                );
            }
        }
    }

    fn steps(&mut self, steps: &[Step], place: &SpecPath, depth: usize) {
        if depth > DEEPEST {
            return self.add(
                place.clone(),
                "steps stand in steps too deep",
                format!("at most {DEEPEST}"),
            );
        }
        for (index, step) in steps.iter().enumerate() {
            let at = place.clone().index(index);
            self.steps += 1;
            if self.steps == MOST_STEPS + 1 {
                return self.add(
                    at,
                    format!("there are more than {MOST_STEPS} steps"),
                    "split the experiment",
                );
            }
            if step.repeat == 0 || step.repeat > MOST_TIMES {
                self.add(
                    at.clone().field("repeat"),
                    format!("{} is out of range", step.repeat),
                    format!("write 1 to {MOST_TIMES}"),
                );
            }
            match &step.action {
                Action::Fault(fault) => self.fault(fault, &at),
                Action::Pause(length) => self.length(*length, at.field("pause")),
                Action::Until(until) => {
                    self.length(until.within, at.clone().field("until").field("within"));
                    self.probe(&until.condition, &at.field("until").field("condition"));
                }
                Action::Parallel(steps) => {
                    let at = at.field("parallel");
                    self.apart(steps, &at);
                    self.steps(steps, &at, depth + 1);
                }
                Action::Serial(steps) => self.steps(steps, &at.field("serial"), depth + 1),
            }
        }
    }

    /// Side by side, one fault cannot be two.
    fn apart(&mut self, steps: &[Step], place: &SpecPath) {
        let mut seen = HashSet::new();
        for (index, step) in steps.iter().enumerate() {
            let mut used = HashSet::new();
            faults_of(step, &mut used);
            for fault in used {
                if !seen.insert(fault) {
                    let message = format!("`{fault}` is beside itself: a fault can act once at a time");
                    self.add(
                        place.clone().index(index),
                        message,
                        "write a second NetworkFault, of another name",
                    );
                }
            }
        }
    }

    fn length(&mut self, length: Duration, path: SpecPath) {
        if length.is_zero() || length > MAX_DURATION {
            self.add(
                path,
                format!("{length} is out of range"),
                format!("write more than nothing, and at most {MAX_DURATION}"),
            );
        }
    }

    fn fault(&mut self, step: &FaultStep, at: &SpecPath) {
        let Some(fault) = self.faults.iter().find(|fault| fault.name() == step.fault) else {
            let names: Vec<&str> = self.faults.iter().map(NetworkFault::name).collect();
            let remedy = if names.is_empty() {
                "write the NetworkFault into the same file, after a line of `---`".to_owned()
            } else {
                format!("there are: {}", names.join(", "))
            };
            let message = format!("there is no NetworkFault `{}` beside the experiment", step.fault);
            return self.add(at.clone().field("fault"), message, remedy);
        };
        if let Some(length) = step.length {
            self.length(length, at.clone().field("for"));
        }
        if let Some(pulse) = &step.pulse {
            let at = at.clone().field("pulse");
            self.length(pulse.on, at.clone().field("on"));
            self.length(pulse.off, at.clone().field("off"));
            if pulse.times == 0 || pulse.times > MOST_TIMES {
                self.add(
                    at.field("times"),
                    format!("{} is out of range", pulse.times),
                    format!("write 1 to {MOST_TIMES}"),
                );
            }
        }
        if step.ramp.is_empty() {
            self.shape(fault, &step.settings, at);
        }
        for (index, stage) in step.ramp.iter().enumerate() {
            let at = at.clone().field("ramp").index(index);
            self.length(stage.length, at.clone().field("for"));
            self.shape(fault, &stage.settings.over(&step.settings), &at);
        }
    }

    /// What comes out has to be a fault, too.
    fn shape(&mut self, fault: &NetworkFault, settings: &Settings, at: &SpecPath) {
        match shape(self.experiment, fault, settings) {
            Ok(shaped) => {
                for error in validate(&shaped) {
                    let message = format!("`{}` would be refused: {}", fault.name(), error.message);
                    self.add(at.clone(), message, error.remedy);
                }
            }
            Err(error) => self.add(error.path.below(at), error.message, error.remedy),
        }
    }
}

fn faults_of<'a>(step: &'a Step, used: &mut HashSet<&'a str>) {
    if let Action::Fault(step) = &step.action {
        used.insert(&step.fault);
    }
    for step in step.inside().map_or(&[][..], |(_, steps)| steps) {
        faults_of(step, used);
    }
}

/// The same with limits in place of multiples, to see whether its form is right.
fn absolute(steady: &SteadyProbe) -> Expect {
    // Far below every timeout.
    let baseline = std::time::Duration::from_micros(1);
    let limit = |tolerance: Option<LatencyTolerance>| tolerance.map(|it| it.against(baseline));
    let expect = &steady.expect;
    Expect {
        status: expect.status.clone(),
        body: expect.body.clone(),
        latency: expect.latency,
        value: expect.value.map(|it| it.against(1.0)),
        window: WindowExpect {
            success: expect.success,
            p50: limit(expect.p50),
            p95: limit(expect.p95),
            p99: limit(expect.p99),
            max: limit(expect.max),
        },
    }
}

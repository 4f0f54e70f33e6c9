use std::fmt::Write as _;

use chaos_spec::api::{ExperimentView, Outcome, ProbeRun};

use super::{ms, score, share, verdict};

/// Two runs side by side: did we get better?
pub fn diff(before: &ExperimentView, after: &ExperimentView) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} {} → {} {}",
        before.name(),
        before.id,
        after.name(),
        after.id
    );
    let _ = writeln!(
        text,
        "outcome: {} → {}",
        verdict(&before.status),
        verdict(&after.status)
    );
    if let (Some(one), Some(other)) = (score(before), score(after)) {
        let _ = writeln!(
            text,
            "resilience score: {:.0} → {:.0} ({:+.0})",
            one.total,
            other.total,
            other.total - one.total
        );
    }
    let took = |view: &ExperimentView| ms(view.status.recovery.as_ref().and_then(|it| it.took_ms));
    let _ = writeln!(text, "recovery: {} → {}", took(before), took(after));
    for probe in &after.status.probes {
        let old = before.status.probes.iter().find(|old| old.name == probe.name);
        let Some(old) = old else {
            let _ = writeln!(text, "{}: was not looked at before", probe.name);
            continue;
        };
        let line =
            |probe: &ProbeRun| format!("{} well, p95 {}", share(&probe.during), ms(probe.during.p95_ms));
        let _ = writeln!(text, "{}: {} → {}", probe.name, line(old), line(probe));
    }
    for gone in &before.status.probes {
        if !after.status.probes.iter().any(|probe| probe.name == gone.name) {
            let _ = writeln!(text, "{}: is not looked at any more", gone.name);
        }
    }
    let _ = writeln!(text, "{}", judgement(before, after));
    text
}

fn judgement(before: &ExperimentView, after: &ExperimentView) -> &'static str {
    let held = |view: &ExperimentView| view.status.outcome == Some(Outcome::Held);
    match (held(before), held(after)) {
        (false, true) => "better: the hypothesis holds now",
        (true, false) => "worse: the hypothesis held before",
        _ => match (score(before), score(after)) {
            (Some(one), Some(other)) if other.total >= one.total + 1.0 => "better",
            (Some(one), Some(other)) if other.total <= one.total - 1.0 => "worse",
            (Some(_), Some(_)) => "about the same",
            _ => "not to be compared: one of them did not come to its method",
        },
    }
}

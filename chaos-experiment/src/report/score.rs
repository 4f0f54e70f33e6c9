use chaos_spec::api::{ExperimentView, Outcome, ProbeRun};

/// How well a system stood it, from 0 to 100: a number to compare runs of one experiment by, not systems.
///
/// * 60 for what stayed well: the share of samples that were well during the method, over that of the baseline;
/// * 20 for what stayed quick: p95 of the baseline over p95 during the method, at most 1;
/// * 20 for coming back: 1 less the share of the recovery bound that it took.
///
/// The first two are those of the worst probe. Nothing is scored of a run in which no fault acted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    pub total: f64,
    pub well: f64,
    pub quick: f64,
    pub back: f64,
}

/// The score of a run; none when its method was not begun.
pub fn score(view: &ExperimentView) -> Option<Score> {
    let status = &view.status;
    let began = status.steps.iter().any(|step| step.fault.is_some());
    if !began || matches!(status.outcome, None | Some(Outcome::NoSteadyState)) {
        return None;
    }
    let worst = |of: fn(&ProbeRun) -> Option<f64>| status.probes.iter().filter_map(of).fold(1.0, f64::min);
    let within = view.spec.recovery.within.as_std().as_secs_f64() * 1000.0;
    let back = match status.recovery.as_ref().and_then(|recovery| recovery.took_ms) {
        Some(took) => (1.0 - took / within).clamp(0.0, 1.0),
        None => 0.0,
    };
    let (well, quick) = (worst(well), worst(quick));
    Some(Score {
        total: 60.0 * well + 20.0 * quick + 20.0 * back,
        well,
        quick,
        back,
    })
}

fn well(probe: &ProbeRun) -> Option<f64> {
    let share = |seen: &chaos_spec::api::Seen| {
        (seen.samples > 0).then(|| (seen.samples - seen.failed) as f64 / seen.samples as f64)
    };
    let during = share(&probe.during)?;
    match share(&probe.baseline) {
        Some(before) if before > 0.0 => Some((during / before).min(1.0)),
        _ => Some(during),
    }
}

fn quick(probe: &ProbeRun) -> Option<f64> {
    let (before, during) = (probe.baseline.p95_ms?, probe.during.p95_ms);
    Some(during.map_or(0.0, |during| (before / during).min(1.0)))
}

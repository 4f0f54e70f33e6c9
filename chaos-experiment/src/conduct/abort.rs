//! When to stop early.

use std::time::{Duration, Instant};

use chaos_probe::Sample;
use chaos_spec::api::Outcome;
use chaos_spec::experiment::{SteadyExpect, SteadyProbe};
use chaos_spec::{Comparison, Probe, PrometheusProbe, Tls, ValueBound, ValueTolerance};

use super::{MethodEnd, Over, Run};
use crate::judge::Judge;
use crate::watch::Watch;

impl Run {
    pub(super) fn watch_alerts(&self) -> Result<Watch, Over> {
        let probes: Vec<SteadyProbe> = self
            .experiment()
            .spec
            .abort
            .alerts
            .iter()
            .map(|alert| {
                let query = format!(
                    "count(ALERTS{{alertname=\"{}\",alertstate=\"firing\"}}) or vector(0)",
                    alert.name
                );
                let probe = Probe::Prometheus(PrometheusProbe {
                    url: alert.prometheus.clone(),
                    query,
                    headers: Default::default(),
                    tls: Tls::default(),
                });
                SteadyProbe {
                    every: alert.every,
                    expect: SteadyExpect {
                        value: Some(ValueTolerance::Bound(ValueBound::new(Comparison::Equal, 0.0))),
                        ..SteadyExpect::default()
                    },
                    ..SteadyProbe::new(alert.name.clone(), probe)
                }
            })
            .collect();
        let wanted = probes
            .iter()
            .enumerate()
            .map(|(index, steady)| (index, steady, Judge::of_baseline(steady).expect));
        Watch::new(wanted, &*self.conductor.nets)
            .map(Watch::start)
            .map_err(|(name, error)| (Outcome::Failed, format!("the alert `{name}`: {error}")))
    }

    /// Failures that each probe may have, by the error budget.
    pub(super) fn budgets(&self, length: Duration) -> Vec<Option<u64>> {
        let share = self.experiment().spec.abort.error_budget;
        let of = |steady: &SteadyProbe| {
            let planned = length.as_secs_f64() / steady.every.as_std().as_secs_f64();
            share.map(|share| (planned * share.as_ratio()).floor() as u64)
        };
        self.probes().iter().map(of).collect()
    }

    /// Whether a sample was one too many.
    pub(super) fn too_much(
        &self,
        index: usize,
        sample: &Sample,
        why: Option<String>,
        budgets: &[Option<u64>],
    ) -> Option<MethodEnd> {
        let abort = &self.experiment().spec.abort;
        let judge = self.judges.get(index)?.as_ref()?;
        if self.probes()[index].expect.may_fail() {
            return None;
        }
        let name = &self.probes()[index].name;
        let stop = |text: String| {
            Some(MethodEnd::Aborted {
                why: text,
                probe: Some(name.clone()),
                at: sample.ended(),
            })
        };
        if let (Some(why), Some(most)) = (&why, abort.after)
            && judge.failures >= most.0
        {
            return stop(format!(
                "`{name}` failed {} times in a row: {why}",
                judge.failures
            ));
        }
        if let Some(budget) = budgets[index]
            && judge.tally.failed > budget
        {
            let failed = judge.tally.failed;
            return stop(format!(
                "`{name}` has spent its error budget: {failed} samples failed, {budget} may"
            ));
        }
        self.too_long()
    }

    /// Whether a probe has not been well for too long.
    pub(super) fn too_long(&self) -> Option<MethodEnd> {
        let within = self.experiment().spec.abort.within?;
        let now = Instant::now();
        let late = |judge: &Judge| judge.failing_for(now) >= within.as_std();
        let judges = self.probes().iter().zip(&self.judges);
        let (steady, _) = judges
            .filter(|(steady, _)| !steady.expect.may_fail())
            .filter_map(|(steady, judge)| Some((steady, judge.as_ref()?)))
            .find(|(_, judge)| late(judge))?;
        Some(MethodEnd::Aborted {
            why: format!("`{}` was not well for {within}", steady.name),
            probe: Some(steady.name.clone()),
            at: now,
        })
    }
}

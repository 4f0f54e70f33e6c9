//! Back to what it was: faults ended, and all well again.

use std::time::{Duration, Instant};

use chaos_spec::api::{Outcome, Reason, RecoveryRun};
use chaos_spec::experiment::SteadyProbe;
use futures_util::future::join_all;

use super::{Over, Run, ordered};
use crate::judge::Judge;

/// Well samples in a row by which a system is taken to have recovered, where there is time for so many.
const PASSES: u32 = 3;
/// How long it is tried to end a fault that does not end.
const ROLLBACK_PATIENCE: Duration = Duration::from_secs(20);
const ROLLBACK_PAUSE: Duration = Duration::from_millis(100);

impl Run {
    /// Ends every fault that may still be there; when the last had ended.
    pub(super) async fn roll_back(&self) -> (Result<(), String>, Instant) {
        let end = tokio::time::Instant::now() + ROLLBACK_PATIENCE;
        loop {
            let left = self.acting.left();
            // Side by side: one that takes its time keeps none of the others.
            let ends = join_all(left.iter().map(|name| self.end(name))).await;
            let failed = ends.into_iter().find_map(Result::err);
            match failed {
                None => return (Ok(()), Instant::now()),
                Some(why) if tokio::time::Instant::now() >= end => return (Err(why), Instant::now()),
                Some(_) => tokio::time::sleep(ROLLBACK_PAUSE).await,
            }
        }
    }

    async fn end(&self, name: &str) -> Result<(), String> {
        let ended = self.conductor.injector.end(name).await;
        let packets = ended.map_err(|error| format!("`{name}` could not be ended: {error}"))?;
        self.acting.ended(name);
        self.ledger().fault_over(name, packets, Some(Reason::Deleted));
        Ok(())
    }

    /// Looks until all is well again.
    pub(super) async fn recover(&mut self, since: Instant) -> Result<(), Over> {
        let within = self.experiment().spec.recovery.within;
        let judges = self.probes().iter().zip(&self.judges).map(|(steady, judge)| {
            steady.mode.after().then(|| match judge {
                Some(judge) => judge.afresh(steady),
                None => Judge::of_baseline(steady),
            })
        });
        self.judges = judges.collect();
        let mut watch = self.watch_those(&self.judges)?;
        let end = since + within.as_std();
        let mut stop = self.conductor.stop.clone();
        let recovered = loop {
            if let Some(at) = self.well_since(within.as_std()) {
                break Some(at);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break None;
            }
            tokio::select! {
                biased;
                by = ordered(&mut stop) => {
                    return Err((Outcome::Interrupted, format!("stopped by {by}; everything is undone")));
                }
                Some((index, sample)) = watch.next() => { self.judge(index, &sample); }
                () = tokio::time::sleep(left) => {}
            }
        };
        drop(watch);
        let lacking: Vec<String> = self
            .probes()
            .iter()
            .zip(&self.judges)
            .filter_map(|(steady, judge)| Some((steady, judge.as_ref()?)))
            .filter(|(steady, judge)| judge.passes < passes(steady, within.as_std()))
            .map(|(steady, judge)| match judge.tally.first_failure() {
                Some(why) => format!("{}: {why}", steady.name),
                None => format!("{}: not seen to be well often enough", steady.name),
            })
            .collect();
        for (index, judge) in self.judges.iter().enumerate() {
            let Some(judge) = judge else { continue };
            self.ledger().note(|status| {
                if let Some(run) = status.probes.get_mut(index) {
                    run.after = judge.tally.seen();
                }
            });
        }
        let took = recovered.map(|at| at.saturating_duration_since(since).as_secs_f64() * 1000.0);
        self.ledger().note(|status| {
            status.recovery = Some(RecoveryRun {
                took_ms: took,
                lacking: if took.is_some() {
                    Vec::new()
                } else {
                    lacking.clone()
                },
            });
        });
        match took {
            Some(_) => Ok(()),
            None => Err((
                Outcome::NotRecovered,
                format!("not well again within {within}: {}", lacking.join("; ")),
            )),
        }
    }

    /// Since when all has been well, once it has been often enough.
    fn well_since(&self, within: Duration) -> Option<Instant> {
        let mut latest: Option<Instant> = None;
        let judges = self.probes().iter().zip(&self.judges);
        for (steady, judge) in judges {
            let Some(judge) = judge else { continue };
            if judge.passes < passes(steady, within) {
                return None;
            }
            latest = latest.max(judge.well_since());
        }
        latest.or(Some(Instant::now()))
    }
}

/// So many passes in a row say that a probe is well again: three, or as many as there is time for.
fn passes(steady: &SteadyProbe, within: Duration) -> u32 {
    let most = within.as_secs_f64() / steady.every.as_std().as_secs_f64();
    PASSES.min(most as u32).max(1)
}

//! What came of it.

use std::fmt::Write as _;

use crate::bed::Trial;
use crate::nets::Net;

/// All trials of one net, the quickest first.
pub(crate) struct Row {
    name: &'static str,
    trigger: &'static str,
    bound: f64,
    trials: Vec<Trial>,
}

impl Row {
    pub(crate) fn new(net: &Net, mut trials: Vec<Trial>) -> Self {
        trials.sort_by(|a, b| a.took.total_cmp(&b.took));
        Self {
            name: net.name,
            trigger: net.trigger,
            bound: net.bound,
            trials,
        }
    }

    /// The time that this share of the trials did not exceed.
    fn quantile(&self, share: f64) -> f64 {
        let place = (self.trials.len() as f64 * share).ceil() as usize;
        self.trials[place.clamp(1, self.trials.len()) - 1].took
    }

    /// Trials that took longer than they may, and than the machine stood still in addition.
    fn late(&self) -> usize {
        let late = |trial: &&Trial| trial.took - trial.stall > self.bound;
        self.trials.iter().filter(late).count()
    }

    /// Trials that ended before they should have.
    fn early(&self) -> usize {
        self.trials.iter().filter(|trial| trial.took < -1.0).count()
    }
}

/// As Markdown.
pub(crate) fn text(rows: &[Row]) -> String {
    let mut text = String::from(
        "| net | counted from | bound, ms | trials | p50 | p99 | max |\n|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {} | {:.0} | {} | {:.1} | {:.1} | {:.1} |",
            row.name,
            row.trigger,
            row.bound,
            row.trials.len(),
            row.quantile(0.5),
            row.quantile(0.99),
            row.quantile(1.0),
        );
    }
    text
}

/// One line for each net that missed its bound.
pub(crate) fn late(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let (late, early) = (row.late(), row.early());
        if late + early > 0 {
            let _ = writeln!(
                text,
                "{}: of {} trials {late} took longer than {} ms and {early} ended too early",
                row.name,
                row.trials.len(),
                row.bound
            );
        }
    }
    text
}

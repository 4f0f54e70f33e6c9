//! One line of the table.

use serde::Serialize;

use crate::bed::Sides;

/// What would be perfect.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Aim {
    /// Exactly this.
    Exactly(f64),
    /// As little as can be.
    Low,
    /// As much as can be.
    High,
}

/// One thing, measured with both.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    group: String,
    name: String,
    unit: &'static str,
    aim: Aim,
    netem: f64,
    ours: f64,
    /// Two runs of the same thing may differ by this much.
    noise: f64,
    /// Warnings that our fault carried at its end.
    remark: String,
}

impl Row {
    /// `noise` in the row's unit.
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, aim: Aim, noise: f64) -> Self {
        Self {
            group: String::new(),
            name: name.into(),
            unit,
            aim,
            netem: f64::NAN,
            ours: f64::NAN,
            noise,
            remark: String::new(),
        }
    }

    pub(crate) fn measured(mut self, sides: Sides<f64>) -> Self {
        (self.netem, self.ours) = (sides.netem, sides.ours);
        self
    }

    /// The middle one of each tool's rounds: a machine that is shared now and then does something else. Two of them differ
    /// by chance by as much as their notches (McGill, Tukey and Larsen 1978), if that is more than is known of the row.
    pub(crate) fn repeated<T>(mut self, rounds: &Sides<Vec<T>>, of: impl Fn(&T) -> f64) -> Self {
        let rounds = rounds
            .as_ref()
            .map(|rounds| rounds.iter().map(&of).collect::<Vec<_>>());
        self.noise = self.noise.max(notch(&rounds.netem) + notch(&rounds.ours));
        self.measured(rounds.map(|values| quantile(&values, 0.5)))
    }

    pub(crate) fn remark(mut self, remark: &str) -> Self {
        remark.clone_into(&mut self.remark);
        self
    }

    pub(crate) fn of(mut self, group: &str) -> Self {
        group.clone_into(&mut self.group);
        self
    }
}

/// How far the middle one may be from that of endless rounds, in 95 of 100 cases.
fn notch(values: &[f64]) -> f64 {
    let spread = quantile(values, 0.75) - quantile(values, 0.25);
    1.58 * spread / (values.len() as f64).sqrt()
}

/// The value below which this share of them lies.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

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

    pub(crate) fn remark(mut self, remark: &str) -> Self {
        remark.clone_into(&mut self.remark);
        self
    }

    pub(crate) fn of(mut self, group: &str) -> Self {
        group.clone_into(&mut self.group);
        self
    }
}

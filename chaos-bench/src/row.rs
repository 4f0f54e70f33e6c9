//! One thing, measured beside another.

use serde::{Deserialize, Serialize};

use crate::Figures;

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Better {
    Lower,
    Higher,
}

/// What was promised.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// Ours less theirs, in the row's unit.
    OverAtMost(f64),
    RatioAtLeast(f64),
    RatioAtMost(f64),
    /// Ours alone, in the row's unit.
    AtMost(f64),
    AtLeast(f64),
    /// Ours is off theirs (what was asked for) by this share at most.
    Within(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Met,
    Missed,
    /// Nothing was promised.
    NoTarget,
}

/// One thing, measured with ours and with the other in turns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Set by who runs the benchmark.
    #[serde(default)]
    pub bench: String,
    pub name: String,
    pub unit: String,
    pub better: Better,
    /// The peer or the limit.
    pub against: String,
    pub samples: usize,
    pub ours: Figures,
    pub theirs: Figures,
    /// Ours to theirs, pair by pair; none when theirs is 0.
    #[serde(default)]
    pub ratio: Option<Figures>,
    /// Ours less theirs, pair by pair.
    pub over: Figures,
    #[serde(default)]
    pub target: Option<Target>,
    #[serde(default)]
    pub remark: String,
}

impl Row {
    /// `pairs` are ours and theirs, of neighbouring moments.
    ///
    /// # Panics
    /// Without pairs, or when one holds no number: that is a defect of the benchmark.
    pub fn new(
        name: impl Into<String>,
        unit: &str,
        better: Better,
        against: impl Into<String>,
        pairs: &[(f64, f64)],
    ) -> Self {
        let name = name.into();
        let of = |one: fn(&(f64, f64)) -> f64| Figures::of(&pairs.iter().map(one).collect::<Vec<_>>());
        let must = |figures: Option<Figures>| {
            figures.unwrap_or_else(|| panic!("{name}: {pairs:?} are no measurements"))
        };
        Self {
            bench: String::new(),
            unit: unit.to_owned(),
            better,
            against: against.into(),
            samples: pairs.len(),
            ours: must(of(|pair| pair.0)),
            theirs: must(of(|pair| pair.1)),
            ratio: of(|pair| pair.0 / pair.1),
            over: must(of(|pair| pair.0 - pair.1)),
            target: None,
            remark: String::new(),
            name,
        }
    }

    #[must_use]
    pub fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    #[must_use]
    pub fn remark(mut self, remark: impl Into<String>) -> Self {
        self.remark = remark.into();
        self
    }

    /// What is compared between runs: the ratio, and where there is none, the difference.
    pub fn compared(&self) -> Figures {
        self.ratio.unwrap_or(self.over)
    }

    /// By what is compared between runs.
    pub fn is_better_than(&self, other: &Self) -> bool {
        let (this, other) = (self.compared().median, other.compared().median);
        match self.better {
            Better::Lower => this < other,
            Better::Higher => this > other,
        }
    }

    pub fn verdict(&self) -> Verdict {
        let ratio = self.ratio.map_or(f64::NAN, |ratio| ratio.median);
        let met = match self.target {
            None => return Verdict::NoTarget,
            Some(Target::OverAtMost(bound)) => self.over.median <= bound,
            Some(Target::RatioAtLeast(bound)) => ratio >= bound,
            Some(Target::RatioAtMost(bound)) => ratio <= bound,
            Some(Target::AtMost(bound)) => self.ours.median <= bound,
            Some(Target::AtLeast(bound)) => self.ours.median >= bound,
            Some(Target::Within(share)) => (ratio - 1.0).abs() <= share,
        };
        if met { Verdict::Met } else { Verdict::Missed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pairs: &[(f64, f64)], target: Target) -> Row {
        Row::new("a row", "ns", Better::Lower, "an empty program", pairs).target(target)
    }

    #[test]
    fn targets_are_judged_by_the_middle_pair() {
        let pairs = [(30.0, 10.0), (28.0, 10.0), (90.0, 10.0)];
        for (target, verdict) in [
            (Target::OverAtMost(20.0), Verdict::Met),
            (Target::OverAtMost(19.0), Verdict::Missed),
            (Target::RatioAtMost(3.0), Verdict::Met),
            (Target::RatioAtLeast(3.1), Verdict::Missed),
            (Target::AtMost(30.0), Verdict::Met),
            (Target::AtLeast(31.0), Verdict::Missed),
            (Target::Within(2.0), Verdict::Met),
            (Target::Within(1.9), Verdict::Missed),
        ] {
            assert_eq!(row(&pairs, target).verdict(), verdict, "{target:?}");
        }
    }

    #[test]
    fn beside_nothing_there_is_no_ratio() {
        let row = row(&[(1.0, 0.0)], Target::RatioAtLeast(0.5));
        assert_eq!((row.ratio, row.verdict()), (None, Verdict::Missed));
    }

    #[test]
    #[should_panic(expected = "no measurements")]
    fn a_row_needs_numbers() {
        row(&[(f64::NAN, 1.0)], Target::AtMost(1.0));
    }
}

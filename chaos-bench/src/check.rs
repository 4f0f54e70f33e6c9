//! Has it got worse? Ratios are compared, and a difference counts beyond the noise that both runs measured.

use std::fmt;

use crate::{Better, Numbers, Place, Row};

/// However quiet two runs were, this share of a ratio tells nothing: another boot, other neighbours.
const FLOOR: f64 = 0.15;
/// The same of few samples, on a machine that has something else to do: half as much again is no noise.
const FLOOR_QUICK: f64 = 0.5;
/// The same on another processor or kernel, where an empty program costs something else, too.
const FLOOR_ELSEWHERE: f64 = 1.0;

/// A row that fell behind what it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Worse {
    pub place: Place,
    pub bench: String,
    pub name: String,
    pub then: f64,
    pub now: f64,
    pub noise: f64,
}

impl fmt::Display for Worse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            bench,
            name,
            then,
            now,
            noise,
            ..
        } = self;
        write!(
            f,
            "{bench}: {name}: {now:.3} was {then:.3}, and the noise is {noise:.3}"
        )
    }
}

/// Rows of `now` that are worse than the same rows of `then`; `quick`: it has few samples. Rows that only one of them
/// has are not compared.
pub fn worse(then: &Numbers, now: &Numbers, quick: bool) -> Vec<Worse> {
    let mut found = Vec::new();
    for (place, new) in now.measured() {
        let bench = new.rows.first().map_or("", |row| row.bench.as_str());
        let Some(old) = then.0.get(bench).and_then(|places| places.get(&place)) else {
            continue;
        };
        let floor = match (old.machine == new.machine, quick) {
            (true, false) => FLOOR,
            (true, true) => FLOOR_QUICK,
            (false, _) => FLOOR_ELSEWHERE,
        };
        for row in &new.rows {
            let before = old
                .rows
                .iter()
                .find(|before| before.name == row.name && before.against == row.against);
            found.extend(before.and_then(|before| compare(place, floor, before, row)));
        }
    }
    found
}

fn compare(place: Place, floor: f64, old: &Row, new: &Row) -> Option<Worse> {
    let (then, now) = (old.compared(), new.compared());
    let noise = then.spread() + now.spread() + floor * then.median.abs();
    let behind = match new.better {
        Better::Lower => now.median - then.median,
        Better::Higher => then.median - now.median,
    };
    (behind > noise).then(|| Worse {
        place,
        bench: new.bench.clone(),
        name: new.name.clone(),
        then: then.median,
        now: now.median,
        noise,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Line, Machine};

    fn numbers(better: Better, ours: &[f64]) -> Numbers {
        let pairs: Vec<(f64, f64)> = ours.iter().map(|value| (*value, 10.0)).collect();
        let row = Row::new("a row", "ns", better, "nothing", &pairs);
        let mut numbers = Numbers::default();
        numbers.add(Place::Native, [Line::Machine(Machine::here()), Line::Row(row)]);
        numbers
    }

    #[test]
    fn only_what_is_worse_beyond_the_noise_is_found() {
        let lower = |ours: &[f64]| numbers(Better::Lower, ours);
        let then = lower(&[20.0, 21.0, 22.0]);
        assert!(worse(&then, &lower(&[21.0, 22.0, 23.0]), false).is_empty());
        assert!(
            worse(&then, &lower(&[2.0, 2.0, 2.0]), false).is_empty(),
            "it is better"
        );
        assert_eq!(worse(&then, &lower(&[30.0, 31.0, 32.0]), false).len(), 1);
        assert!(worse(&then, &lower(&[30.0, 31.0, 32.0]), true).is_empty());
        assert_eq!(worse(&then, &lower(&[40.0, 41.0, 42.0]), true).len(), 1);
        assert!(
            worse(&then, &lower(&[20.0, 31.0, 42.0]), false).is_empty(),
            "a noisy run says nothing"
        );
        let mut elsewhere = lower(&[30.0, 31.0, 32.0]);
        for (_, measured) in elsewhere.0.values_mut().flatten() {
            "another".clone_into(&mut measured.machine.processor);
        }
        assert!(
            worse(&then, &elsewhere, false).is_empty(),
            "an empty program costs something else there"
        );
        let higher = |ours: &[f64]| numbers(Better::Higher, ours);
        assert_eq!(worse(&higher(&[9.0; 3]), &higher(&[5.0; 3]), false).len(), 1);
        assert!(worse(&higher(&[9.0; 3]), &lower(&[9.5; 3]), false).is_empty());
    }
}

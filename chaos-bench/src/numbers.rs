//! All that was measured, as it is kept.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Line, Machine, Row};

/// Where something is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// On the machine itself.
    Native,
    /// In an emulated machine with a kernel that has what the peers need.
    Emulated,
}

/// What could not be measured there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absent {
    #[serde(default)]
    pub bench: String,
    pub name: String,
    pub reason: String,
}

/// One benchmark, at one place, in one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    pub machine: Machine,
    pub rows: Vec<Row>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<Absent>,
}

/// By the name of the benchmark, and the place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Numbers(pub BTreeMap<String, BTreeMap<Place, Measured>>);

/// What goes wrong with a file of numbers.
#[derive(Debug, thiserror::Error)]
pub enum NumbersError {
    #[error("cannot {verb} {path}: {source}")]
    Io {
        verb: &'static str,
        path: String,
        source: std::io::Error,
    },
    #[error(
        "{path} holds no numbers of this version: {source}; measure again with `cargo xtask bench --write`"
    )]
    Json { path: String, source: serde_json::Error },
}

impl Numbers {
    /// What programs have said. Rows before the first machine belong to none and are left out.
    pub fn add(&mut self, place: Place, lines: impl IntoIterator<Item = Line>) {
        let mut machine = None;
        for line in lines {
            match (line, &machine) {
                (Line::Machine(here), _) => machine = Some(here),
                (Line::Row(row), Some(machine)) => self.at(&row.bench, place, machine).rows.push(row),
                (Line::Absent(absent), Some(machine)) => {
                    self.at(&absent.bench, place, machine).absent.push(absent);
                }
                (Line::Row(_) | Line::Absent(_), None) => {}
            }
        }
    }

    fn at(&mut self, bench: &str, place: Place, machine: &Machine) -> &mut Measured {
        let places = self.0.entry(bench.to_owned()).or_default();
        places.entry(place).or_insert_with(|| Measured {
            machine: machine.clone(),
            rows: Vec::new(),
            absent: Vec::new(),
        })
    }

    /// Takes in newer ones, benchmark by benchmark and place by place.
    pub fn replace(&mut self, newer: Self) {
        for (bench, places) in newer.0 {
            self.0.entry(bench).or_default().extend(places);
        }
    }

    /// Takes the better of each row that was measured again.
    pub fn take_better(&mut self, again: Self) {
        for (bench, places) in again.0 {
            for (place, measured) in places {
                let Some(kept) = self.0.get_mut(&bench).and_then(|places| places.get_mut(&place)) else {
                    continue;
                };
                for row in measured.rows {
                    if let Some(old) = kept.rows.iter_mut().find(|old| old.name == row.name)
                        && row.is_better_than(old)
                    {
                        *old = row;
                    }
                }
            }
        }
    }

    pub fn measured(&self) -> impl Iterator<Item = (Place, &Measured)> {
        let places = self.0.values().flatten();
        places.map(|(place, measured)| (*place, measured))
    }

    pub fn rows(&self) -> impl Iterator<Item = (Place, &Row)> {
        self.measured()
            .flat_map(|(place, measured)| measured.rows.iter().map(move |row| (place, row)))
    }

    /// # Errors
    /// When there is such a file and it cannot be read.
    pub fn read(path: &Path) -> Result<Self, NumbersError> {
        let shown = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => {
                serde_json::from_str(&text).map_err(|source| NumbersError::Json { path: shown, source })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(NumbersError::Io {
                verb: "read",
                path: shown,
                source,
            }),
        }
    }

    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), NumbersError> {
        let mut text = serde_json::to_string_pretty(self).expect("numbers and words");
        text.push('\n');
        fs::write(path, text).map_err(|source| NumbersError::Io {
            verb: "write",
            path: path.display().to_string(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Better;

    fn said(bench: &str, name: &str) -> Vec<Line> {
        let mut row = Row::new(name, "ns", Better::Lower, "nothing", &[(2.0, 1.0)]);
        bench.clone_into(&mut row.bench);
        vec![Line::Machine(Machine::here()), Line::Row(row)]
    }

    #[test]
    fn of_a_row_that_is_measured_again_the_better_counts() {
        let measured = |ours: f64| {
            let row = Row::new("a row", "ns", Better::Lower, "nothing", &[(ours, 1.0)]);
            let mut numbers = Numbers::default();
            numbers.add(Place::Native, [Line::Machine(Machine::here()), Line::Row(row)]);
            numbers
        };
        for (first, second) in [(2.0, 3.0), (3.0, 2.0)] {
            let mut numbers = measured(first);
            numbers.take_better(measured(second));
            assert_eq!(numbers, measured(2.0));
        }
    }

    #[test]
    fn a_new_run_replaces_its_benchmarks_and_leaves_the_others() {
        let mut kept = Numbers::default();
        kept.add(Place::Native, said("hit", "old"));
        kept.add(Place::Emulated, said("hit", "elsewhere"));
        kept.add(Place::Native, said("idle", "other"));
        let mut newer = Numbers::default();
        newer.add(Place::Native, said("hit", "new"));
        kept.replace(newer);
        let names: Vec<&str> = kept.rows().map(|(_, row)| row.name.as_str()).collect();
        assert_eq!(names, ["new", "elsewhere", "other"]);
        let text = serde_json::to_string(&kept).expect("numbers and words");
        assert_eq!(serde_json::from_str::<Numbers>(&text).expect("ours"), kept);
    }
}

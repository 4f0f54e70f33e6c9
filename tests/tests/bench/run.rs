//! What a benchmark is given to measure and to say.

use chaos_bench::{Absent, Line, Row};
use chaos_tests::Skip;

/// One benchmark's run.
pub(crate) struct Run {
    bench: &'static str,
    quick: bool,
}

impl Run {
    pub(crate) fn new(bench: &'static str, quick: bool) -> Self {
        eprintln!("{bench}:");
        Self { bench, quick }
    }

    /// Whether this is the short version that the gate runs: fewer samples, and no rows that take long to set up.
    pub(crate) fn is_quick(&self) -> bool {
        self.quick
    }

    /// Says a row. Rows of one benchmark have different names, the same in each run.
    pub(crate) fn row(&mut self, mut row: Row) {
        self.bench.clone_into(&mut row.bench);
        eprintln!(
            "  {}: {:.3} beside {:.3} {}",
            row.name, row.ours.median, row.theirs.median, row.unit
        );
        println!("{}", Line::Row(row).print());
    }

    /// Says what cannot be measured here.
    pub(crate) fn absent(&mut self, name: &str, skip: &Skip) {
        eprintln!("  {name}: {skip}");
        let absent = Absent {
            bench: self.bench.to_owned(),
            name: name.to_owned(),
            reason: skip.to_string(),
        };
        println!("{}", Line::Absent(absent).print());
    }
}

/// Pairs of ours and theirs, each measured right after the other; who is first changes, so that neither always has the
/// warm or the quiet moment.
pub(crate) fn in_turns(
    pairs: usize,
    mut ours: impl FnMut() -> f64,
    mut theirs: impl FnMut() -> f64,
) -> Vec<(f64, f64)> {
    (0..pairs)
        .map(|n| {
            if n % 2 == 0 {
                let ours = ours();
                (ours, theirs())
            } else {
                let theirs = theirs();
                (ours(), theirs)
            }
        })
        .collect()
}

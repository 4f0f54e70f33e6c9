//! Nanoseconds of a program, by BPF_PROG_TEST_RUN.

use chaos_bench::{Better, Row, Target};
use chaos_tests::Skip;
use chaos_tests::packet::cost::{self, Case};

use crate::run::{Run, in_turns};

pub(crate) const EMPTY: &str = "an empty tc program";

/// Runs of a program in one measurement of the kernel's.
const REPEAT: u32 = 50_000;

/// A case, beside what it is compared with.
pub(crate) fn row(run: &Run, case: &Case<'_>) -> Row {
    let pairs = best_in_turns(run, || case.ours(REPEAT), || case.theirs(REPEAT));
    let against = if case.beside.is_some() {
        "a packet that is none"
    } else {
        EMPTY
    };
    Row::new(case.name.clone(), "ns", Better::Lower, against, &pairs)
}

/// Pairs of the best of many short runs, in turns: those that nobody disturbed, also on a machine that others share.
pub(crate) fn best_in_turns(
    run: &Run,
    mut ours: impl FnMut() -> f64,
    mut theirs: impl FnMut() -> f64,
) -> Vec<(f64, f64)> {
    let (samples, short_runs) = if run.is_quick() { (5, 6) } else { (9, 16) };
    (0..samples)
        .map(|_| {
            let short = in_turns(short_runs, &mut ours, &mut theirs);
            let best = |one: fn(&(f64, f64)) -> f64| short.iter().map(one).fold(f64::MAX, f64::min);
            (best(|pair| pair.0), best(|pair| pair.1))
        })
        .collect()
}

pub(crate) fn innocent(run: &mut Run) -> Result<(), Skip> {
    let crowds: &[u32] = if run.is_quick() {
        &[1, 4_096]
    } else {
        &[1, 64, 4_096, 65_536]
    };
    cost::passing(crowds, &mut |case| {
        let bound = if case.name.starts_with("1 ") { 20.0 } else { 25.0 };
        let row = row(run, case).target(Target::OverAtMost(bound));
        run.row(row);
    })
}

pub(crate) fn steps(run: &mut Run) -> Result<(), Skip> {
    cost::steps(&mut |case| {
        let row = row(run, case);
        run.row(row);
    })
}

pub(crate) fn looking(run: &mut Run) -> Result<(), Skip> {
    cost::looking(&mut |case| {
        let row = row(run, case).target(Target::OverAtMost(60.0));
        run.row(row);
    })
}

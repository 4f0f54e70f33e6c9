//! What a packet pays that a fault is done to.

use chaos_bench::{Better, Row, Target, quantile};
use chaos_tests::Skip;
use chaos_tests::packet::cost::{self, Case};
use chaos_tests::packet::{At, Expect, Injection, Lab, fixtures};

use crate::cost::{EMPTY, row};
use crate::run::{Run, in_turns};

/// Single runs of each program in one sample.
const SINGLE_RUNS: usize = 200;

pub(crate) fn measure(run: &mut Run) -> Result<(), Skip> {
    cost::dropping(&mut |case| {
        let row = row(run, case).target(Target::OverAtMost(35.0));
        run.row(row);
    })?;
    if run.is_quick() {
        return Ok(());
    }
    let mut lab = Lab::new()?;
    // One that names none of the packets: the programs stay loaded from row to row.
    lab.inject(&Injection::new(
        "{direction: both, remote: {cidrs: [192.0.2.1]}}",
        "{partition: {}}",
    ));
    for fixture in fixtures() {
        if fixture.at == At::Xdp
            || matches!(fixture.expect, Expect::Untouched)
            || fixture.description.contains("icmp,")
        {
            continue;
        }
        let id = lab.inject(&fixture.injection);
        let case = Case {
            name: fixture.description,
            lab: &lab,
            at: fixture.at,
            frames: &[fixture.packet.frame()],
            beside: None,
        };
        // What sends a copy is left to single runs, too: it would send millions.
        let row = if fixture.repeats && fixture.copy.is_none() {
            row(run, &case)
        } else {
            Row::new(case.name.clone(), "ns", Better::Lower, EMPTY, &single_runs(&case)).remark("single runs")
        };
        run.row(row);
        lab.end(&[id]);
    }
    Ok(())
}

fn single_runs(case: &Case<'_>) -> Vec<(f64, f64)> {
    (0..9)
        .map(|_| {
            let (ours, theirs): (Vec<f64>, Vec<f64>) =
                in_turns(SINGLE_RUNS, || case.ours(1), || case.theirs(1))
                    .into_iter()
                    .unzip();
            (quantile(&ours, 0.5), quantile(&theirs, 0.5))
        })
        .collect()
}

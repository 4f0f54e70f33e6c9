//! From what ends a fault to the first packet that passes for good.

#[path = "../bounds/bed.rs"]
mod bed;
#[path = "../bounds/nets.rs"]
mod nets;

use chaos_tests::{Skip, require_tcx};

use self::bed::{Bed, Trial};
use self::nets::NETS;
use crate::paths::{self, Times};
use crate::run::Run;

/// Nets that have a promise here, with 99 of 100 within so many milliseconds; the deadline and the budget are exact, and are
/// held to that by `cargo xtask bench bounds`.
const PROMISED: [(&str, &str, f64); 5] = [
    ("delete", "delete", 5.0),
    ("halt", "halt", 50.0),
    ("health", "third bad answer of a health check", 50.0),
    ("link", "kill -9", 20.0),
    ("lease", "SIGSTOP", 2050.0),
];

pub(crate) fn measure(run: &mut Run) -> Result<(), Skip> {
    require_tcx()?;
    let trials = if run.is_quick() { 10 } else { 100 };
    let mut bed = Bed::new();
    for (name, words, bound) in PROMISED {
        let net = NETS
            .iter()
            .find(|net| net.name == name)
            .unwrap_or_else(|| panic!("no net is called {name}"));
        let trials: Vec<Trial> = (0..trials).map(|_| bed.trial(net)).collect();
        let pairs: Vec<(f64, f64)> = trials.iter().map(|trial| (trial.took, bound)).collect();
        let late = trials
            .iter()
            .filter(|trial| trial.took - trial.stall > net.bound)
            .count();
        paths::times(
            run,
            &Times {
                name: words,
                against: "the bound",
                within: Some(bound),
                remark: format!(
                    "counted from {}; {late} took longer than {} ms, and than the client itself was kept from running",
                    net.trigger, net.bound
                ),
            },
            &pairs,
        );
    }
    Ok(())
}

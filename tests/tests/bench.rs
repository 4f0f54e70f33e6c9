//! Ours beside its peers and the limits: what `cargo xtask bench` runs, here and in a guest.
//!
//! Arguments are names of benchmarks; `--quick` takes fewer samples. Each result is printed as a `chaos_bench::Line`.
#![forbid(unsafe_code)]

#[path = "bench/addresses.rs"]
mod addresses;
#[path = "bench/bandwidth.rs"]
mod bandwidth;
#[path = "bench/cost.rs"]
mod cost;
#[path = "bench/delay.rs"]
mod delay;
#[path = "bench/hit.rs"]
mod hit;
#[path = "bench/idle.rs"]
mod idle;
#[path = "bench/inject.rs"]
mod inject;
#[path = "bench/line.rs"]
mod line;
#[path = "bench/loss.rs"]
mod loss;
#[path = "bench/paths.rs"]
mod paths;
#[path = "bench/recover.rs"]
mod recover;
#[path = "bench/round_trip.rs"]
mod round_trip;
#[path = "bench/run.rs"]
mod run;
#[path = "bench/soak.rs"]
mod soak;
#[path = "bench/xdp.rs"]
mod xdp;

use std::process::ExitCode;

use chaos_bench::{BENCHES, Line, Machine};
use chaos_tests::Skip;

use crate::run::Run;

/// A name of [`BENCHES`], and what measures it.
type Bench = (&'static str, fn(&mut Run) -> Result<(), Skip>);

const ALL: &[Bench] = &[
    ("innocent", cost::innocent),
    ("steps", cost::steps),
    ("idle", idle::measure),
    ("hit", hit::measure),
    ("looking", cost::looking),
    ("addresses", addresses::measure),
    ("xdp", xdp::measure),
    ("loss", loss::measure),
    ("delay", delay::measure),
    ("line", line::measure),
    ("bandwidth", bandwidth::measure),
    ("inject", inject::measure),
    ("recover", recover::measure),
    ("soak", soak::measure),
];

fn main() -> ExitCode {
    let (flags, names): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|word| word.starts_with('-'));
    // Other flags are what libtest's runners say to every test program.
    let quick = flags.iter().any(|flag| flag == "--quick");
    for name in &names {
        if ALL.iter().all(|(known, _)| known != name) {
            let known: Vec<&str> = ALL.iter().map(|(known, _)| *known).collect();
            eprintln!(
                "bench: no benchmark is called `{name}`; there are {}",
                known.join(", ")
            );
            return ExitCode::from(2);
        }
    }
    println!("{}", Line::Machine(Machine::here()).print());
    for about in BENCHES {
        let (name, measure) = ALL
            .iter()
            .find(|(name, _)| *name == about.name)
            .unwrap_or_else(|| panic!("nothing measures {}", about.name));
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            let mut run = Run::new(name, quick);
            if let Err(skip) = measure(&mut run) {
                run.absent("all of it", &skip);
            }
        }
    }
    ExitCode::SUCCESS
}

//! From what ends a fault to the first packet that passes again, seen by a client that sends one every millisecond.
//!
//! `cargo xtask bench bounds`: `--trials N` of each, `--only NET` (may be repeated), `--check` fails when one took longer
//! than it may.
#![forbid(unsafe_code)]

#[path = "bounds/bed.rs"]
mod bed;
#[path = "bounds/nets.rs"]
mod nets;
#[path = "bounds/table.rs"]
mod table;

use std::process::ExitCode;

use chaos_tests::require_tcx;

use crate::bed::Bed;
use crate::nets::NETS;
use crate::table::Row;

struct Args {
    trials: usize,
    only: Vec<String>,
    check: bool,
}

fn args() -> Result<Args, String> {
    let mut args = Args {
        trials: 100,
        only: Vec::new(),
        check: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--trials" => {
                let number = words.next().and_then(|text| text.parse().ok());
                args.trials = number
                    .filter(|n| *n > 0)
                    .ok_or("--trials needs a number above 0")?;
            }
            "--only" => {
                let name = words.next().ok_or("--only needs the name of a net")?;
                if NETS.iter().all(|net| net.name != name) {
                    let known: Vec<&str> = NETS.iter().map(|net| net.name).collect();
                    return Err(format!(
                        "no net is called `{name}`; there are {}",
                        known.join(", ")
                    ));
                }
                args.only.push(name);
            }
            "--check" => args.check = true,
            // What cargo and libtest's runners say to every test program.
            "--nocapture" | "--bench" => {}
            other => return Err(format!("`{other}`: --trials N, --only NET and --check are known")),
        }
    }
    Ok(args)
}

fn main() -> ExitCode {
    let args = match args() {
        Ok(args) => args,
        Err(message) => {
            eprintln!("bounds: {message}");
            return ExitCode::from(2);
        }
    };
    if let Err(skip) = require_tcx() {
        skip.report("bounds");
        return ExitCode::SUCCESS;
    }
    let mut bed = Bed::new();
    let mut rows = Vec::new();
    for net in NETS {
        if !args.only.is_empty() && !args.only.iter().any(|name| name == net.name) {
            continue;
        }
        eprintln!("{}: {} trials", net.name, args.trials);
        let trials = (0..args.trials).map(|_| bed.trial(&net)).collect();
        rows.push(Row::new(&net, trials));
    }
    print!("{}", table::text(&rows));
    let late = table::late(&rows);
    print!("{late}");
    if args.check && !late.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

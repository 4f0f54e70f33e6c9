//! What a packet pays, in nanoseconds over an empty program, measured by BPF_PROG_TEST_RUN in one run of the kernel.
//!
//! `cargo xtask bench [-- [--json FILE] [--only GROUP] [--quick] [--check]]`: prints the tables; `--json` writes them, too; `--only` passing, dropping, steps, addresses or table; `--quick`
//! takes fewer samples; `--check` fails when a promise is not kept.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use chaos_tests::Skip;
use chaos_tests::packet::cost::{Cost, Effort, addresses, dropping, passing, steps, table, text};

#[derive(Default)]
struct Args {
    json: Option<PathBuf>,
    only: Option<String>,
    quick: bool,
    check: bool,
}

fn args() -> Result<Args, String> {
    let mut args = Args::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" => args.json = Some(words.next().ok_or("--json needs a FILE")?.into()),
            "--only" => args.only = Some(words.next().ok_or("--only needs a GROUP")?),
            "--quick" => args.quick = true,
            "--check" => args.check = true,
            // What cargo and libtest's runners say to every test program.
            "--nocapture" | "--bench" => {}
            other => {
                return Err(format!(
                    "`{other}`: --json FILE, --only GROUP, --quick and --check are known"
                ));
            }
        }
    }
    Ok(args)
}

type Group = fn(Effort, &mut dyn FnMut(Cost)) -> Result<(), Skip>;

const GROUPS: [(&str, Group); 5] = [
    ("passing", passing),
    ("dropping", dropping),
    ("steps", steps),
    ("addresses", addresses),
    ("table", table),
];

fn measure(effort: Effort, only: Option<&str>) -> Result<Vec<Cost>, Skip> {
    let mut costs = Vec::new();
    let mut report = |cost: Cost| {
        eprintln!("  {}: {:.0}", cost.name, cost.over_empty_ns);
        costs.push(cost);
    };
    for (name, group) in GROUPS {
        if only.is_none_or(|only| only == name) {
            group(effort, &mut report)?;
        }
    }
    Ok(costs)
}

fn main() -> ExitCode {
    let args = match args() {
        Ok(args) => args,
        Err(message) => {
            eprintln!("bench: {message}");
            return ExitCode::from(2);
        }
    };
    let effort = if args.quick {
        Effort {
            samples: 30,
            ..Effort::FULL
        }
    } else {
        Effort::FULL
    };
    let costs = match measure(effort, args.only.as_deref()) {
        Ok(costs) => costs,
        Err(skip) => {
            println!("SKIP bench: {skip}");
            return ExitCode::SUCCESS;
        }
    };
    print!("{}", text(&costs));
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&costs).expect("numbers and words");
        if let Err(error) = std::fs::write(path, text) {
            eprintln!("bench: {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    let missed = costs.iter().filter(|cost| !cost.holds()).count();
    if missed > 0 {
        println!("\n{missed} of the promised bounds are missed");
    }
    if args.check && missed > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

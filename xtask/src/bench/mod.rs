//! `cargo xtask bench`: ours beside its peers and the limits, and whether it got worse.

mod bounds;
mod measure;
mod netem;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use chaos_bench::{About, BENCHES, Numbers, Place, about, page, text, worse};

use crate::process::note;
use crate::workspace::Workspace;

/// The numbers behind [`PAGE`], and what `--check` compares with.
const NUMBERS: &str = "docs/performance.json";
const PAGE: &str = "docs/performance.md";
/// The page is generated after this line, to its end.
const MARK: &str = "<!-- From here on written by `cargo xtask bench --write`. -->";
/// A busy machine makes a benchmark worse, never better: so many times what got worse is measured in all.
const TRIES: usize = 3;

/// Measure ours beside its peers and the limits, in one run, and print the ratios. Needs root.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    table: Option<Table>,
    /// Benchmarks; all when none is named.
    #[arg(value_parser = names())]
    names: Vec<String>,
    /// Write the numbers to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fewer samples; without a name, only what the gate runs.
    #[arg(long)]
    quick: bool,
    /// Compare the ratios with docs/performance.json, and fail when one is worse beyond the noise of both runs.
    #[arg(long)]
    check: bool,
    /// Bring docs/performance.json and docs/performance.md up to date; what is not measured now stays as it is.
    #[arg(long, conflicts_with = "quick")]
    write: bool,
    /// Take the rows out of what `target/release/deps/bench-…` has printed on this machine, in place of measuring now.
    #[arg(long, value_name = "LOG", conflicts_with_all = ["quick", "only"])]
    from: Option<PathBuf>,
    /// Only what is measured there; else both, where a benchmark has both.
    #[arg(long, value_enum, value_name = "PLACE")]
    only: Option<Where>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Where {
    Native,
    Emulated,
}

#[derive(Debug, clap::Subcommand)]
enum Table {
    Netem(netem::Args),
    Bounds(bounds::Args),
    /// Pure code, by criterion: parsers, and what programs decide for each packet. Needs no root.
    Code {
        /// Arguments for criterion, such as a part of a name.
        #[arg(last = true)]
        pass_on: Vec<String>,
    },
}

fn names() -> clap::builder::PossibleValuesParser {
    clap::builder::PossibleValuesParser::new(BENCHES.iter().map(|about| about.name))
}

pub(crate) fn run(ws: &Workspace, args: &Args) -> Result<()> {
    match &args.table {
        Some(Table::Netem(args)) => netem::run(ws, args),
        Some(Table::Bounds(args)) => measure::program(ws, "bounds", &args.words()),
        Some(Table::Code { pass_on }) => measure::code(ws, pass_on),
        None => benches(ws, args),
    }
}

fn benches(ws: &Workspace, args: &Args) -> Result<()> {
    let wanted: Vec<&About> = if args.names.is_empty() {
        BENCHES.iter().filter(|about| about.gate || !args.quick).collect()
    } else {
        args.names.iter().filter_map(|name| about(name)).collect()
    };
    let places = match args.only {
        Some(Where::Native) => &[Place::Native][..],
        Some(Where::Emulated) => &[Place::Emulated],
        None if args.quick => &[Place::Native],
        None => &[Place::Native, Place::Emulated],
    };
    let then = Numbers::read(&ws.root().join(NUMBERS))?;
    let mut now = match &args.from {
        Some(log) => measure::printed(log)?,
        None => measure::all(ws, &wanted, places, args.quick)?,
    };
    let mut behind = worse(&then, &now, args.quick);
    if args.check && args.from.is_none() {
        for _ in 1..TRIES {
            let again: Vec<&About> = wanted
                .iter()
                .copied()
                .filter(|about| behind.iter().any(|worse| worse.bench == about.name))
                .collect();
            if again.is_empty() {
                break;
            }
            note("measured again, as something was worse than in docs/performance.json");
            now.take_better(measure::all(ws, &again, places, args.quick)?);
            behind = worse(&then, &now, args.quick);
        }
    }
    print!("{}", text(&now));
    if let Some(path) = &args.json {
        now.write(path)?;
    }
    if args.write {
        update(ws, then, now)?;
    }
    for worse in &behind {
        println!("worse than in {NUMBERS}: {worse}");
    }
    if args.check && !behind.is_empty() {
        bail!("{} rows are worse than in {NUMBERS}", behind.len());
    }
    Ok(())
}

/// Puts new numbers among the old ones, and all of them onto the page.
fn update(ws: &Workspace, mut all: Numbers, new: Numbers) -> Result<()> {
    all.replace(new);
    all.write(&ws.root().join(NUMBERS))?;
    let path = ws.root().join(PAGE);
    let old = fs::read_to_string(&path).with_context(|| format!("cannot read {PAGE}"))?;
    let (words, _) = old
        .split_once(MARK)
        .with_context(|| format!("{PAGE} has no line `{MARK}`"))?;
    fs::write(&path, format!("{words}{MARK}\n{}", page(&all))).with_context(|| format!("cannot write {PAGE}"))
}

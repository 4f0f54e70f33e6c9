//! Every chore of the project is one verb: `cargo xtask <verb>`.
#![forbid(unsafe_code)]

mod bench;
mod build;
mod demo;
mod lint;
mod process;
mod setup;
mod test;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The chores of chaos-daemon. Each verb does the set-up that it needs.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Setup(setup::Args),
    Build(build::Args),
    Demo(demo::Args),
    Test(test::Args),
    Vm(vm::Args),
    Bench(bench::Args),
    Lint(lint::Args),
    #[command(hide = true)]
    DemoEnter(demo::enter::Args),
    #[command(hide = true)]
    DemoStock(demo::stock::Args),
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<demo::Interrupted>() {
                ExitCode::from(130)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn dispatch(verb: Verb) -> anyhow::Result<()> {
    let ws = workspace::Workspace::discover()?;
    match verb {
        Verb::Setup(args) => setup::run(&ws, &args),
        Verb::Build(args) => build::run(&ws, &args),
        Verb::Demo(args) => demo::run(&ws, &args),
        Verb::DemoEnter(args) => demo::enter::run(&args),
        Verb::DemoStock(args) => demo::stock::run(&args),
        Verb::Test(args) => test::run(&ws, &args),
        Verb::Vm(args) => vm::run(&ws, &args),
        Verb::Bench(args) => bench::run(&ws, &args),
        Verb::Lint(args) => lint::run(&ws, &args),
    }
}

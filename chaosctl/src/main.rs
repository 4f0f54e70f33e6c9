//! `chaosctl`: the command line of chaos-daemon. Speaks HTTP to the daemon's socket and knows no kernel.
#![forbid(unsafe_code)]

mod cli;
mod daemon;
mod exit;
mod failure;
mod manifest;
mod nearest;
mod output;
mod table;
mod verb;

fn main() -> std::process::ExitCode {
    match run() {
        Ok(code) => code.into(),
        Err(failure) => failure.report(),
    }
}

fn run() -> Result<exit::Exit, failure::Failure> {
    match cli::parse() {
        cli::Parsed::Command(cli) => cli.run(),
        cli::Parsed::Answered(code) => Ok(code),
    }
}

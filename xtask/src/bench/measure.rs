//! Running the programs that measure.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use chaos_bench::{About, Line, Numbers, Place};

use crate::process::{self, describe, is_root, run as run_command, step};
use crate::setup::{self, Purpose, Series};
use crate::{build, vm, workspace::Workspace};

/// Benchmarks at the places where they have something to measure.
pub(super) fn all(ws: &Workspace, wanted: &[&About], places: &[Place], quick: bool) -> Result<Numbers> {
    let mut numbers = Numbers::default();
    for place in places {
        let names: Vec<String> = wanted
            .iter()
            .filter(|about| about.places.contains(place))
            .map(|about| about.name.to_owned())
            .collect();
        if names.is_empty() {
            continue;
        }
        let lines = match place {
            Place::Native => native(ws, names, quick)?,
            Place::Emulated => emulated(ws, &names)?,
        };
        numbers.add(*place, lines);
    }
    Ok(numbers)
}

/// What a run on this machine has printed.
pub(super) fn printed(log: &Path) -> Result<Numbers> {
    let text = fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
    let mut numbers = Numbers::default();
    numbers.add(Place::Native, text.lines().filter_map(Line::parse));
    Ok(numbers)
}

fn native(ws: &Workspace, mut words: Vec<String>, quick: bool) -> Result<Vec<Line>> {
    if quick {
        words.push("--quick".to_owned());
    }
    let mut command = command(ws, "bench", &words)?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", describe(&command)))?;
    let output = child.stdout.take().context("the child's stdout is a pipe")?;
    let mut lines = Vec::new();
    for line in BufReader::new(output).lines() {
        lines.extend(Line::parse(&line.context("reading what the benchmarks say")?));
    }
    let status = child.wait().context("waiting for the benchmarks")?;
    if !status.success() {
        bail!("`{}` failed: {status}", describe(&command));
    }
    Ok(lines)
}

/// In one boot of Debian's 6.12, which has what the peers need.
fn emulated(ws: &Workspace, names: &[String]) -> Result<Vec<Line>> {
    let measured = vm::measure(ws, Series::V6_12, "bench", names)?;
    if !measured.broke.is_empty() {
        bail!("not to their end: {}", measured.broke.join(", "));
    }
    Ok(measured
        .lines
        .iter()
        .filter_map(|line| Line::parse(line))
        .collect())
}

/// A program of measurements to its end, with this terminal.
pub(super) fn program(ws: &Workspace, name: &str, words: &[String]) -> Result<()> {
    run_command(&mut command(ws, name, words)?)
}

/// The benches of criterion.
pub(super) fn code(ws: &Workspace, words: &[String]) -> Result<()> {
    let mut command = process::cargo(ws)?;
    command
        .args(["bench", "--locked", "-p", "chaos-spec", "-p", "chaos-ebpf-common"])
        .args(["--bench", "parse", "--bench", "packet", "--"])
        .args(words);
    run_command(&mut command)
}

/// A program of measurements, after all the set-up that it needs.
fn command(ws: &Workspace, name: &str, words: &[String]) -> Result<Command> {
    if !is_root() {
        bail!(
            "the benches load BPF programs and make network namespaces, which needs root: sudo -E cargo xtask bench"
        );
    }
    build::binaries(ws)?;
    setup::programs_for(Purpose::Tests)?;
    step(name);
    let mut command = process::cargo_test(ws, name)?;
    command
        .args(["--", "--nocapture"])
        .args(words)
        .env("CHAOS_BIN_DIR", ws.release_bins());
    Ok(command)
}

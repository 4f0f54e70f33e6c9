//! `cargo xtask test`: the layers in their order, and one table at the end.

mod summary;

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

pub(crate) use self::summary::{Outcome as LayerOutcome, Tally, parse_skip, table_of};
use crate::process::{self, describe, is_root, note, step};
use crate::setup::{self, Purpose, Series};
use crate::{build, vm, workspace::Workspace};

/// Run the tests, layer by layer, after all the set-up they need.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Layers to run; all when none is named.
    #[arg(value_enum)]
    layers: Vec<Layer>,
    /// Every end-to-end test on every kernel, in place of the short selection: most of an hour for each.
    #[arg(long)]
    all: bool,
    /// Arguments for the test programs: a filter, or libtest's own options.
    #[arg(last = true)]
    filter: Vec<String>,
}

/// The layers, in the order in which they run: each may trust what the ones before it have shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Layer {
    /// Host code of every crate, property tests and documentation examples; needs no root.
    Unit,
    /// Packets in, verdicts and packets out, through the kernel's own test run of the loaded programs.
    Testrun,
    /// End to end: a real daemon, real clients and servers in namespaces that the tests make.
    Netns,
    /// The daemon is killed, aborted, hung and told to end at random moments: a hundred rounds, a thousand with --all.
    Crash,
    /// End to end on Debian's kernels in an emulated machine; a short selection without --all.
    Vm,
}

impl Layer {
    fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Testrun => "testrun",
            Self::Netns => "netns",
            Self::Crash => "crash",
            Self::Vm => "vm",
        }
    }

    fn needs_root(self) -> bool {
        matches!(self, Self::Testrun | Self::Netns | Self::Crash)
    }

    /// Whether its tests measure times that a machine which stands still for a moment spoils. The crash campaigns are
    /// not among them: each of their rounds is another one, and one that fails has shown something.
    fn shares_the_machine(self) -> bool {
        matches!(self, Self::Testrun | Self::Netns)
    }

    fn command(self, ws: &Workspace, filter: &[String]) -> Result<Command> {
        let mut command = match self {
            Self::Unit => {
                let mut command = process::cargo(ws)?;
                command.args(["test", "--locked", "--workspace", "--exclude", "chaos-tests"]);
                command.args(["--no-fail-fast", "--"]);
                command
            }
            Self::Testrun | Self::Netns | Self::Crash | Self::Vm => {
                let mut command = process::cargo_test(ws, self.name())?;
                // --show-output: the reasons of skipped tests are in the output of tests that passed.
                command.args(["--", "--test-threads=1", "--show-output"]);
                command
            }
        };
        command.args(filter).env("CHAOS_BIN_DIR", ws.release_bins());
        Ok(command)
    }
}

pub(crate) fn run(ws: &Workspace, args: &Args) -> Result<()> {
    let mut layers = if args.layers.is_empty() {
        let mut all = Layer::value_variants().to_vec();
        // Guests are slow, and so are asked for by name.
        if !args.all {
            note("without the layer vm: `test vm` runs it, and `test --all`");
            all.retain(|layer| *layer != Layer::Vm);
        } else if let Some(reason) = vm::obstacle() {
            note(format_args!("without the layer vm: {reason}"));
            all.retain(|layer| *layer != Layer::Vm);
        }
        all
    } else {
        args.layers.clone()
    };
    layers.sort();
    layers.dedup();
    prepare(ws, &layers)?;

    let mut outcomes = Vec::new();
    for layer in layers {
        step(format_args!("tests: {}", layer.name()));
        if layer == Layer::Vm {
            outcomes.extend(run_vm(ws, args)?);
        } else {
            let mut command = layer.command(ws, &args.filter)?;
            if args.all {
                // As long as the promises speak of, where a test takes a sample otherwise.
                command.env("CHAOS_TEST_ALL", "1");
            }
            let mut tally = run_layer(&mut command)?;
            if layer.shares_the_machine() && args.filter.is_empty() {
                run_again(ws, layer, &mut tally)?;
            }
            outcomes.push(LayerOutcome::new(layer.name(), tally));
        }
    }
    let (text, refusal) = table_of(&outcomes);
    print!("{text}");
    match refusal {
        Some(reason) => bail!("{reason}"),
        None => Ok(()),
    }
}

/// One or two tests that failed have one more run each, alone; the table says which passed only then.
fn run_again(ws: &Workspace, layer: Layer, tally: &mut Tally) -> Result<()> {
    for test in tally.worth_another_run() {
        step(format_args!("tests: {}: {test} once more, alone", layer.name()));
        let mut command = layer.command(ws, &["--exact".to_owned(), test.clone()])?;
        if run_layer(&mut command)?.is_a_success() {
            tally.passed_alone(&test);
        }
    }
    Ok(())
}

/// The tests in guests: on the kernels that users have without --all.
fn run_vm(ws: &Workspace, args: &Args) -> Result<Vec<LayerOutcome>> {
    // A filter names what is wanted; libtest's options mean nothing there.
    let filter: Vec<String> = args
        .filter
        .iter()
        .filter(|word| !word.starts_with('-'))
        .cloned()
        .collect();
    let (kernels, choice) = if args.all {
        (Series::value_variants(), vm::Choice::All)
    } else if filter.is_empty() {
        (&[Series::V6_1, Series::V6_12][..], vm::Choice::Fast)
    } else {
        (&[Series::V6_1, Series::V6_12][..], vm::Choice::All)
    };
    let outcomes = vm::test(ws, &vm::Wanted::new(kernels, choice, &filter))?;
    Ok(outcomes
        .into_iter()
        .map(|(series, outcome)| LayerOutcome::of_vm(series.name(), outcome))
        .collect())
}

/// All set-up that the chosen layers need, before the first test runs.
fn prepare(ws: &Workspace, layers: &[Layer]) -> Result<()> {
    if let Some(layer) = layers.iter().find(|layer| layer.needs_root() && !is_root()) {
        bail!(
            "the layer `{}` loads BPF programs and makes network namespaces, which needs root: \
             sudo -E cargo xtask test (without root: cargo xtask test unit)",
            layer.name()
        );
    }
    if layers.iter().any(|layer| layer.needs_root()) {
        setup::programs_for(Purpose::Tests)?;
        build::binaries(ws)
    } else {
        // The daemon's build script embeds the object, also for its unit tests.
        build::kernel_object(ws).map(drop)
    }
}

/// Runs one test command, passing its output on as it comes, and counts.
fn run_layer(command: &mut Command) -> Result<Tally> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", describe(command)))?;
    let mut output = child.stdout.take().context("the child's stdout is a pipe")?;
    let mut tally = Tally::default();
    let mut line = Vec::new();
    let mut chunk = [0_u8; 8192];
    loop {
        let n = output.read(&mut chunk).context("reading the tests' output")?;
        if n == 0 {
            break;
        }
        // Passed on in chunks, not lines, so that the name of the running test is seen while it runs.
        let mut stdout = std::io::stdout().lock();
        stdout
            .write_all(&chunk[..n])
            .and_then(|()| stdout.flush())
            .context("writing the tests' output")?;
        for &byte in &chunk[..n] {
            if byte == b'\n' {
                tally.read_line(&String::from_utf8_lossy(&line));
                line.clear();
            } else {
                line.push(byte);
            }
        }
    }
    tally.read_line(&String::from_utf8_lossy(&line));
    let status = child.wait().context("waiting for the tests")?;
    tally.finish(status.success());
    Ok(tally)
}

//! `cargo xtask vm`: the end-to-end tests on other kernels, in an emulated machine.
//!
//! The emulation is of every instruction, so no virtualisation support is needed, and times mean little: the tests
//! are told by `CHAOS_EMULATED=1`. Nothing needs root here; the guest has its own.

mod binaries;
mod boot;
mod console;
mod disk;
mod initrd;
mod session;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum as _;

use self::binaries::Binaries;
use self::boot::Machine;
pub(crate) use self::session::Outcome;
use crate::process::{find_program, note, step};
use crate::setup::{self, Emulator, Kernel, Purpose, Series};
use crate::test::{LayerOutcome, table_of};
use crate::workspace::Workspace;

/// How long a test may take in the guest.
const TEST_LIMIT: Duration = Duration::from_mins(4);
/// How long a group of measurements may take there.
const GROUP_LIMIT: Duration = Duration::from_mins(30);
/// As many as the machines have on which all is measured.
const PROCESSORS: u32 = 2;

/// Run the end-to-end tests on Debian's kernels, in an emulated machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Kernels; all when none is named.
    #[arg(long = "kernel", value_enum)]
    kernels: Vec<Series>,
    /// Only the short selection that `cargo xtask test` runs.
    #[arg(long)]
    fast: bool,
    /// Processors of the guest.
    #[arg(long, value_name = "N", default_value_t = PROCESSORS, value_parser = clap::value_parser!(u32).range(1..=16))]
    processors: u32,
    /// Parts of names: tests that have none of them are left out.
    #[arg(last = true)]
    filter: Vec<String>,
}

/// What is to be tested, and on what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    kernels: &'a [Series],
    /// Of each guest.
    processors: u32,
    choice: Choice,
    /// Parts of names, as for libtest.
    filter: &'a [String],
}

impl<'a> Wanted<'a> {
    /// In guests of the usual size.
    pub(crate) fn new(kernels: &'a [Series], choice: Choice, filter: &'a [String]) -> Self {
        Self {
            kernels,
            processors: PROCESSORS,
            choice,
            filter,
        }
    }
}

/// Which tests are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// [`FAST`] on the kernels of a Debian release.
    Fast,
    All,
}

/// Each shows one thing that differs between kernels: the attaching, the packet path, the way a fault ends.
const FAST: [&str; 11] = [
    "clsact::a_killed_daemon_leaves_filters_that_do_nothing_and_the_next_one_removes_them",
    "clsact::a_line_makes_packets_wait_and_goes_with_its_daemon",
    "clsact::faults_of_both_directions_act_beside_a_filter_of_somebody_else",
    "coexist::a_tcx_program_at_the_tail_stays_where_it_is",
    "delay::every_packet_waits_and_none_a_moment_less",
    "drop::every_fifth_is_every_fifth",
    "ending::a_budget_is_spent_to_the_packet",
    "ending::a_killed_daemon_lets_go_within_twenty_milliseconds_and_leaves_nothing",
    "ending::three_seconds_are_three_seconds",
    "kernel_delay::sixty_questions_come_back_as_late_as_asked_in_both_directions",
    "partition::a_partition_from_one_host_leaves_the_way_to_another",
];

pub(crate) fn run(ws: &Workspace, args: &Args) -> Result<()> {
    let mut kernels = args.kernels.clone();
    if kernels.is_empty() {
        kernels = Series::value_variants().to_vec();
    }
    kernels.sort();
    kernels.dedup();
    let choice = if args.fast { Choice::Fast } else { Choice::All };
    let wanted = Wanted {
        processors: args.processors,
        ..Wanted::new(&kernels, choice, &args.filter)
    };
    let outcomes: Vec<LayerOutcome> = test(ws, &wanted)?
        .into_iter()
        .map(|(series, outcome)| LayerOutcome::of_vm(series.name(), outcome))
        .collect();
    let (text, refusal) = table_of(&outcomes);
    print!("{text}");
    match refusal {
        Some(reason) => bail!("{reason}"),
        None => Ok(()),
    }
}

/// Why no guest can run on this machine, if so.
pub(crate) fn obstacle() -> Option<&'static str> {
    if std::env::consts::ARCH != "x86_64" {
        Some("the guests are x86_64 machines with this machine's programs")
    } else if find_program("apt-get").is_none() {
        Some("kernels and emulator come from Debian packages, and apt-get is not here")
    } else {
        None
    }
}

/// Runs tests on each kernel.
pub(crate) fn test(ws: &Workspace, wanted: &Wanted<'_>) -> Result<Vec<(Series, Outcome)>> {
    let stand = Stand::build(ws, wanted.kernels, "netns")?;
    let tests = choose(&stand.binaries.test_names()?, wanted.choice, wanted.filter)?;
    let mut outcomes = Vec::new();
    for (series, kernel) in &stand.kernels {
        step(format_args!("kernel {}: {} tests", kernel.release(), tests.len()));
        let machine = stand.machine(kernel, wanted.processors, TEST_LIMIT)?;
        outcomes.push((*series, session::run(&machine, &tests)?));
    }
    Ok(outcomes)
}

/// Measures in one boot of a kernel: runs `program` once for each of `groups`.
pub(crate) fn measure(
    ws: &Workspace,
    kernel: Series,
    program: &'static str,
    groups: &[String],
) -> Result<Measured> {
    let stand = Stand::build(ws, &[kernel], program)?;
    let (_, kernel) = stand.kernels.first().context("no kernel was set up")?;
    step(format_args!("kernel {}: {}", kernel.release(), groups.join(", ")));
    let report = stand
        .machine(kernel, PROCESSORS, GROUP_LIMIT)?
        .run(groups, |ended| {
            for line in &ended.output {
                println!("{line}");
            }
        })?;
    if let Some(why) = &report.died {
        let during = report.during.as_deref().unwrap_or("no group");
        note(format_args!(
            "the guest died during {during}: {why}; what it had measured is kept"
        ));
    }
    let late = report
        .ended
        .iter()
        .filter(|ended| ended.code == session::NOT_IN_TIME);
    for group in late.map(|ended| &ended.test) {
        note(format_args!("{group} was not at its end after {GROUP_LIMIT:?}"));
    }
    let broke: Vec<String> = groups
        .iter()
        .filter(|group| !report.ended.iter().any(|e| e.test == **group && e.code == 0))
        .cloned()
        .collect();
    Ok(Measured {
        release: kernel.release().to_owned(),
        lines: report.ended.into_iter().flat_map(|ended| ended.output).collect(),
        broke,
    })
}

/// What a program has said that measures.
#[derive(Debug)]
pub(crate) struct Measured {
    /// The kernel.
    pub(crate) release: String,
    pub(crate) lines: Vec<String>,
    /// Groups that did not come to their end.
    pub(crate) broke: Vec<String>,
}

impl Measured {
    /// What was said earlier, out of a file.
    pub(crate) fn read(log: &Path) -> Result<Self> {
        let text = fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
        let release = text
            .lines()
            .find_map(|line| {
                line.strip_prefix("==> kernel ")
                    .and_then(|rest| rest.split_once(':'))
                    .map(|(release, _)| release)
                    .or_else(|| line.split_once("@vm up ").map(|(_, release)| release))
            })
            .with_context(|| format!("{} names no kernel", log.display()))?;
        Ok(Self {
            release: release.to_owned(),
            lines: text.lines().map(str::to_owned).collect(),
            broke: Vec::new(),
        })
    }
}

/// All that boots need.
struct Stand {
    emulator: Emulator,
    kernels: Vec<(Series, Kernel)>,
    binaries: Binaries,
    program: &'static str,
    dir: PathBuf,
    disk: PathBuf,
    initrd: PathBuf,
    /// Held as long as guests run: nobody else makes a new disk under them.
    _lock: fs::File,
}

impl Stand {
    /// Builds the product, the program that guests run, and their disk.
    fn build(ws: &Workspace, kernels: &[Series], program: &'static str) -> Result<Self> {
        if let Some(reason) = obstacle() {
            bail!("{reason}");
        }
        setup::programs_for(Purpose::Tests)?;
        let (emulator, kernels) = setup::virtual_machine(kernels)?;
        let dir = ws.target().join("vm");
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let lock = alone(&dir)?;
        let binaries = Binaries::build(ws, program)?;
        let all: Vec<_> = kernels.iter().map(|(_, kernel)| kernel).collect();
        let disk = disk::build(&dir, &emulator, &all, &binaries)?;
        Ok(Self {
            initrd: dir.join("initrd"),
            emulator,
            kernels,
            binaries,
            program,
            dir,
            disk,
            _lock: lock,
        })
    }

    /// The guest of a kernel. One at a time: they share their first file system.
    fn machine<'a>(&'a self, kernel: &'a Kernel, processors: u32, limit: Duration) -> Result<Machine<'a>> {
        initrd::write(&self.initrd, &self.emulator, kernel)?;
        let log = self.dir.join(format!("console-{}.log", kernel.release()));
        fs::write(&log, "").with_context(|| format!("cannot write {}", log.display()))?;
        Ok(Machine {
            emulator: &self.emulator,
            kernel,
            processors,
            program: self.program,
            disk: &self.disk,
            initrd: &self.initrd,
            dir: &self.dir,
            limit,
        })
    }
}

/// Makes sure that nobody else runs guests out of this directory.
fn alone(dir: &Path) -> Result<fs::File> {
    let path = dir.join("lock");
    let file = fs::File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            bail!(
                "{} is locked: another command runs guests of this tree; wait for its end",
                path.display()
            )
        }
        Err(fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

fn choose(all: &[String], choice: Choice, filter: &[String]) -> Result<Vec<String>> {
    // A renamed test must not silently leave the selection.
    let known: BTreeSet<&str> = all.iter().map(String::as_str).collect();
    if let Some(unknown) = FAST.iter().find(|name| !known.contains(**name)) {
        bail!("the fast selection names a test that does not exist: {unknown}");
    }
    let tests: Vec<String> = all
        .iter()
        .filter(|test| choice == Choice::All || FAST.contains(&test.as_str()))
        .filter(|test| filter.is_empty() || filter.iter().any(|part| test.contains(part.as_str())))
        .cloned()
        .collect();
    if tests.is_empty() {
        bail!("no test has a name with {}", filter.join(" or "));
    }
    Ok(tests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_chosen_by_selection_and_name() {
        let mut all: Vec<String> = FAST.map(str::to_owned).to_vec();
        all.push("drop::half".to_owned());
        let choose = |choice, filter: &[&str]| {
            let filter: Vec<String> = filter.iter().map(|part| (*part).to_owned()).collect();
            choose(&all, choice, &filter).ok().map(|tests| tests.len())
        };
        assert_eq!(choose(Choice::All, &[]), Some(FAST.len() + 1));
        assert_eq!(choose(Choice::Fast, &[]), Some(FAST.len()));
        assert_eq!(choose(Choice::All, &["drop::half", "partition::"]), Some(2));
        assert_eq!(choose(Choice::All, &["no_such_test"]), None);
    }

    #[test]
    fn guests_run_out_of_a_directory_by_one_command_at_a_time() {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let first = alone(dir.path()).expect("nobody is there");
        let error = alone(dir.path()).expect_err("somebody is");
        assert!(error.to_string().contains("wait for its end"), "{error}");
        drop(first);
        alone(dir.path()).expect("nobody is there any more");
    }

    #[test]
    fn a_selection_with_a_test_that_is_gone_is_an_error() {
        let error = choose(&["drop::half".to_owned()], Choice::All, &[]).expect_err("it is unknown");
        assert!(error.to_string().contains(FAST[0]), "{error}");
    }
}

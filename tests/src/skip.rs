//! Skips with a typed reason. A skip on a machine that should have the thing is a failure.

use std::fmt;
use std::fs;

use crate::process::find_program;

/// Why a test cannot run here.
#[derive(Clone, Debug)]
pub enum Skip {
    /// The kernel does not have it.
    MissingFeature { what: String, since: Since },
    /// A program that the test drives is not installed.
    MissingProgram(String),
    /// The test loads kernel programs and makes namespaces.
    NotRoot,
    /// The test needs this many processors.
    FewProcessors(usize),
}

/// Which kernels have a feature.
#[derive(Clone, Copy, Debug)]
pub enum Since {
    /// Every kernel from this version on.
    Kernel(u32, u32),
    /// Kernels built with this option.
    Config(&'static str),
}

/// Finds a program, or says that the test must be skipped.
pub fn require_program(name: &str) -> Result<std::path::PathBuf, Skip> {
    find_program(name).ok_or_else(|| Skip::MissingProgram(name.to_owned()))
}

/// At least this many processors run what a test starts.
pub fn require_processors(least: usize) -> Result<(), Skip> {
    if std::thread::available_parallelism().is_ok_and(|all| all.get() >= least) {
        Ok(())
    } else {
        Err(Skip::FewProcessors(least))
    }
}

/// A feature that was looked for by trying.
pub fn require_feature(what: &str, since: Since, works: bool) -> Result<(), Skip> {
    if works {
        Ok(())
    } else {
        Err(Skip::MissingFeature {
            what: what.to_owned(),
            since,
        })
    }
}

impl Skip {
    /// Prints `SKIP <test>: <reason>`, which the test runner counts.
    ///
    /// # Panics
    /// When this machine should have what is missing.
    pub fn report(&self, test: &str) {
        if let Self::MissingFeature { what, since } = self {
            assert!(
                !since.holds_here(),
                "{what} should work on this kernel ({since}), but does not"
            );
        }
        println!("SKIP {test}: {self}");
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingFeature { what, since } => write!(f, "this kernel has no {what} ({since})"),
            Self::MissingProgram(name) => write!(f, "{name} is not installed (cargo xtask setup --tests)"),
            Self::NotRoot => f.write_str("it needs root (sudo -E cargo xtask test)"),
            Self::FewProcessors(least) => write!(f, "it needs {least} processors"),
        }
    }
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(major, minor) => write!(f, "since {major}.{minor}"),
            Self::Config(option) => write!(f, "needs {option}"),
        }
    }
}

impl Since {
    fn holds_here(self) -> bool {
        match self {
            Self::Kernel(major, minor) => kernel_version() >= (major, minor),
            Self::Config(option) => config().is_some_and(|text| {
                text.lines().any(|line| {
                    line.strip_prefix(option)
                        .is_some_and(|rest| rest.starts_with('='))
                })
            }),
        }
    }
}

/// Major and minor version of the running kernel: to judge a skip, never to choose what to test.
fn kernel_version() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The kernel's build options, when it tells them.
fn config() -> Option<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    fs::read_to_string(format!("/boot/config-{}", release.trim()))
        .ok()
        .or_else(|| {
            let output = std::process::Command::new("zcat")
                .arg("/proc/config.gz")
                .output()
                .ok()?;
            output
                .status
                .success()
                .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
        })
}

/// The path of the function it stands in, without the crate: the name that libtest prints.
#[macro_export]
macro_rules! test_name {
    () => {{
        fn here() {}
        let name = std::any::type_name_of_val(&here);
        let name = name.strip_suffix("::here").unwrap_or(name);
        let name = name.trim_end_matches("::{{closure}}");
        name.split_once("::").map_or(name, |(_, path)| path)
    }};
}

/// The value of a `Result<_, Skip>`, or the end of the test with its reason printed.
#[macro_export]
macro_rules! need {
    ($what:expr) => {
        match $what {
            Ok(value) => value,
            Err(skip) => {
                $crate::Skip::report(&skip, $crate::test_name!());
                return;
            }
        }
    };
}

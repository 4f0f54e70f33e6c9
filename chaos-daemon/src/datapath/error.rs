//! What can go wrong on the way into the kernel.

use std::io;

use thiserror::Error;

use crate::{plan::PlanError, safety::privileges::KEPT_FILES, target::TargetError};

/// Why the data path could not do what it was asked. Nothing has changed then, unless it says otherwise.
#[derive(Debug, Error)]
pub enum DatapathError {
    /// The spec is too large.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A namespace could not be entered.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A system call failed.
    #[error("{call}: {source}{}", remedy(source))]
    System {
        /// What was attempted.
        call: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The verifier or the loader refused a program.
    #[error("load {program}: {summary} (run the daemon with --log debug for the whole verifier log)")]
    Load {
        /// Which.
        program: String,
        /// The last telling line.
        summary: String,
    },
    /// A map operation failed.
    #[error("map {map}: {message}")]
    Map {
        /// Which map.
        map: &'static str,
        /// What the kernel said.
        message: String,
    },
    /// The object was built for another daemon.
    #[error(
        "the kernel programs speak ABI {found}, this daemon {wanted}: build both together with `cargo xtask build`"
    )]
    Abi {
        /// What the object says.
        found: u32,
        /// What we speak.
        wanted: u32,
    },
    /// No room left.
    #[error(
        "{what} are all in use ({most}); end some faults, or start the daemon with a larger --max-faults"
    )]
    Full {
        /// What ran out.
        what: &'static str,
        /// How many there are.
        most: usize,
    },
    /// The last open files are not for faults.
    #[error(
        "the daemon may open {limit} files, and the last {KEPT_FILES} are kept for those who end faults; end some faults, or raise the limit (LimitNOFILE=)"
    )]
    Files {
        /// All of them.
        limit: u64,
    },
    /// Too many rules that only the packet itself can tell apart.
    #[error(
        "{most} faults already look at the same packets of {scope}; name ports or hosts, so that they can be told apart, or end some"
    )]
    Crowded {
        /// Where.
        scope: String,
        /// The limit.
        most: usize,
    },
    /// This kernel or device cannot do it.
    #[error("{what} is not possible here: {why}")]
    Unsupported {
        /// What was asked.
        what: String,
        /// Why not.
        why: String,
    },
    /// Not armed.
    #[error("fault number {0} is not armed")]
    Unknown(u64),
}

fn remedy(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            " – the daemon needs root, or CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, CAP_SYS_ADMIN and CAP_SYS_PTRACE"
        }
        Some(libc::EMFILE) => " – raise the limit of open files (LimitNOFILE=)",
        Some(libc::ENOMEM) => " – the kernel has no memory for it; see --max-faults",
        _ => "",
    }
}

impl DatapathError {
    /// A failed system call.
    pub fn system(call: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let (call, source) = (call.into(), source.into());
        if source.raw_os_error() == Some(libc::ENODEV) {
            // A device that was there when the target was resolved.
            let reason = format!("{call}: {source}");
            return TargetError::Vanished { reason }.into();
        }
        Self::System { call, source }
    }

    /// A failed map operation.
    pub fn map(map: &'static str, error: impl std::fmt::Display) -> Self {
        Self::Map {
            map,
            message: error.to_string(),
        }
    }
}

//! The daemon's own death, as the kernel sees it: a program at `sched_process_exit` voids the lease before the first
//! descriptor of the process is closed, however many namespaces there are to let go of. Without it faults end with
//! their links, one after the other, or with the lease.

use std::os::{fd::AsFd, unix::fs::MetadataExt};

use aya::programs::ProgramFd;
use chaos_ebpf_common::abi::Daemon;
use chaos_spec::api::Capability;
use nix::sys::stat::{major, minor};

use super::DatapathError;
use crate::sys::bpf::Link;

/// Attached only while something else is, for every process of the host passes there when it ends.
pub(super) struct ExitWatch {
    program: Result<ProgramFd, String>,
    link: Option<Link>,
}

impl ExitWatch {
    /// Over the loaded program; some hosts (lockdown) refuse programs at tracepoints.
    pub fn new(program: Result<ProgramFd, DatapathError>) -> Self {
        let program = program.map_err(|error| error.to_string());
        if let Err(why) = &program {
            tracing::warn!(
                why,
                "no exit watch: if the daemon dies, faults end with their links"
            );
        }
        Self { program, link: None }
    }

    /// Something is attached.
    pub fn begin(&mut self) {
        if let (Ok(program), None) = (&self.program, &self.link) {
            match Link::raw_tracepoint(program.as_fd(), c"sched_process_exit") {
                Ok(link) => self.link = Some(link),
                Err(error) => {
                    tracing::warn!(%error, "no exit watch: if the daemon dies, faults end with their links");
                    self.program = Err(error.to_string());
                }
            }
        }
    }

    /// Nothing is attached any more.
    pub fn end(&mut self) {
        self.link = None;
    }

    pub fn capability(&self) -> Capability {
        let why = match &self.program {
            Ok(_) => "a program at sched_process_exit ends every fault when the daemon's process dies",
            Err(why) => why.as_str(),
        };
        Capability {
            name: "exit-watch".to_owned(),
            available: self.program.is_ok(),
            why: why.to_owned(),
        }
    }
}

/// This process, as its own PID namespace numbers it; nobody, should /proc be missing.
pub(super) fn this_process() -> Daemon {
    let namespace = std::fs::metadata("/proc/self/ns/pid");
    if let Err(error) = &namespace {
        tracing::warn!(%error, "/proc/self/ns/pid cannot be read: no exit watch");
    }
    let (device, inode) = namespace.map_or((0, 0), |file| (file.dev(), file.ino()));
    Daemon {
        process: std::process::id().into(),
        pid_namespace_device: major(device) << 20 | minor(device),
        pid_namespace_inode: inode,
    }
}

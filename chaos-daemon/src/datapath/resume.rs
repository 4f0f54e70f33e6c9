//! The program at an end of a line, where packets come back, and how it gets there.

use std::{io, os::fd::AsFd};

use aya::programs::{ProgramFd, SchedClassifier};
use nix::net::if_::if_nametoindex;

use super::clsact;
use crate::sys::bpf;

/// The program.
pub enum Resume<'a> {
    /// By TCX.
    Link(&'a ProgramFd),
    /// By netlink, which leaves it to the device.
    Filter(Box<SchedClassifier>),
}

impl Resume<'_> {
    /// Attaches it to what comes to a device of the calling thread's namespace: a link where is said, a filter to what
    /// arrives.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn attach(&mut self, device: &str, at: bpf::Hook) -> io::Result<Option<bpf::Link>> {
        match self {
            Self::Link(program) => {
                let index = if_nametoindex(device)?;
                bpf::Link::device(program.as_fd(), index, at).map(Some)
            }
            Self::Filter(program) => clsact::add_to_own(device, program).map(|()| None),
        }
    }
}

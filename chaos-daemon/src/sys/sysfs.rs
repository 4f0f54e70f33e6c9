//! A sysfs of our own that is mounted nowhere, and shows the devices of the network namespace it was made in.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::PathBuf,
};

use super::bpffs::detached;

/// The root of a detached sysfs.
#[derive(Debug)]
pub struct Sysfs(OwnedFd);

impl Sysfs {
    /// Makes one of the calling thread's network namespace. Needs CAP_SYS_ADMIN.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new() -> io::Result<Self> {
        detached("sysfs").map(Self)
    }

    /// Path of something about a network device, valid in this process.
    pub fn of_device(&self, name: &str, entry: &str) -> PathBuf {
        PathBuf::from(format!(
            "/proc/self/fd/{}/class/net/{name}/{entry}",
            self.0.as_raw_fd()
        ))
    }
}

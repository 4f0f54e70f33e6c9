//! A BPF file system of our own that is mounted nowhere: a place where the programs of all namespaces
//! find the maps they share, and which is gone with the process.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::PathBuf,
};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// The root of a detached bpffs.
#[derive(Debug)]
pub struct Bpffs(OwnedFd);

impl Bpffs {
    /// Makes one. Needs Linux 5.2 and CAP_SYS_ADMIN.
    pub fn new() -> io::Result<Self> {
        detached("bpf").map(Self)
    }

    /// Path of an entry, valid in this process.
    pub fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()))
    }
}

/// The root of a new file system of a kind that is mounted nowhere.
pub(super) fn detached(kind: &str) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    Ok(fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?)
}

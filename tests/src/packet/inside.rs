//! The test's own process inside a cgroup: the socket of a test run belongs to the process that asks for it.

use std::fs;
use std::path::PathBuf;

use crate::Cgroup;

/// The test's process is in a cgroup until this is dropped. Must be dropped before the cgroup, which ends with
/// everything that is in it.
#[derive(Debug)]
pub struct Inside {
    home: PathBuf,
}

impl Inside {
    /// # Panics
    /// When the process cannot move.
    pub fn enter(cgroup: &Cgroup) -> Self {
        let home = chaos_daemon::target::cgroup_of(std::process::id()).expect("a host with cgroup2");
        move_to(&cgroup.dir()).unwrap_or_else(|e| panic!("move to {}: {e}", cgroup.path()));
        Self { home }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // Staying would mean being killed with the cgroup.
        if let Err(error) = move_to(&self.home) {
            eprintln!("cannot leave the cgroup: {error}");
            std::process::abort();
        }
    }
}

fn move_to(directory: &std::path::Path) -> std::io::Result<()> {
    fs::write(directory.join("cgroup.procs"), std::process::id().to_string())
}

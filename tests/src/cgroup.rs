//! cgroups that a test makes, below the cgroup2 mount wherever that is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::{eventually, within};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A cgroup; with it end the processes that a test left in it.
#[derive(Debug)]
pub struct Cgroup {
    /// From the cgroup2 mount down, with a leading slash.
    path: String,
}

impl Cgroup {
    /// Makes `/chaos-t-<pid>-<n>`.
    ///
    /// # Panics
    /// On a host without cgroup2, and without root.
    #[allow(clippy::new_without_default, reason = "making a cgroup is no default")]
    pub fn new() -> Self {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        Self::make(format!("/chaos-t-{}-{n}", std::process::id()))
    }

    /// A cgroup inside this one.
    pub fn child(&self, name: &str) -> Self {
        Self::make(format!("{}/{name}", self.path))
    }

    fn make(path: String) -> Self {
        let cgroup = Self { path };
        let dir = cgroup.dir();
        fs::create_dir(&dir).unwrap_or_else(|e| panic!("cannot make {}: {e}", dir.display()));
        cgroup
    }

    /// What a fault names as `cgroup`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The folder in the file system.
    pub fn dir(&self) -> PathBuf {
        mount().join(&self.path[1..])
    }

    pub(crate) fn procs_file(&self) -> PathBuf {
        self.dir().join("cgroup.procs")
    }

    /// Removes it now, under a fault that names it. Its processes end first.
    pub fn remove_now(&self) {
        remove(&self.dir());
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let dir = self.dir();
        if dir.exists() {
            remove(&dir);
        }
    }
}

/// Where cgroup2 is mounted.
///
/// # Panics
/// When it is nowhere.
fn mount() -> PathBuf {
    let mounts = fs::read_to_string("/proc/mounts").expect("/proc is mounted");
    mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&"cgroup2"))
        .map(|fields| PathBuf::from(fields[1]))
        .expect("these tests need a cgroup2 mount")
}

fn remove(dir: &Path) {
    // Only processes in this very cgroup, which the test made, are killed by it.
    let _ = fs::write(dir.join("cgroup.kill"), "1");
    let gone = || match fs::remove_dir(dir) {
        Ok(()) => true,
        Err(e) => e.kind() == io::ErrorKind::NotFound,
    };
    if std::thread::panicking() {
        // A second panic would abort the run and leave everything else behind, too.
        let _ = within(Duration::from_secs(1), || gone().then_some(()));
    } else {
        eventually(
            Duration::from_secs(5),
            &format!("{} can be removed", dir.display()),
            gone,
        );
    }
}

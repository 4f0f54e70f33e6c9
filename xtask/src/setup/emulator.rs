//! QEMU and what its guests are started with, unpacked into the private store, never installed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::apt::{self, Apt};
use super::debian::multiarch_triplet;
use super::store::{Store, remove_dir};
use crate::process::{capture, step};

/// The emulator, its firmware, and the two programs that a guest needs before it has a root.
const PACKAGES: [&str; 6] = [
    "qemu-system-x86",
    "qemu-system-common",
    "qemu-system-data",
    "seabios",
    "busybox-static",
    "kmod",
];

/// An unpacked emulator.
#[derive(Debug)]
pub(crate) struct Emulator {
    root: PathBuf,
    libraries: String,
}

impl Emulator {
    /// The emulator in the store, fetched first when there is none.
    pub(super) fn get(store: &Store) -> Result<Self> {
        let root = store.dir("emulator");
        // It gets its name when it is complete.
        if !root.is_dir() {
            let _lock = store.lock()?;
            if !root.is_dir() {
                fetch(store, &root)?;
            }
        }
        Self::at(root)
    }

    fn at(root: PathBuf) -> Result<Self> {
        let triplet = multiarch_triplet()?;
        let libraries = std::env::join_paths([
            root.join("usr/lib").join(&triplet),
            root.join("lib").join(&triplet),
        ]);
        let libraries = libraries
            .context("a folder name with a colon cannot be on a library path")?
            .into_string()
            .ok()
            .context("the toolchain's folder has no readable name")?;
        Ok(Self { root, libraries })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.root.join(program));
        command.env("LD_LIBRARY_PATH", &self.libraries);
        command
    }

    /// QEMU without arguments but the places of its firmware.
    pub(crate) fn qemu(&self) -> Command {
        let mut command = self.command("usr/bin/qemu-system-x86_64");
        for dir in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(self.root.join(dir));
        }
        command
    }

    /// The static busybox.
    pub(crate) fn busybox(&self) -> PathBuf {
        self.first(&["bin/busybox", "usr/bin/busybox"])
    }

    /// kmod, which is modprobe, insmod and depmod by other names.
    pub(crate) fn kmod(&self) -> PathBuf {
        self.first(&["bin/kmod", "usr/bin/kmod"])
    }

    fn first(&self, names: &[&str]) -> PathBuf {
        let found = names
            .iter()
            .map(|name| self.root.join(name))
            .find(|p| p.is_file());
        found.unwrap_or_else(|| self.root.join(names[0]))
    }

    /// The library path that its programs need.
    pub(crate) fn libraries(&self) -> &str {
        &self.libraries
    }

    /// Writes the indices of the kernel modules below `tree`.
    pub(super) fn depmod(&self, tree: &Path, release: &str) -> Result<()> {
        let mut command = Command::new(self.kmod());
        command.arg0("depmod").arg("-b").arg(tree).arg(release);
        capture(command.env("LD_LIBRARY_PATH", &self.libraries)).map(drop)
    }
}

fn fetch(store: &Store, root: &Path) -> Result<()> {
    step("fetching the emulator (about 60 MB; nothing is installed)");
    let mut apt = Apt::new(store.dir("apt"))?;
    if apt.candidate(PACKAGES[0])?.is_none() {
        apt.update()?;
    }
    let wanted = PACKAGES.map(str::to_owned);
    let mut names = apt.missing_dependencies(&wanted)?;
    names.extend(wanted);
    let tree = download_and_unpack(store, &apt, &names)?;
    let version = capture(Emulator::at(tree.clone())?.qemu().arg("--version"))
        .context("the unpacked emulator does not start")?;
    ensure!(
        version.contains("QEMU"),
        "the unpacked emulator is none: {version}"
    );
    finish(store, &tree, root)
}

/// The packages, unpacked into one tree in the store's scratch folder.
pub(super) fn download_and_unpack(store: &Store, apt: &Apt, names: &BTreeSet<String>) -> Result<PathBuf> {
    let (debs, tree) = (store.scratch().join("debs"), store.scratch().join("tree"));
    for dir in [&debs, &tree] {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    apt.download(names, &debs)?;
    apt::unpack_all(&debs, &tree)?;
    Ok(tree)
}

/// Gives a complete tree its name.
pub(super) fn finish(store: &Store, tree: &Path, root: &Path) -> Result<()> {
    remove_dir(root)?;
    fs::rename(tree, root).with_context(|| format!("cannot move it to {}", root.display()))?;
    store.clear_scratch()?;
    remove_dir(&store.dir("apt"))
}

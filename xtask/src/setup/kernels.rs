//! Debian's kernels: found among the packages of its suites, unpacked into the private store.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::apt::{self, Apt, Mirrors};
use super::emulator::{Emulator, download_and_unpack, finish};
use super::store::Store;
use crate::process::{run, step};

/// The kernels that the tests run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Series {
    /// Debian 12's own, without TCX.
    #[value(name = "6.1")]
    V6_1,
    /// Debian 12's backport, with TCX.
    #[value(name = "6.12")]
    V6_12,
    /// The newest in Debian's unstable suite.
    Sid,
}

/// An unpacked kernel, ready to be booted.
#[derive(Debug)]
pub(crate) struct Kernel {
    root: PathBuf,
    stamp: Stamp,
}

#[derive(Debug, Serialize, Deserialize)]
struct Stamp {
    /// What `uname -r` will say.
    release: String,
}

const STAMP: &str = "chaos-kernel.json";
/// The keys that Debian's archives are signed with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Folders of modules that a guest can use; the rest drives hardware that it does not have.
const MODULES: [&str; 10] = [
    "kernel/net",
    "kernel/lib",
    "kernel/crypto",
    "kernel/arch",
    "kernel/drivers/block",
    "kernel/drivers/net",
    "kernel/drivers/ptp",
    "kernel/drivers/pps",
    "kernel/drivers/virtio",
    "kernel/fs/overlayfs",
];
/// Inside of those, what is not taken.
const HARDWARE: [&str; 4] = [
    "kernel/drivers/net/ethernet",
    "kernel/drivers/net/wireless",
    "kernel/drivers/block/drbd",
    "kernel/net/wireless",
];

impl Series {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::Sid => "sid",
        }
    }

    /// The sources that have it.
    fn sources(self, mirrors: &Mirrors) -> Vec<String> {
        let line = |uri: &str, suite: &str| format!("deb [signed-by={KEYRING}] {uri} {suite} main");
        if self == Self::Sid {
            return vec![line(&mirrors.main, "sid")];
        }
        let suites = ["bookworm", "bookworm-updates", "bookworm-backports"];
        let security = mirrors.security.iter().map(|uri| line(uri, "bookworm-security"));
        suites
            .into_iter()
            .map(|suite| line(&mirrors.main, suite))
            .chain(security)
            .collect()
    }

    /// The newest package of this series.
    fn newest(self, names: &[String]) -> Option<String> {
        let prefix = match self {
            Self::V6_1 => "linux-image-6.1.0-",
            Self::V6_12 => "linux-image-6.12.",
            Self::Sid => "linux-image-",
        };
        names
            .iter()
            .filter(|name| name.starts_with(prefix))
            // Metapackages have no full version in their name.
            .filter_map(|name| {
                Some((
                    version(name.strip_prefix("linux-image-")?.strip_suffix("-cloud-amd64")?)?,
                    name,
                ))
            })
            .max()
            .map(|(_, name)| name.clone())
    }

    /// The kernel in the store, fetched first when there is none.
    pub(super) fn get(self, store: &Store, emulator: &Emulator) -> Result<Kernel> {
        let root = store.dir(&format!("kernel-{}", self.name()));
        if let Some(stamp) = read_stamp(&root) {
            return Ok(Kernel { root, stamp });
        }
        let _lock = store.lock()?;
        if read_stamp(&root).is_none() {
            self.fetch(store, emulator, &root)?;
        }
        let stamp = read_stamp(&root).context("the kernel was fetched, and is not there")?;
        Ok(Kernel { root, stamp })
    }

    fn fetch(self, store: &Store, emulator: &Emulator, root: &Path) -> Result<()> {
        step(format_args!(
            "fetching Debian's kernel {} (about 35 MB)",
            self.name()
        ));
        let mut apt = Apt::with_sources(store.dir("apt"), self.sources(&apt::debian_mirrors()?))?;
        apt.update().with_context(|| {
            format!(
                "cannot read Debian's package lists ({KEYRING} comes with the package debian-archive-keyring)"
            )
        })?;
        let Some(image) = self.newest(&apt.names("linux-image-")?) else {
            bail!("Debian offers no cloud kernel {} any more", self.name());
        };
        // Newer packages of kernels are empty, and depend on parts of the same version.
        let version = image.trim_start_matches("linux-image");
        let parts = apt.depends(&image)?;
        let parts = parts.into_iter().filter(|name| name.ends_with(version));
        let names: BTreeSet<String> = parts.chain([image.clone()]).collect();
        let unpacked = download_and_unpack(store, &apt, &names)?;
        let tree = store.scratch().join("kernel");
        let release = keep(&unpacked, &tree, emulator)?;
        let stamp = serde_json::to_string(&Stamp { release })?;
        fs::write(tree.join(STAMP), stamp).context("cannot write the kernel's stamp")?;
        finish(store, &tree, root)
    }
}

/// Numbers in a version such as `6.12.90+deb12.1`; none for a metapackage's, such as `6.12`.
fn version(text: &str) -> Option<Vec<u64>> {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let numbers: Vec<u64> = text
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|n| n.parse().ok())
        .collect();
    (digits && numbers.len() > 2).then_some(numbers)
}

/// Takes kernel and useful modules, as plain files, out of the unpacked packages.
fn keep(unpacked: &Path, tree: &Path, emulator: &Emulator) -> Result<String> {
    let modules = ["lib/modules", "usr/lib/modules"].map(|dir| unpacked.join(dir));
    let modules = modules
        .into_iter()
        .find(|dir| dir.is_dir())
        .context("the kernel's package has no modules")?;
    let release = fs::read_dir(&modules)?
        .next()
        .context("the kernel's package has no modules")??
        .file_name()
        .into_string()
        .ok()
        .context("the kernel's release is no text")?;
    let from = modules.join(&release);
    let into = tree.join("lib/modules").join(&release);
    fs::create_dir_all(&into).with_context(|| format!("cannot create {}", into.display()))?;
    for file in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
        fs::copy(from.join(file), into.join(file)).with_context(|| format!("no {file} in the package"))?;
    }
    for dir in MODULES {
        copy_modules(&from, Path::new(dir), &into, emulator)?;
    }
    // depmod looks below lib/ or below usr/lib/, as it was built.
    fs::create_dir_all(tree.join("usr"))?;
    std::os::unix::fs::symlink("../lib", tree.join("usr/lib")).context("cannot make a link in the store")?;
    emulator.depmod(tree, &release)?;
    let boot = unpacked.join("boot");
    for (file, old, new) in [
        (
            "vmlinuz",
            boot.join(format!("vmlinuz-{release}")),
            from.join("vmlinuz"),
        ),
        (
            "config",
            boot.join(format!("config-{release}")),
            from.join("config"),
        ),
    ] {
        let source = if old.is_file() { old } else { new };
        fs::copy(&source, tree.join(file)).with_context(|| format!("no {file} in the package"))?;
    }
    Ok(release)
}

fn copy_modules(from: &Path, dir: &Path, into: &Path, emulator: &Emulator) -> Result<()> {
    if HARDWARE.iter().any(|hardware| dir == Path::new(hardware)) || !from.join(dir).is_dir() {
        return Ok(());
    }
    let there = into.join(dir);
    fs::create_dir_all(&there).with_context(|| format!("cannot create {}", there.display()))?;
    let mut packed = Vec::new();
    for entry in fs::read_dir(from.join(dir)).with_context(|| format!("cannot list {}", dir.display()))? {
        let entry = entry?;
        let name = dir.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_modules(from, &name, into, emulator)?;
        } else {
            fs::copy(entry.path(), into.join(&name))?;
            if name.extension().is_some_and(|ext| ext == "xz") {
                packed.push(into.join(&name));
            }
        }
    }
    // Plain files load faster where each instruction is emulated.
    if packed.is_empty() {
        return Ok(());
    }
    run(Command::new(emulator.busybox()).arg("unxz").args(packed))
}

fn read_stamp(root: &Path) -> Option<Stamp> {
    serde_json::from_str(&fs::read_to_string(root.join(STAMP)).ok()?).ok()
}

impl Kernel {
    /// What `uname -r` says.
    pub(crate) fn release(&self) -> &str {
        &self.stamp.release
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.root.join("vmlinuz")
    }

    /// The options it was built with.
    pub(crate) fn config(&self) -> PathBuf {
        self.root.join("config")
    }

    /// The folder `/lib/modules/<release>` of a guest.
    pub(crate) fn modules(&self) -> PathBuf {
        self.root.join("lib/modules").join(&self.stamp.release)
    }

    /// Files of the modules that `name` needs and of itself, in the order in which they can be loaded; empty
    /// when it is built in.
    pub(crate) fn module_with_dependencies(&self, name: &str) -> Result<Vec<PathBuf>> {
        let index = self.modules().join("modules.dep");
        let index = fs::read_to_string(&index).with_context(|| format!("cannot read {}", index.display()))?;
        Ok(load_order(&index, name)
            .into_iter()
            .map(|file| self.modules().join(file))
            .collect())
    }
}

/// depmod lists all that a module needs, nearest first.
fn load_order(index: &str, name: &str) -> Vec<String> {
    let suffix = format!("/{name}.ko");
    let line = index
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(file, _)| file.ends_with(&suffix));
    let Some((file, needs)) = line else {
        return Vec::new();
    };
    needs
        .split_whitespace()
        .rev()
        .chain([file])
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_package_is_chosen_by_number_and_never_a_metapackage() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-47-cloud-amd64",
            "linux-image-6.1.0-50-cloud-amd64-unsigned",
            "linux-image-6.12-cloud-amd64",
            "linux-image-6.12.90+deb12-cloud-amd64",
            "linux-image-6.12.90+deb12.1-cloud-amd64",
            "linux-image-7.2.13+deb14-cloud-amd64",
            "linux-image-cloud-amd64",
        ]
        .map(str::to_owned);
        let newest = |series: Series| series.newest(&names);
        assert_eq!(
            newest(Series::V6_1).as_deref(),
            Some("linux-image-6.1.0-47-cloud-amd64")
        );
        assert_eq!(
            newest(Series::V6_12).as_deref(),
            Some("linux-image-6.12.90+deb12.1-cloud-amd64")
        );
        assert_eq!(
            newest(Series::Sid).as_deref(),
            Some("linux-image-7.2.13+deb14-cloud-amd64")
        );
        assert_eq!(Series::Sid.newest(&names[7..]), None);
    }

    #[test]
    fn modules_are_loaded_after_what_they_need() {
        let index = "kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko\n\
                     kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko\n";
        assert_eq!(
            load_order(index, "virtio_blk"),
            [
                "kernel/drivers/virtio/virtio_ring.ko",
                "kernel/drivers/virtio/virtio.ko",
                "kernel/drivers/block/virtio_blk.ko"
            ]
        );
        assert!(load_order(index, "blk").is_empty());
    }
}

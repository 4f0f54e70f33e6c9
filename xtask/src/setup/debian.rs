//! Debian's compiler for the web browsers: a recent rustc with a precompiled `core` for BPF. Its packages
//! are unpacked into the private store, never installed, because they would put a second rustc into /usr/bin.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::apt::{self, Apt};
use super::linker;
use super::store::{Store, remove_dir};
use super::toolchain::{BPF_TARGET, BpfToolchain};
use crate::process::{self, capture, find_program, note, step};
use crate::workspace::Workspace;

/// Names of the compiler's packages, newest naming first: stable releases carry a recent compiler for
/// browsers under other names than their own old one.
struct Flavour {
    rustc: &'static str,
    std: &'static str,
    core_bpf: &'static str,
}

const FLAVOURS: [Flavour; 2] = [
    Flavour {
        rustc: "rustc-web",
        std: "libstd-rust-web-dev",
        core_bpf: "libstd-rust-web-dev-bpf",
    },
    Flavour {
        rustc: "rustc",
        std: "libstd-rust-dev",
        core_bpf: "libstd-rust-dev-bpf",
    },
];

/// Written into the unpacked tree before it gets its final name: a tree with a stamp is complete.
#[derive(Debug, Serialize, Deserialize)]
struct Stamp {
    /// First line of `rustc --version`.
    rustc: String,
    /// Major version of its LLVM.
    llvm: u32,
    /// Multiarch folder name of the host, such as `x86_64-linux-gnu`.
    triplet: String,
    /// Names of the .deb files that were unpacked.
    packages: Vec<String>,
}

const STAMP: &str = "chaos-toolchain.json";

fn sysroot(store: &Store) -> PathBuf {
    store.dir("debian")
}

/// Folders of the shared libraries that rustc, llvm-config and bpf-linker load.
fn libraries(root: &Path, triplet: &str, llvm: u32) -> Vec<PathBuf> {
    vec![
        root.join("usr/lib").join(triplet),
        root.join(format!("usr/lib/llvm-{llvm}/lib")),
        root.join("lib").join(triplet),
    ]
}

fn read_stamp(root: &Path) -> Option<Stamp> {
    let text = fs::read_to_string(root.join(STAMP)).ok()?;
    let stamp: Stamp = serde_json::from_str(&text).ok()?;
    root.join("usr/bin/rustc").is_file().then_some(stamp)
}

/// The complete private toolchain, if there is one. Only looks at files.
pub(super) fn installed(store: &Store) -> Option<BpfToolchain> {
    let root = sysroot(store);
    let stamp = read_stamp(&root)?;
    if !linker::is_installed(store, stamp.llvm) {
        return None;
    }
    Some(BpfToolchain::Debian {
        rustc: root.join("usr/bin/rustc"),
        libraries: libraries(&root, &stamp.triplet, stamp.llvm),
        linker_dir: linker::dir(store, stamp.llvm),
        version: stamp.rustc,
    })
}

/// Downloads, unpacks, checks, builds the linker. Steps that an earlier run finished are not repeated.
/// The caller holds the store's lock.
pub(super) fn install(store: &Store, ws: &Workspace) -> Result<BpfToolchain> {
    let root = sysroot(store);
    let stamp = match read_stamp(&root) {
        Some(stamp) => stamp,
        None => unpack(store, ws, &root)?,
    };
    if !linker::is_installed(store, stamp.llvm) {
        let prefix = root.join(format!("usr/lib/llvm-{}", stamp.llvm));
        linker::install(
            store,
            ws,
            stamp.llvm,
            &prefix,
            &libraries(&root, &stamp.triplet, stamp.llvm),
        )?;
    }
    installed(store).context("the toolchain was installed, and is not there")
}

fn unpack(store: &Store, ws: &Workspace, root: &Path) -> Result<Stamp> {
    let triplet = multiarch_triplet()?;
    let mut apt = Apt::new(store.dir("apt"))?;
    let packages = choose_packages(&mut apt)?;

    let scratch = store.scratch();
    let (debs, tree) = (scratch.join("debs"), scratch.join("tree"));
    for dir in [&debs, &tree] {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    step(format_args!(
        "downloading {} packages (about 190 MB)",
        packages.names.len()
    ));
    note(
        packages
            .names
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" "),
    );
    apt.download(&packages.names, &debs)?;
    step("unpacking them (about 1 GB; nothing is installed)");
    apt::unpack_all(&debs, &tree)?;

    let (version, llvm) = check_compiler(ws, &tree, &triplet, packages.llvm)?;
    let stamp = Stamp {
        rustc: version,
        llvm,
        triplet,
        packages: file_names(&debs)?,
    };
    fs::write(tree.join(STAMP), serde_json::to_string_pretty(&stamp)?)
        .with_context(|| format!("cannot write {}", tree.join(STAMP).display()))?;
    remove_dir(root)?;
    fs::rename(&tree, root).with_context(|| format!("cannot move the toolchain to {}", root.display()))?;
    store.clear_scratch()?;
    remove_dir(&store.dir("apt"))?;
    Ok(stamp)
}

struct Packages {
    names: BTreeSet<String>,
    llvm: u32,
}

/// Asks apt which flavour it has, and follows the dependencies to the LLVM that the compiler was built with.
fn choose_packages(apt: &mut Apt) -> Result<Packages> {
    let mut flavour = offered_flavour(apt)?;
    if flavour.is_none() {
        apt.update()?;
        flavour = offered_flavour(apt)?;
    }
    let Some(flavour) = flavour else {
        bail!(
            "apt offers no package {} or {}: enable Debian's main and security suites (12 or newer), or take rustup",
            FLAVOURS[0].core_bpf,
            FLAVOURS[1].core_bpf
        );
    };
    let std_depends = apt.depends(flavour.std)?;
    let std_lib = std_depends
        .iter()
        .find(|name| name.starts_with("libstd-rust-"))
        .with_context(|| {
            format!(
                "{} depends on no libstd-rust package: {std_depends:?}",
                flavour.std
            )
        })?;
    let lib_depends = apt.depends(std_lib)?;
    let llvm = lib_depends
        .iter()
        .find_map(|name| llvm_of_library(name))
        .with_context(|| format!("{std_lib} depends on no libllvm package: {lib_depends:?}"))?;

    let loaded = [std_lib.clone(), format!("libllvm{llvm}")];
    let mut names = apt.missing_dependencies(&loaded)?;
    names.extend(loaded);
    names.extend([flavour.rustc, flavour.std, flavour.core_bpf].map(str::to_owned));
    names.extend([format!("llvm-{llvm}"), format!("llvm-{llvm}-dev")]);
    Ok(Packages { names, llvm })
}

fn offered_flavour(apt: &Apt) -> Result<Option<&'static Flavour>> {
    for flavour in &FLAVOURS {
        if apt.candidate(flavour.core_bpf)?.is_some() && apt.candidate(flavour.rustc)?.is_some() {
            return Ok(Some(flavour));
        }
    }
    Ok(None)
}

/// Runs the unpacked compiler: its LLVM must be the one that was downloaded, and its `core` for BPF must load.
fn check_compiler(ws: &Workspace, tree: &Path, triplet: &str, llvm: u32) -> Result<(String, u32)> {
    let rustc = || {
        let mut command = Command::new(tree.join("usr/bin/rustc"));
        process::set_library_path(&mut command, ws, &libraries(tree, triplet, llvm));
        command
    };
    let verbose = capture(rustc().arg("-vV")).context("the unpacked compiler does not start")?;
    let version = verbose.lines().next().unwrap_or_default().to_owned();
    let its_llvm = llvm_of_rustc(&verbose).context("rustc does not name its LLVM version")?;
    ensure!(
        its_llvm == llvm,
        "{version} uses LLVM {its_llvm}, but apt's packages lead to LLVM {llvm}"
    );
    let probe = tree.join("probe.rs");
    fs::write(&probe, "#![no_std]\n").with_context(|| format!("cannot write {}", probe.display()))?;
    let metadata = tree.join("probe.rmeta");
    capture(
        rustc()
            .args([
                "--crate-type=rlib",
                "--emit=metadata",
                "--target",
                BPF_TARGET,
                "-o",
            ])
            .arg(&metadata)
            .arg(&probe),
    )
    .context("the unpacked compiler has no matching core library for BPF")?;
    fs::remove_file(&probe)?;
    fs::remove_file(&metadata)?;
    Ok((version, its_llvm))
}

pub(super) fn multiarch_triplet() -> Result<String> {
    if find_program("dpkg-architecture").is_some() {
        return Ok(
            capture(Command::new("dpkg-architecture").arg("-qDEB_HOST_MULTIARCH"))?
                .trim()
                .to_owned(),
        );
    }
    // Without dpkg-dev: on Debian's 64-bit ports the triplet is the machine name and this suffix.
    Ok(format!(
        "{}-linux-gnu",
        capture(Command::new("uname").arg("-m"))?.trim()
    ))
}

fn llvm_of_library(package: &str) -> Option<u32> {
    package.strip_prefix("libllvm")?.parse().ok()
}

fn llvm_of_rustc(verbose: &str) -> Option<u32> {
    let version = verbose
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()?.trim().parse().ok()
}

fn file_names(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llvm_is_read_from_package_names_and_from_rustc() {
        assert_eq!(llvm_of_library("libllvm22"), Some(22));
        assert_eq!(llvm_of_library("libllvm-ocaml"), None);
        assert_eq!(
            llvm_of_rustc("rustc 1.96.0 (ac68faa20)\nrelease: 1.96.0\nLLVM version: 22.1.8\n"),
            Some(22)
        );
        assert_eq!(llvm_of_rustc("rustc 1.96.0\n"), None);
    }

    #[test]
    fn a_tree_without_a_stamp_is_not_a_toolchain() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir_all(dir.path().join("usr/bin")).expect("a folder");
        fs::write(dir.path().join("usr/bin/rustc"), "").expect("a file");
        assert!(read_stamp(dir.path()).is_none());
        let stamp = r#"{"rustc": "rustc 1.96.0", "llvm": 22, "triplet": "x86_64-linux-gnu", "packages": []}"#;
        fs::write(dir.path().join(STAMP), stamp).expect("a file");
        assert_eq!(read_stamp(dir.path()).map(|s| s.llvm), Some(22));
    }
}

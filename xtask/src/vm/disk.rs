//! The guest's root: this machine's own programs, their libraries, the product and its tests, in an ext4 image.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::binaries::Binaries;
use crate::process::{capture, find_program, step};
use crate::setup::{Emulator, Kernel};

/// The guest's init, once its root is mounted.
const INIT: &str = include_str!("guest/init.sh");

/// What the tests and init start. Each comes from this machine, with the libraries it is linked to.
const PROGRAMS: [&str; 59] = [
    "sh",
    "cat",
    "chmod",
    "chrt",
    "curl",
    "cut",
    "date",
    "dmesg",
    "echo",
    "env",
    "ethtool",
    "false",
    "find",
    "getent",
    "grep",
    "head",
    "hostname",
    "id",
    "kill",
    "ln",
    "ls",
    "mkdir",
    "mount",
    "nc",
    "nsenter",
    "prlimit",
    "readlink",
    "rm",
    "sed",
    "seq",
    "setpriv",
    "sleep",
    "sort",
    "ss",
    "stat",
    "sync",
    "sysctl",
    "tail",
    "taskset",
    "test",
    "timeout",
    "tr",
    "true",
    "umount",
    "uname",
    "unshare",
    "wc",
    "zcat",
    "gzip",
    "ip",
    "tc",
    "ping",
    "nginx",
    "redis-server",
    "redis-cli",
    "iperf3",
    "nc.openbsd",
    "tcpdump",
    "python3",
];
/// Those that have no other purpose than the tests, too.
const TEST_PROGRAMS: [&str; 6] = ["bpftool", "crun", "dig", "dnsmasq", "ip6tables", "iptables"];

/// Data of those programs, where the machine has it.
const DATA: [&str; 14] = [
    "/etc/group",
    "/etc/iproute2",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/nginx",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/protocols",
    "/etc/services",
    "/usr/lib/tc",
    "/usr/lib/x86_64-linux-gnu/tc",
    "/usr/lib/x86_64-linux-gnu/xtables",
    "/usr/share/iproute2",
];

/// Parts of Python's library that no test imports.
const NOT_OF_PYTHON: [&str; 7] = [
    "__pycache__",
    "test",
    "idlelib",
    "lib2to3",
    "ensurepip",
    "distutils",
    "pydoc_data",
];

/// Builds the image in `dir` and returns its path.
pub(super) fn build(
    dir: &Path,
    emulator: &Emulator,
    kernels: &[&Kernel],
    binaries: &Binaries,
) -> Result<PathBuf> {
    step("building the guest's disk");
    let root = dir.join("root");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    let stage = Stage { root };
    stage.folders()?;
    stage.programs(emulator)?;
    for path in DATA.iter().map(Path::new).filter(|path| path.exists()) {
        stage.tree(path, path, &[])?;
    }
    stage.python()?;
    stage.write("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")?;
    stage.write("etc/resolv.conf", "nameserver 127.0.0.1\n")?;
    for kernel in kernels {
        let modules = Path::new("/lib/modules").join(kernel.release());
        stage.tree(&kernel.modules(), &modules, &[])?;
        let config = format!("/boot/config-{}", kernel.release());
        stage.file(&kernel.config(), Path::new(&config))?;
    }
    for (file, name) in binaries.files() {
        stage.file(file, &Path::new("/chaos/bin").join(name))?;
    }
    stage.file(&emulator.busybox(), Path::new("/chaos/bin/busybox"))?;
    stage.write("chaos/init", INIT)?;
    fs::set_permissions(
        stage.at(Path::new("/chaos/init")),
        fs::Permissions::from_mode(0o755),
    )?;
    stage.image(&dir.join("root.ext4"))
}

/// The folder that becomes the image.
struct Stage {
    root: PathBuf,
}

impl Stage {
    /// Where an absolute path of the guest lies on this machine.
    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn folders(&self) -> Result<()> {
        for dir in [
            "boot",
            "chaos/bin",
            "dev",
            "etc",
            "mnt",
            "proc",
            "root",
            "run",
            "sys",
            "tmp",
            "usr/bin",
            "usr/lib",
            "usr/lib64",
            "usr/sbin",
            "var/lib/nginx",
            "var/log/nginx",
        ] {
            let dir = self.root.join(dir);
            fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        // As on this machine: the programs' own paths may go either way.
        for name in ["bin", "sbin", "lib", "lib64"] {
            let at = self.root.join(name);
            if Path::new("/").join(name).is_symlink() {
                symlink(format!("usr/{name}"), &at)
                    .with_context(|| format!("cannot link {}", at.display()))?;
            } else {
                fs::create_dir(&at).with_context(|| format!("cannot create {}", at.display()))?;
            }
        }
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.root.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Copies one file, unless it is there.
    fn file(&self, from: &Path, path: &Path) -> Result<()> {
        let into = self.at(path);
        if into.exists() {
            return Ok(());
        }
        if let Some(dir) = into.parent() {
            fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        fs::copy(from, &into)
            .map(drop)
            .with_context(|| format!("cannot copy {} to {}", from.display(), into.display()))
    }

    /// Copies a file or a folder with all that is in it but names in `without`.
    fn tree(&self, from: &Path, path: &Path, without: &[&str]) -> Result<()> {
        if !from.is_dir() {
            return self.file(from, path);
        }
        for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
            let name = entry?.file_name();
            let inner = from.join(&name);
            // A link to nowhere is of no use, and one to a folder could go in circles.
            let linked_folder = inner.is_symlink() && inner.is_dir();
            if inner.exists() && !linked_folder && !without.iter().any(|other| name == *other) {
                self.tree(&inner, &path.join(&name), without)?;
            }
        }
        Ok(())
    }

    fn programs(&self, emulator: &Emulator) -> Result<()> {
        let mut programs = Vec::new();
        for name in PROGRAMS.into_iter().chain(TEST_PROGRAMS) {
            let Some(path) = system_program(name) else {
                bail!("`{name}` is not in a system folder of this machine, from which the guest gets it");
            };
            self.file(&path, &path)?;
            programs.push(path);
        }
        for library in libraries(Command::new("ldd").args(&programs))? {
            self.file(&library, &library)?;
        }
        let kmod = emulator.kmod();
        self.file(&kmod, Path::new("/usr/bin/kmod"))?;
        for name in ["modprobe", "insmod", "lsmod"] {
            symlink("../bin/kmod", self.root.join("usr/sbin").join(name)).context("cannot link to kmod")?;
        }
        // Its libraries lie beside it in the store, or are this machine's.
        let its = libraries(
            Command::new("ldd")
                .arg(&kmod)
                .env("LD_LIBRARY_PATH", emulator.libraries()),
        )?;
        for library in its {
            let name = library.file_name().unwrap_or_default();
            self.file(&library, &Path::new("/usr/lib64").join(name))?;
            self.file(&library, &Path::new("/usr/lib/x86_64-linux-gnu").join(name))?;
        }
        Ok(())
    }

    fn python(&self) -> Result<()> {
        let python = system_program("python3").context("no python3 in a system folder")?;
        let ask = "import sysconfig; print(sysconfig.get_path('stdlib'))";
        // Its own, without what a virtual environment or a version manager adds.
        let library = capture(Command::new(python).args(["-I", "-c", ask]))?;
        let library = Path::new(library.trim());
        self.tree(library, library, &NOT_OF_PYTHON)
    }

    fn image(&self, file: &Path) -> Result<PathBuf> {
        let mke2fs = find_program("mke2fs")
            .context("the guest's disk is made by mke2fs: apt-get install e2fsprogs")?;
        match fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", file.display()));
            }
            _ => {}
        }
        // Sparse, so that room for what tests write costs nothing.
        capture(
            Command::new(mke2fs)
                .args([
                    "-q",
                    "-t",
                    "ext4",
                    "-O",
                    "^has_journal",
                    "-m",
                    "0",
                    "-E",
                    "root_owner=0:0",
                    "-d",
                ])
                .arg(&self.root)
                .arg(file)
                .arg("1G"),
        )?;
        Ok(file.to_path_buf())
    }
}

/// A program in one of the folders that a system's package manager fills.
fn system_program(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|path| path.is_file())
}

/// Files that `ldd` names. Static programs and scripts need none, about which it complains.
fn libraries(ldd: &mut Command) -> Result<BTreeSet<PathBuf>> {
    let output = ldd
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .context("cannot start ldd")?;
    Ok(parse_ldd(&String::from_utf8_lossy(&output.stdout)))
}

fn parse_ldd(text: &str) -> BTreeSet<PathBuf> {
    text.lines()
        .filter(|line| !line.trim_end().ends_with(':'))
        .flat_map(str::split_whitespace)
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_told_from_the_programs_that_need_them() {
        let text = "/usr/sbin/ip:\n\tlinux-vdso.so.1 (0x7ffd)\n\tlibmnl.so.0 => /lib/x/libmnl.so.0 (0x7f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x7f)\n/bin/zcat:\n\tnot a dynamic executable\n";
        let found: Vec<_> = parse_ldd(text).into_iter().collect();
        assert_eq!(
            found,
            ["/lib/x/libmnl.so.0", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from)
        );
    }
}

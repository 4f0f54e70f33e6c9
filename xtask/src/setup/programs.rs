//! The programs that the demo and the tests drive: real clients, real servers, and lookers-on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process::{capture, find_program, is_root, note, run, step};

/// What the programs are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Demo,
    Tests,
}

/// A program and the Debian package that has it.
struct Program {
    binary: &'static str,
    package: &'static str,
    demo: bool,
    /// The unit that the package would start at every boot; a test tool must not add a server to a machine.
    unit: Option<&'static str>,
}

const fn program(binary: &'static str, package: &'static str) -> Program {
    Program {
        binary,
        package,
        demo: false,
        unit: None,
    }
}

const PROGRAMS: [Program; 30] = [
    Program {
        demo: true,
        ..program("ip", "iproute2")
    },
    Program {
        demo: true,
        ..program("ping", "iputils-ping")
    },
    Program {
        demo: true,
        ..program("curl", "curl")
    },
    Program {
        demo: true,
        unit: Some("nginx"),
        ..program("nginx", "nginx-light")
    },
    Program {
        demo: true,
        ..program("bpftool", "bpftool")
    },
    Program {
        demo: true,
        unit: Some("redis-server"),
        ..program("redis-server", "redis-server")
    },
    Program {
        unit: Some("prometheus"),
        ..program("prometheus", "prometheus")
    },
    Program {
        unit: Some("etcd"),
        ..program("etcd", "etcd-server")
    },
    Program {
        unit: Some("ssh"),
        ..program("sshd", "openssh-server")
    },
    program("iperf3", "iperf3"),
    // Translates addresses; benchmarks stand beside it.
    program("iptables", "iptables"),
    program("nc.openbsd", "netcat-openbsd"),
    program("ethtool", "ethtool"),
    program("tcpdump", "tcpdump"),
    program("crun", "crun"),
    // dnsmasq-base has the program alone; the package dnsmasq only adds the system service.
    program("dnsmasq", "dnsmasq-base"),
    program("dig", "bind9-dnsutils"),
    // Whose look-ups are written without glibc.
    program("musl-gcc", "musl-tools"),
    program("go", "golang-go"),
    program("python3", "python3-minimal"),
    program("tc", "iproute2"),
    program("kill", "procps"),
    program("mkfs.ext4", "e2fsprogs"),
    program("faketime", "faketime"),
    // Peers that benchmarks stand beside.
    program("ipset", "ipset"),
    program("xdp-filter", "xdp-tools"),
    // Clients whose requests are answered in their server's stead.
    program("wget", "wget"),
    program("openssl", "openssl"),
    program("chromium", "chromium"),
    // A module has no program: this is where Debian puts it.
    program(
        "/usr/lib/python3/dist-packages/requests/__init__.py",
        "python3-requests",
    ),
];

impl Program {
    fn is_there(&self) -> bool {
        let file = Path::new(self.binary);
        if file.is_absolute() {
            file.is_file()
        } else {
            find_program(self.binary).is_some()
        }
    }
}

impl Purpose {
    fn missing(self) -> Vec<&'static Program> {
        PROGRAMS
            .iter()
            .filter(|p| self == Self::Tests || p.demo)
            .filter(|p| !p.is_there())
            .collect()
    }
}

/// Installs what is missing when that is possible, else says how.
pub(super) fn ensure(purpose: Purpose) -> Result<()> {
    let missing = purpose.missing();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: BTreeSet<&str> = missing.iter().map(|p| p.package).collect();
    let packages: Vec<&str> = packages.into_iter().collect();
    let binaries: Vec<&str> = missing.iter().map(|p| p.binary).collect();
    step(format_args!("missing programs: {}", binaries.join(" ")));
    let by_hand = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    if find_program("apt-get").is_none() {
        bail!(
            "this is no Debian-like system; install the programs {} by its own means",
            binaries.join(", ")
        );
    }
    if !is_root() {
        bail!("installing needs root. Run: sudo {by_hand}");
    }
    install(&packages).with_context(|| format!("by hand: {by_hand}"))?;
    keep_off_at_boot(&missing)?;
    let still: Vec<&str> = purpose.missing().iter().map(|p| p.binary).collect();
    if !still.is_empty() {
        bail!("installed, but still not found: {}", still.join(" "));
    }
    Ok(())
}

/// Installs packages; lists that are missing, or name what the mirror has replaced since, are brought up to date first.
fn install(packages: &[&str]) -> Result<()> {
    let mut is_fresh = false;
    for package in packages {
        let policy = capture(
            Command::new("apt-cache")
                .args(["policy", package])
                .env("LC_ALL", "C"),
        )?;
        if !policy.contains("Candidate:") || policy.contains("Candidate: (none)") {
            update_lists()?;
            is_fresh = true;
            break;
        }
    }
    let _policy = ServicesHeld::new(Path::new("/usr/sbin/policy-rc.d"))?;
    step(format_args!("apt-get install {}", packages.join(" ")));
    match apt_install(packages) {
        Err(error) if !is_fresh => {
            note(format_args!("{error}"));
            update_lists()?;
            apt_install(packages)
        }
        done => done,
    }
}

fn update_lists() -> Result<()> {
    step("apt-get update");
    run(Command::new("apt-get").args(["-qq", "update"]))
}

fn apt_install(packages: &[&str]) -> Result<()> {
    run(Command::new("apt-get")
        .args([
            "-qq",
            "-y",
            "-o",
            "Dpkg::Use-Pty=0",
            "install",
            "--no-install-recommends",
        ])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        // apt's helpers report every package on stdout, which is for results.
        .stdout(std::io::stderr()))
}

/// Takes the new servers out of the boot sequence again: the tests start their own.
fn keep_off_at_boot(installed: &[&Program]) -> Result<()> {
    if find_program("systemctl").is_none() {
        return Ok(());
    }
    for unit in installed.iter().filter_map(|p| p.unit) {
        note(format_args!("{unit} stays off: systemctl disable {unit}"));
        capture(Command::new("systemctl").args(["--quiet", "disable", unit]))
            .with_context(|| format!("{unit} would start at the next boot; disable it by hand"))?;
    }
    Ok(())
}

/// While it lives, package scripts may not start services (Debian's policy-rc.d). A policy that the machine
/// already has is left as it is.
struct ServicesHeld {
    ours: Option<PathBuf>,
}

impl ServicesHeld {
    fn new(path: &Path) -> Result<Self> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(path);
        match file {
            Ok(mut file) => {
                let ours = Some(path.to_path_buf());
                file.write_all(b"#!/bin/sh\n# Temporary: cargo xtask setup --tests installs, it starts nothing.\nexit 101\n")
                    .with_context(|| format!("cannot write {}", path.display()))?;
                Ok(Self { ours })
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(Self { ours: None }),
            Err(error) => Err(error).with_context(|| format!("cannot create {}", path.display())),
        }
    }
}

impl Drop for ServicesHeld {
    fn drop(&mut self) {
        if let Some(path) = &self.ours
            && let Err(error) = fs::remove_file(path)
        {
            note(format_args!("remove {} by hand: {error}", path.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_policy_lives_as_long_as_the_guard_and_spares_an_existing_one() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("policy-rc.d");
        let guard = ServicesHeld::new(&path).expect("a policy");
        drop(ServicesHeld::new(&path).expect("the second finds the first"));
        assert!(path.is_file(), "the second guard did not own it");
        drop(guard);
        assert!(!path.exists());
    }
}

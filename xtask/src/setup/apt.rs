//! apt as a source of packages: what it offers, what depends on what, and downloads. Installs nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process::{capture, find_program, run, step};

/// apt-get and apt-cache with either the system's package lists or private ones.
#[derive(Debug)]
pub(super) struct Apt {
    options: Vec<String>,
    private: PathBuf,
    /// Lines of a sources list to be used in place of the system's.
    sources: Option<Vec<String>>,
}

impl Apt {
    /// `private` is where own package lists may go; made only by [`Apt::update`].
    pub(super) fn new(private: PathBuf) -> Result<Self> {
        for tool in ["apt-get", "apt-cache", "dpkg", "dpkg-query"] {
            if find_program(tool).is_none() {
                bail!("`{tool}` is not here: this is no Debian-like system");
            }
        }
        // Downloads are made into a folder that apt's own sandbox user cannot write.
        Ok(Self {
            options: vec!["-o".into(), "APT::Sandbox::User=root".into()],
            private,
            sources: None,
        })
    }

    /// Takes packages from `sources`, lines of a sources list, in place of what the system is configured for.
    /// Knows of none before [`Apt::update`].
    pub(super) fn with_sources(private: PathBuf, sources: Vec<String>) -> Result<Self> {
        Ok(Self {
            sources: Some(sources),
            ..Self::new(private)?
        })
    }

    fn command(&self, tool: &str) -> Command {
        let mut command = Command::new(tool);
        command.args(&self.options).env("LC_ALL", "C");
        command
    }

    /// Fetches package lists into the private folder and uses them from now on. The system's own lists are
    /// left alone, so this needs no root.
    pub(super) fn update(&mut self) -> Result<()> {
        for dir in ["state/lists/partial", "cache/archives/partial"] {
            let dir = self.private.join(dir);
            std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        for (key, value) in [
            ("Dir::State", self.private.join("state")),
            ("Dir::State::status", PathBuf::from("/var/lib/dpkg/status")),
            ("Dir::Cache", self.private.join("cache")),
        ] {
            self.set(key, &value);
        }
        if let Some(sources) = &self.sources {
            let list = self.private.join("sources.list");
            std::fs::write(&list, sources.join("\n") + "\n")
                .with_context(|| format!("cannot write {}", list.display()))?;
            self.set("Dir::Etc::sourcelist", &list);
            // A folder without any file in it: the system's further lists do not count.
            self.set(
                "Dir::Etc::sourceparts",
                &self.private.join("cache/archives/partial"),
            );
        }
        step("fetching package lists (privately; the system's stay as they are)");
        run(self.command("apt-get").args(["-qq", "update"]))
    }

    fn set(&mut self, key: &str, value: &Path) {
        self.options
            .extend(["-o".into(), format!("{key}={}", value.display())]);
    }

    /// Names of all packages that begin with `prefix`.
    pub(super) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let list = capture(self.command("apt-cache").args(["pkgnames", prefix]))?;
        Ok(list.lines().map(str::to_owned).collect())
    }

    /// Version that would be installed, or none when no source offers the package.
    pub(super) fn candidate(&self, package: &str) -> Result<Option<String>> {
        Ok(parse_candidate(&capture(
            self.command("apt-cache").args(["policy", package]),
        )?))
    }

    /// Direct dependencies of a package.
    pub(super) fn depends(&self, package: &str) -> Result<Vec<String>> {
        Ok(parse_depends(&capture(self.command("apt-cache").args([
            "depends",
            "--important",
            package,
        ]))?))
    }

    /// What `packages` need at run time, directly or not, that is not installed on this machine.
    pub(super) fn missing_dependencies(&self, packages: &[String]) -> Result<BTreeSet<String>> {
        let mut command = self.command("apt-cache");
        command
            .args(["depends", "--recurse", "--important", "--no-pre-depends"])
            .args(packages);
        let closure = parse_depends(&capture(&mut command)?);
        let installed = installed_packages()?;
        // Only shared libraries count: nothing is installed, so scripts and helpers would never run.
        let is_library = |name: &String| name.starts_with("lib") || name.starts_with("zlib");
        Ok(closure
            .into_iter()
            .filter(is_library)
            .filter(|name| !installed.contains(name))
            .collect())
    }

    /// Downloads the candidates of `packages` into `dir`.
    pub(super) fn download(&self, packages: &BTreeSet<String>, dir: &Path) -> Result<()> {
        let mut command = self.command("apt-get");
        run(command.args(["-qq", "download"]).args(packages).current_dir(dir))
    }
}

/// Where this system takes Debian's packages from: the main archive, and that of the security updates.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mirrors {
    pub(super) main: String,
    pub(super) security: Option<String>,
}

/// Asks apt for the mirrors that the system is configured for.
pub(super) fn debian_mirrors() -> Result<Mirrors> {
    let list = capture(
        Command::new("apt-get")
            .args([
                "indextargets",
                "--format",
                "$(REPO_URI) $(RELEASE)",
                "Created-By: Packages",
            ])
            .env("LC_ALL", "C"),
    )?;
    parse_mirrors(&list).context(
        "apt has no Debian source, so there is no telling where Debian's kernels are: add one to /etc/apt",
    )
}

/// Lines of `<uri> <suite>`.
fn parse_mirrors(list: &str) -> Option<Mirrors> {
    let suites = || list.lines().filter_map(|line| line.split_once(' '));
    // A release by its name or by its standing; its security suite has an archive of its own.
    let is_release = |suite: &str| {
        const RELEASES: [&str; 10] = [
            "bookworm",
            "trixie",
            "forky",
            "duke",
            "sid",
            "oldstable",
            "stable",
            "testing",
            "unstable",
            "oldoldstable",
        ];
        RELEASES.contains(&suite)
    };
    let (main, _) = suites().find(|(_, suite)| is_release(suite))?;
    let security = suites().find(|(_, suite)| suite.strip_suffix("-security").is_some_and(is_release));
    Some(Mirrors {
        main: main.to_owned(),
        security: security.map(|(uri, _)| uri.to_owned()),
    })
}

/// Unpacks every .deb in `debs` into `root`, without any of their scripts.
pub(super) fn unpack_all(debs: &Path, root: &Path) -> Result<()> {
    for entry in std::fs::read_dir(debs).with_context(|| format!("cannot read {}", debs.display()))? {
        let deb = entry?.path();
        if deb.extension().is_some_and(|ext| ext == "deb") {
            run(Command::new("dpkg").arg("-x").arg(&deb).arg(root))?;
        }
    }
    Ok(())
}

fn installed_packages() -> Result<BTreeSet<String>> {
    let list = capture(Command::new("dpkg-query").args(["-W", "-f", "${Package} ${db:Status-Status}\\n"]))?;
    Ok(parse_installed(&list))
}

fn parse_installed(list: &str) -> BTreeSet<String> {
    list.lines()
        .filter_map(|line| line.strip_suffix(" installed"))
        .map(str::to_owned)
        .collect()
}

fn parse_candidate(policy: &str) -> Option<String> {
    let version = policy
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("Candidate: "))?;
    (version != "(none)").then(|| version.to_owned())
}

/// Names behind `Depends:` and `PreDepends:`; virtual packages (`<name>`) are left out.
fn parse_depends(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.trim_start_matches([' ', '|']).split_once("Depends: "))
        .map(|(_, name)| name.split(':').next().unwrap_or(name))
        .filter(|name| !name.starts_with('<'))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_is_read_from_policy_output() {
        let policy =
            "rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1~deb12u2\n  Version table:\n";
        assert_eq!(parse_candidate(policy).as_deref(), Some("1.96.0+dfsg1-1~deb12u2"));
        assert_eq!(
            parse_candidate("x:\n  Installed: (none)\n  Candidate: (none)\n"),
            None
        );
        assert_eq!(
            parse_candidate(""),
            None,
            "apt says nothing about a package it has never heard of"
        );
    }

    #[test]
    fn dependencies_are_read_with_alternatives_and_without_virtual_packages() {
        let text = "libstd-rust-web-1.96\n  Depends: libc6\n |Depends: libllvm22\n  PreDepends: base\n  \
                    Depends: <libc-dev>\n    libc6-dev\n  Depends: zlib1g:any\n  Recommends: cargo-web\n";
        assert_eq!(parse_depends(text), ["libc6", "libllvm22", "base", "zlib1g"]);
    }

    #[test]
    fn mirrors_are_told_from_other_peoples_archives() {
        let list = "http://tools.example/apt nodistro\nhttp://a.example/debian/ bookworm\n\
                    http://a.example/debian/ bookworm-updates\nhttp://b.example/security/ bookworm-security\n";
        let mirrors = parse_mirrors(list).expect("there is one");
        assert_eq!(mirrors.main, "http://a.example/debian/");
        assert_eq!(mirrors.security.as_deref(), Some("http://b.example/security/"));
        assert_eq!(parse_mirrors("http://tools.example/apt nodistro\n"), None);
    }

    #[test]
    fn removed_packages_are_not_installed_ones() {
        let list = "zlib1g installed\nnginx config-files\n";
        assert_eq!(parse_installed(list), BTreeSet::from(["zlib1g".to_owned()]));
    }
}

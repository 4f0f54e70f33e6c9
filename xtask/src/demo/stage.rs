//! The stage: two network namespaces joined by a cable, and two cgroups. All made here, all removed when dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::leftovers;
use super::process::{Place, Running};
use crate::process::{capture, find_program, note};

/// Name of the cable's end in each namespace.
const CLIENT_INTERFACE: &str = "demo-client";
const SERVER_INTERFACE: &str = "demo-server";
pub(super) const SERVER_ADDRESS: &str = "10.203.0.2";

/// Undoes one thing when dropped, with a command.
struct Undo(Vec<String>);

impl Drop for Undo {
    fn drop(&mut self) {
        if let Err(error) = ip(&self.0.iter().map(String::as_str).collect::<Vec<_>>()) {
            note(format_args!("{error:#}"));
        }
    }
}

/// A cgroup that is removed when dropped. Its processes must have ended.
#[derive(Debug)]
struct Cgroup(PathBuf);

impl Cgroup {
    fn create(path: PathBuf) -> Result<Self> {
        fs::create_dir(&path).with_context(|| format!("cannot create the cgroup {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            note(format_args!(
                "cannot remove the cgroup {}: {error}",
                self.0.display()
            ));
        }
    }
}

/// Fields are dropped in this order: processes, cgroups from the inside out, cable and namespaces.
pub(super) struct Stage {
    _keepers: Vec<Running>,
    victim: Cgroup,
    neighbour: Cgroup,
    _parent: Cgroup,
    _namespaces: Vec<Undo>,
    client: String,
    server: String,
    cgroup_mount: PathBuf,
}

impl Stage {
    pub(super) fn build() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/mounts").context("cannot read /proc/mounts")?;
        let cgroup_mount = cgroup2_mount(&mounts).context(
            "no cgroup2 is mounted: mount -t cgroup2 none /sys/fs/cgroup/unified, or boot with systemd",
        )?;
        leftovers::sweep(&cgroup_mount)?;
        let tag = std::process::id();
        let (client, server) = (
            format!("chaos-demo-{tag}-client"),
            format!("chaos-demo-{tag}-server"),
        );
        let mut namespaces = Vec::new();
        for name in [&client, &server] {
            ip(&["netns", "add", name])?;
            namespaces.push(Undo(["netns", "delete", name].map(str::to_owned).to_vec()));
        }
        // Both ends are born inside their namespaces: the machine's own never sees them.
        ip(&[
            "link",
            "add",
            CLIENT_INTERFACE,
            "netns",
            &client,
            "type",
            "veth",
            "peer",
            "name",
            SERVER_INTERFACE,
            "netns",
            &server,
        ])?;
        for (netns, interface, address) in [
            (&client, CLIENT_INTERFACE, "10.203.0.1"),
            (&server, SERVER_INTERFACE, SERVER_ADDRESS),
        ] {
            ip(&[
                "-n",
                netns,
                "address",
                "add",
                &format!("{address}/30"),
                "dev",
                interface,
            ])?;
            ip(&["-n", netns, "link", "set", "lo", "up"])?;
            ip(&["-n", netns, "link", "set", interface, "up"])?;
        }

        let parent = Cgroup::create(cgroup_mount.join(format!("chaos-demo-{tag}")))?;
        let victim = Cgroup::create(parent.0.join("victim"))?;
        let neighbour = Cgroup::create(parent.0.join("neighbour"))?;

        let mut stage = Self {
            _keepers: Vec::new(),
            victim,
            neighbour,
            _parent: parent,
            _namespaces: namespaces,
            client,
            server,
            cgroup_mount,
        };
        // A workload lives in its cgroup for longer than one request; so that the daemon finds its namespace.
        for place in [stage.victim(), stage.neighbour()] {
            let sleep = find_program("sleep").context("no `sleep`")?;
            stage
                ._keepers
                .push(Running::start("sleep", place.command(&sleep)?.arg("3600"))?);
        }
        Ok(stage)
    }

    /// In the client namespace, in the cgroup that the faults name.
    pub(super) fn victim(&self) -> Place {
        Place {
            cgroup: Some(self.victim.0.clone()),
            ..self.client()
        }
    }

    /// In the same namespace, in another cgroup.
    pub(super) fn neighbour(&self) -> Place {
        Place {
            cgroup: Some(self.neighbour.0.clone()),
            ..self.client()
        }
    }

    pub(super) fn client(&self) -> Place {
        Place {
            netns: netns_path(&self.client),
            cgroup: None,
        }
    }

    pub(super) fn server(&self) -> Place {
        Place {
            netns: netns_path(&self.server),
            cgroup: None,
        }
    }

    /// Names of the two namespaces.
    pub(super) fn namespaces(&self) -> [&str; 2] {
        [&self.client, &self.server]
    }

    /// The victim's cgroup as a fault names it: from the cgroup2 mount.
    pub(super) fn victim_cgroup(&self) -> Result<String> {
        let below = self
            .victim
            .0
            .strip_prefix(&self.cgroup_mount)
            .context("the cgroup is below its mount")?;
        Ok(format!("/{}", below.display()))
    }

    /// Do both ends of the cable report that they are up?
    pub(super) fn is_up(&self) -> Result<bool> {
        let mut up = true;
        for (netns, interface) in [(&self.client, CLIENT_INTERFACE), (&self.server, SERVER_INTERFACE)] {
            let link: Value =
                serde_json::from_str(&ip(&["-n", netns, "-j", "link", "show", "dev", interface])?)?;
            up &= link[0]["operstate"] == "UP";
        }
        Ok(up)
    }

    /// Refuses to go on unless everything a fault could touch was made by this demo: the daemon runs in the
    /// client namespace, which must hold the cable's end and a loopback of its own, and nothing else.
    pub(super) fn check_own(&self) -> Result<()> {
        let links: Value = serde_json::from_str(&ip(&["-n", &self.client, "-j", "link", "show"])?)?;
        let names: Vec<&str> = links
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|l| l["ifname"].as_str())
            .collect();
        match names.iter().find(|name| !is_own(name)) {
            Some(foreign) => bail!(
                "{foreign} in {} was not made by this demo; nothing was injected",
                self.client
            ),
            None => Ok(()),
        }
    }
}

/// May a fault of the demo be attached to this interface? The loopback of the namespaces counts as made here.
pub(super) fn is_own(interface: &str) -> bool {
    [CLIENT_INTERFACE, SERVER_INTERFACE, "lo"].contains(&interface)
}

pub(super) fn ip(args: &[&str]) -> Result<String> {
    capture(Command::new(find_program("ip").context("no `ip`")?).args(args))
}

fn netns_path(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

/// First cgroup2 mount in the text of /proc/mounts. On hybrid systems it is not /sys/fs/cgroup.
fn cgroup2_mount(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (path, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup2_mount_is_found_on_hybrid_and_unified_systems() {
        let hybrid = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";
        assert_eq!(cgroup2_mount(hybrid), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(
            cgroup2_mount("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"),
            Some("/sys/fs/cgroup".into())
        );
        assert_eq!(
            cgroup2_mount("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"),
            None
        );
    }

    #[test]
    fn interfaces_of_the_machine_are_not_ours() {
        assert!(!is_own("eth0"));
        assert!(is_own(CLIENT_INTERFACE));
    }
}

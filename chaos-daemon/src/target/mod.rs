//! The room `target`: from what a spec names to where its packets pass, and whether it is still there.
//!
//! * [`resolve`]: a new fault. Strict: whatever cannot work is refused with the reason and the remedy.
//! * [`check`]: a running fault. Cheap while nothing changes; follows what does change; says when the target is gone.
//! * [`names`]: the addresses behind `remote.hosts`, kept fresh.
//!
//! Everything here blocks (short): a caller on an async runtime wraps it in `spawn_blocking`.

mod cgroup;
mod container;
mod dump;
mod error;
mod glance;
mod interfaces;
mod link;
pub mod names;
mod netns;
mod outline;
mod process;
mod queue;
mod stack;
mod visitor;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Instant;

use chaos_spec::{Target, TargetKind, WarningKind};

pub use self::error::TargetError;
pub use self::netns::Netns;
pub use link::OURS;
pub use queue::Queue;

use self::cgroup::Hierarchy;
use self::interfaces::Strictness;
use self::process::{Process, thread_group};
use self::watch::{Anchor, Watch};

/// Whose packets, in words the kernel programs understand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// All that passes the interfaces.
    Whole,
    /// The sockets of one cgroup and of everything below it.
    Cgroup {
        /// What `bpf_skb_cgroup_id` returns for it: the inode of its directory.
        id: u64,
        /// Its depth; the root is 0.
        level: u32,
        /// The directory, below the cgroup2 mount.
        path: PathBuf,
    },
    /// The sockets of one process.
    Process { pid: u32 },
}

/// A network interface as its namespace knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Interface {
    pub index: u32,
    pub name: String,
    /// Administratively up.
    pub up: bool,
    pub loopback: bool,
    /// IFLA_INFO_KIND: `veth`, `bridge`, `wireguard`, …; a physical device has none.
    pub kind: Option<String>,
    /// Whether frames begin with an Ethernet header; else with the IP header (tun, wireguard).
    pub ethernet: bool,
    /// All its packets pass another interface of its namespace as well, which is meant when none is named.
    pub covered: bool,
    /// A port of a switch, which tells no sender what has become of its packets.
    pub switched: bool,
}

/// A network namespace and the interfaces of it that are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub netns: Netns,
    /// May be empty while a followed target has nothing there that can be hit.
    pub interfaces: Vec<Interface>,
}

/// A target that was found.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub identity: Identity,
    /// Each namespace once. Empty for a cgroup without processes: nothing passes yet.
    pub places: Vec<Place>,
    pub warnings: Vec<WarningKind>,
    watch: Box<Watch>,
}

/// What became of a target since it was last looked at.
#[derive(Clone, Debug)]
pub enum Liveness {
    Alive,
    /// Why it is gone, for people.
    Gone(String),
    /// It lives on in other places, or the way into one changed. Places that are equal stay as they are.
    Changed(Resolved),
}

/// Where the cgroup2 hierarchy is mounted.
pub fn cgroup_root() -> Option<PathBuf> {
    Hierarchy::find().ok().map(|hierarchy| hierarchy.mount)
}

/// The cgroup2 directory that a process is in.
pub fn cgroup_of(pid: u32) -> Option<PathBuf> {
    let name = Process::find(pid).ok()?.cgroup2().ok()??;
    Some(cgroup_root()?.join(name.trim_start_matches('/')))
}

/// Finds a target for a new fault. `interfaces` narrows it; empty: what the target itself says, else all but loopbacks.
///
/// # Errors
/// Every [`TargetError`]: nothing was changed anywhere.
pub fn resolve(target: &Target, interfaces: &[String]) -> Result<Resolved, TargetError> {
    let names = names_of(target, interfaces)?;
    let mut found = find(&target.kind)?;
    let seen = found
        .anchor
        .look()
        .map_err(|reason| TargetError::Vanished { reason })?;
    let namespaces = seen.namespaces();
    found.warnings.extend(emptiness(target, &namespaces));
    let begun = Instant::now();
    let listed = interfaces::list(namespaces, Strictness::New)?;
    let watch = Box::new(Watch::begin(found.anchor, names, begun, &listed, seen));
    let (places, warnings) = interfaces::places(listed, names, Strictness::New)?;
    found.warnings.extend(warnings);
    Ok(Resolved {
        identity: found.identity,
        places,
        warnings: found.warnings,
        watch,
    })
}

/// Looks after a target that [`resolve`] or an earlier check found. Stat-level while nothing changed.
///
/// Errors of a moment (an interface list that could not be read) count as "nothing changed": the next check sees more.
pub fn check(target: &Target, interfaces: &[String], last: &Resolved) -> Liveness {
    let seen = match last.watch.anchor.look() {
        Ok(seen) => seen,
        Err(reason) => return Liveness::Gone(reason),
    };
    let Ok(names) = names_of(target, interfaces) else {
        return Liveness::Alive;
    };
    if last.watch.is_current(&seen, names) {
        return Liveness::Alive;
    }
    let follow = || {
        let namespaces = seen.namespaces();
        let empty = emptiness(target, &namespaces);
        let begun = Instant::now();
        let listed = interfaces::list(namespaces, Strictness::Running)?;
        let watch = Box::new(Watch::begin(
            last.watch.anchor.clone(),
            names,
            begun,
            &listed,
            seen,
        ));
        let (places, _) = interfaces::places(listed, names, Strictness::Running)?;
        if let Some(reason) = lost_devices(names, &last.places, &places) {
            return Ok(Liveness::Gone(reason));
        }
        let is_old = |warning: &&WarningKind| !matches!(warning, WarningKind::FollowingEmptyCgroup { .. });
        let mut warnings: Vec<_> = last.warnings.iter().filter(is_old).cloned().collect();
        warnings.extend(empty);
        Ok(Liveness::Changed(Resolved {
            identity: last.identity.clone(),
            places,
            warnings,
            watch,
        }))
    };
    follow().unwrap_or_else(|error: TargetError| {
        tracing::warn!(target = %target, %error, "the target changed, but cannot be looked at now");
        Liveness::Alive
    })
}

/// The warning for a cgroup in which nobody lives now.
fn emptiness(target: &Target, namespaces: &[Netns]) -> Option<WarningKind> {
    match &target.kind {
        TargetKind::Cgroup(path) if namespaces.is_empty() => {
            Some(WarningKind::FollowingEmptyCgroup { path: path.clone() })
        }
        _ => None,
    }
}

/// What a kind of target names, before its interfaces.
struct Found {
    identity: Identity,
    anchor: Anchor,
    warnings: Vec<WarningKind>,
}

impl Found {
    fn whole(anchor: Anchor, warnings: Vec<WarningKind>) -> Self {
        Self {
            identity: Identity::Whole,
            anchor,
            warnings,
        }
    }

    fn cgroup(cgroup: cgroup::Cgroup, init: Option<Process>) -> Self {
        Self {
            identity: Identity::Cgroup {
                id: cgroup.id,
                level: cgroup.level,
                path: cgroup.directory.clone(),
            },
            anchor: Anchor::Cgroup { cgroup, init },
            warnings: Vec::new(),
        }
    }
}

fn find(kind: &TargetKind) -> Result<Found, TargetError> {
    match kind {
        TargetKind::Cgroup(path) => Ok(Found::cgroup(Hierarchy::find()?.cgroup(path)?, None)),
        TargetKind::Pid(pid) => process(*pid),
        TargetKind::Netns(name) => Ok(Found::whole(Anchor::netns(Netns::named(name)?), Vec::new())),
        TargetKind::Container(name) => container::find(name, &container::Roots::default()),
        TargetKind::Interface(interface) => {
            let netns = interface.netns.as_deref().map_or_else(Netns::own, Netns::named)?;
            Ok(Found::whole(Anchor::netns(netns), Vec::new()))
        }
        TargetKind::Host => Ok(Found::whole(
            Anchor::netns(Netns::own()?),
            vec![WarningKind::HostTarget],
        )),
        TargetKind::Pods(_) => Err(TargetError::NeedsOperator),
    }
}

fn process(pid: u32) -> Result<Found, TargetError> {
    let process = Process::find(pid)?;
    if let Ok(Some(group)) = thread_group(pid)
        && group != pid
    {
        return Err(TargetError::IsAThread {
            thread: pid,
            process: group,
        });
    }
    Ok(Found {
        identity: Identity::Process { pid },
        anchor: Anchor::Process(process),
        warnings: Vec::new(),
    })
}

/// The interface names that count: the argument, the target's own list, or the one interface that is the target.
fn names_of<'a>(target: &'a Target, interfaces: &'a [String]) -> Result<&'a [String], TargetError> {
    let list = if interfaces.is_empty() {
        &target.interfaces
    } else {
        interfaces
    };
    let TargetKind::Interface(interface) = &target.kind else {
        return Ok(list);
    };
    if list.iter().any(|name| *name != interface.name) {
        return Err(TargetError::InterfacesContradict {
            interface: interface.name.clone(),
        });
    }
    Ok(std::slice::from_ref(&interface.name))
}

/// Named devices are part of the target: when the namespaces live on, but no device of before is left in any, it is gone.
/// (A device that was made anew under the old name is another one.)
fn lost_devices(names: &[String], before: &[Place], now: &[Place]) -> Option<String> {
    let devices = |places: &[Place]| -> HashSet<(u64, u64, u32)> {
        let of = |place: &Place| {
            let (dev, inode) = place.netns.id();
            place
                .interfaces
                .iter()
                .map(move |interface| (dev, inode, interface.index))
                .collect::<Vec<_>>()
        };
        places.iter().flat_map(of).collect()
    };
    let had = devices(before);
    let namespaces_live = before
        .iter()
        .all(|place| now.iter().any(|other| other.netns == place.netns))
        && !before.is_empty();
    let lost = !names.is_empty() && namespaces_live && !had.is_empty() && had.is_disjoint(&devices(now));
    lost.then(|| {
        format!(
            "interface {} is gone from {}",
            names.join(", "),
            before[0].netns.label
        )
    })
}

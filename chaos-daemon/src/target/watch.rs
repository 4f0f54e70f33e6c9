//! What a target hangs on, and the cheap question whether it changed.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Instant;

use super::Netns;
use super::cgroup::Cgroup;
use super::glance::{self, Glance, glance};
use super::link::Link;
use super::process::Process;

/// (dev, inode) of a network namespace.
type NetnsId = (u64, u64);

/// What must stay for the target to live.
#[derive(Clone, Debug)]
pub(super) enum Anchor {
    /// The daemon's own namespace lives as long as the daemon.
    Own(Netns),
    /// The entry must go on leading to the same namespace.
    Entry { netns: Netns, born: Option<Born> },
    /// The same process, pid and start time.
    Process(Process),
    /// The same directory and, for a container, its first process.
    Cgroup { cgroup: Cgroup, init: Option<Process> },
}

/// When the inode of a namespace was made. Inode numbers of namespaces are used again soon; a name pins the inode, so
/// its change time (seconds, nanoseconds) tells two namespaces with one number apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Born(i64, i64);

/// The namespaces of a target now, each with the processes through which it was seen (none: it has an entry of its own).
pub(super) struct Seen(Vec<(Netns, Vec<u32>)>);

/// What [`super::check`] compares with.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    pub(super) anchor: Anchor,
    begun: Instant,
    spots: HashMap<NetnsId, Spot>,
}

#[derive(Clone, Debug)]
struct Spot {
    netns: Netns,
    /// The interfaces that count.
    links: Glance,
    /// A process that was in it. As long as this very process is there, the namespace cannot have been replaced by
    /// another one with its number, and `/proc/PID/ns/net` leads into it.
    witness: Option<Process>,
}

impl Anchor {
    /// `netns` by its entry.
    pub(super) fn netns(netns: Netns) -> Self {
        if netns.is_own {
            return Self::Own(netns);
        }
        let born = born(&netns.entry);
        Self::Entry { netns, born }
    }

    /// Where it is now, or why it is gone.
    pub(super) fn look(&self) -> Result<Seen, String> {
        match self {
            Self::Own(netns) => Ok(Seen(vec![(netns.clone(), Vec::new())])),
            Self::Entry { netns, born: before } => {
                let meta = fs::metadata(&netns.entry)
                    .map_err(|_| format!("network namespace {} was deleted", netns.label))?;
                if (meta.dev(), meta.ino()) != netns.id() || born(&netns.entry) != *before {
                    return Err(format!("{} is another network namespace now", netns.label));
                }
                Ok(Seen(vec![(netns.clone(), Vec::new())]))
            }
            Self::Process(process) => {
                let netns = process.netns();
                // Asked after the link was read, so that the link was this process's.
                match netns {
                    Ok(netns) if process.is_alive() => Ok(Seen(vec![(netns, vec![process.pid])])),
                    _ => Err(format!("process {} has ended", process.pid)),
                }
            }
            Self::Cgroup { cgroup, init } => {
                if init.is_some_and(|init| !init.is_alive()) {
                    return Err(format!("the container of cgroup {} has ended", cgroup.name));
                }
                if !cgroup.exists() {
                    return Err(format!("cgroup {} was removed", cgroup.name));
                }
                Ok(members(cgroup))
            }
        }
    }
}

fn members(cgroup: &Cgroup) -> Seen {
    let mut found: Vec<(Netns, Vec<u32>)> = Vec::new();
    let mut place: HashMap<NetnsId, usize> = HashMap::new();
    for pid in cgroup.members() {
        // It may have ended since the list was read.
        let Ok(netns) = Netns::of_pid(pid) else {
            continue;
        };
        let at = *place.entry(netns.id()).or_insert_with(|| {
            found.push((netns, Vec::new()));
            found.len() - 1
        });
        found[at].1.push(pid);
    }
    Seen(found)
}

fn born(entry: &PathBuf) -> Option<Born> {
    // The inode behind a /proc link may be made anew at each look; only a mounted name pins it.
    if entry.starts_with("/proc") {
        return None;
    }
    fs::metadata(entry)
        .ok()
        .map(|meta| Born(meta.ctime(), meta.ctime_nsec()))
}

impl Seen {
    pub(super) fn namespaces(&self) -> Vec<Netns> {
        self.0
            .iter()
            .map(|(netns, _)| netns.clone().prefer_name())
            .collect()
    }
}

impl Watch {
    /// Remembers how things were when the interfaces of the namespaces in `seen` were `listed`, which began at `begun`.
    /// A namespace that is not among them is left out, so the next check finds one too many and looks again.
    pub(super) fn begin(
        anchor: Anchor,
        names: &[String],
        begun: Instant,
        listed: &[(Netns, Vec<Link>)],
        seen: Seen,
    ) -> Self {
        let mut pids: HashMap<NetnsId, Vec<u32>> = seen
            .0
            .into_iter()
            .map(|(netns, pids)| (netns.id(), pids))
            .collect();
        let spot = |(netns, links): &(Netns, Vec<Link>)| {
            let pids = pids.remove(&netns.id()).unwrap_or_default();
            let spot = Spot {
                netns: netns.clone(),
                links: only(names, &glance::of(links)),
                witness: pids.into_iter().find_map(|pid| Process::find(pid).ok()),
            };
            (netns.id(), spot)
        };
        let spots = listed.iter().map(spot).collect();
        Self { anchor, begun, spots }
    }

    /// Whether nothing changed.
    pub(super) fn is_current(&self, seen: &Seen, names: &[String]) -> bool {
        if seen.0.len() != self.spots.len() {
            return false;
        }
        seen.0.iter().all(|(netns, pids)| {
            let Some(spot) = self.spots.get(&netns.id()) else {
                return false;
            };
            let is_here = |witness: Process| pids.contains(&witness.pid) && witness.is_alive();
            let links = glance(&spot.netns, self.begun);
            spot.witness.is_none_or(is_here) && links.is_some_and(|links| only(names, &links) == spot.links)
        })
    }
}

/// The part that counts: these names, or all when there are none.
fn only(names: &[String], links: &Glance) -> Glance {
    if names.is_empty() {
        return links.clone();
    }
    let of_name = |name: &String| links.get(name).map(|seen| (name.clone(), *seen));
    names.iter().filter_map(of_name).collect()
}

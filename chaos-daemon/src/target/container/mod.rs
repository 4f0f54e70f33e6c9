//! From a container's id or name to its cgroup, or to its network namespace where it has no cgroup2 of its own.
//!
//! Two sources are put together: directories of the cgroup2 tree whose name carries an id, and the state files of the
//! runtimes, which know the first process.

mod scope;
mod state;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chaos_spec::WarningKind;

use super::cgroup::{Cgroup, Hierarchy, walk};
use super::error::listing;
use super::process::{Process, all_pids};
use super::watch::Anchor;
use super::{Found, Netns, TargetError};

/// Where the runtimes keep their state.
pub(super) struct Roots {
    /// `/run`.
    pub(super) run: PathBuf,
    /// `/var/lib`.
    pub(super) lib: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self {
            run: "/run".into(),
            lib: "/var/lib".into(),
        }
    }
}

/// Shorter pieces of an id fit too much by chance.
const SHORTEST_PREFIX: usize = 6;

/// What is known of one container.
#[derive(Clone, Debug, Default)]
struct Container {
    /// The topmost cgroup that carries its id.
    directory: Option<PathBuf>,
    /// Its first process, if that runs.
    init: Option<Process>,
    names: Vec<String>,
}

/// By full id, unique prefix of at least 6 characters, or name.
pub(super) fn find(text: &str, roots: &Roots) -> Result<Found, TargetError> {
    // Kubernetes writes `containerd://<id>`.
    let wanted = text.rsplit_once("://").map_or(text, |(_, id)| id);
    let hierarchy = match Hierarchy::find() {
        Ok(hierarchy) => Some(hierarchy),
        // Without cgroup2 the network namespace still tells a container from others.
        Err(TargetError::NoCgroup2) => None,
        Err(error) => return Err(error),
    };
    let all = collect(hierarchy.as_ref(), roots);
    let (id, container) = select(wanted, &all)?;
    let own = match &hierarchy {
        Some(hierarchy) => own_cgroup(hierarchy, id, container)?,
        None => None,
    };
    if let Some(cgroup) = own {
        return Ok(Found::cgroup(cgroup, container.init));
    }
    let Some(init) = container.init else {
        return Err(TargetError::ContainerNotRunning(id.clone()));
    };
    by_netns(id, init)
}

fn collect(hierarchy: Option<&Hierarchy>, roots: &Roots) -> BTreeMap<String, Container> {
    let mut all: BTreeMap<String, Container> = BTreeMap::new();
    for state in state::read_all(roots) {
        let container = all.entry(state.id).or_default();
        container.init = container.init.or(state.init);
        container.names.extend(state.names);
    }
    let Some(hierarchy) = hierarchy else {
        return all;
    };
    walk(&hierarchy.mount, &mut |directory| {
        let name = directory
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let id = match scope::container_id(name) {
            Some(id) => id,
            // A bare name is an id only when a runtime says so.
            None if all.contains_key(name) => name,
            None => return true,
        };
        let container = all.entry(id.to_owned()).or_default();
        container.directory.get_or_insert_with(|| directory.to_owned());
        // What is below belongs to it.
        false
    });
    all
}

fn select<'a>(
    wanted: &str,
    all: &'a BTreeMap<String, Container>,
) -> Result<(&'a String, &'a Container), TargetError> {
    if let Some(found) = all.get_key_value(wanted) {
        return Ok(found);
    }
    let mut matches: Vec<_> = all
        .iter()
        .filter(|(_, known)| known.names.iter().any(|name| name == wanted))
        .collect();
    if matches.is_empty() && wanted.len() >= SHORTEST_PREFIX {
        matches = all.iter().filter(|(id, _)| id.starts_with(wanted)).collect();
    }
    match matches.as_slice() {
        [one] => Ok(*one),
        [] => Err(TargetError::NoSuchContainer {
            name: wanted.to_owned(),
            known: format!(
                "the runtimes and the cgroup tree know {}",
                listing(all.iter().map(label), 8)
            ),
        }),
        several => Err(TargetError::AmbiguousContainer {
            name: wanted.to_owned(),
            matches: several.iter().map(|found| label(*found)).collect(),
        }),
    }
}

/// The first twelve characters of a long id, as docker shows it, and a name.
fn label((id, container): (&String, &Container)) -> String {
    let short: String = if id.len() == 64 {
        id.chars().take(12).collect()
    } else {
        id.clone()
    };
    match container.names.first() {
        Some(name) => format!("{short} ({name})"),
        None => short,
    }
}

/// The cgroup that holds this container and nothing else.
fn own_cgroup(hierarchy: &Hierarchy, id: &str, container: &Container) -> Result<Option<Cgroup>, TargetError> {
    let Some(init) = container.init else {
        // Known from the cgroup tree alone: it runs if somebody is in there.
        let Some(directory) = &container.directory else {
            return Ok(None);
        };
        let cgroup = hierarchy.at(directory)?;
        return if cgroup.members().is_empty() {
            Err(TargetError::ContainerNotRunning(id.to_owned()))
        } else {
            Ok(Some(cgroup))
        };
    };
    // On hybrid hosts a runtime may make the directory and leave its processes where they were: ask the process.
    let path = init
        .cgroup2()
        .map_err(|_| TargetError::ContainerNotRunning(id.to_owned()))?;
    let Some(path) = path.filter(|path| path != "/") else {
        return Ok(None);
    };
    let actual = hierarchy.mount.join(path.trim_start_matches('/'));
    if let Some(directory) = container.directory.as_ref().filter(|own| actual.starts_with(own)) {
        return hierarchy.at(directory).map(Some);
    }
    let Ok(cgroup) = hierarchy.at(&actual) else {
        return Ok(None);
    };
    // A runtime may be told any cgroup path; it is the container's own if nobody else lives there.
    Ok(holds_only(&cgroup, init).then_some(cgroup))
}

/// Whether every process of the cgroup shares the container's pid namespace, which is not the host's.
fn holds_only(cgroup: &Cgroup, init: Process) -> bool {
    let namespace_of = |pid| Process { pid, start: 0 }.pid_namespace().ok();
    let (Some(container), Some(host)) = (namespace_of(init.pid), namespace_of(std::process::id())) else {
        return false;
    };
    let members = cgroup.members();
    container != host
        && members
            .into_iter()
            .all(|pid| namespace_of(pid).is_none_or(|its| its == container))
}

/// The container as its network namespace: others may share it, and are then hit too.
fn by_netns(id: &str, init: Process) -> Result<Found, TargetError> {
    let netns = init
        .netns()
        .map_err(|_| TargetError::ContainerNotRunning(id.to_owned()))?;
    if netns.is_own {
        return Err(TargetError::ContainerIndistinct(id.to_owned()));
    }
    let mut warnings = vec![WarningKind::ContainerWithoutCgroup {
        container: id.to_owned(),
    }];
    warnings.extend(strangers(&netns, init));
    Ok(Found::whole(Anchor::Process(init), warnings))
}

/// A warning when processes of another pid namespace live in the same network namespace, as in a pod.
fn strangers(netns: &Netns, init: Process) -> Option<WarningKind> {
    let inside: Vec<_> = all_pids()
        .into_iter()
        .filter(|&pid| Netns::of_pid(pid).is_ok_and(|other| other == *netns))
        .collect();
    let own = init.pid_namespace().ok();
    let is_stranger = |pid: &u32| {
        let process = Process { pid: *pid, start: 0 };
        process.pid_namespace().is_ok_and(|its| Some(its) != own)
    };
    inside
        .iter()
        .any(is_stranger)
        .then_some(WarningKind::SharedNetns {
            processes: inside.len(),
        })
}

/// The entries of a folder; none when it is not there.
fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

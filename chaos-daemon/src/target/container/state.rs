//! The state files of the runtimes: which containers there are, their first process, their names.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::process::Process;
use super::{Roots, folders};

/// One container as its runtime knows it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) id: String,
    /// Its first process, if that still runs.
    pub(super) init: Option<Process>,
    pub(super) names: Vec<String>,
}

/// crun's `status`, runc's and youki's `state.json`: what they have in common under their different names.
#[derive(Deserialize)]
struct RuntimeState {
    #[serde(alias = "init_process_pid")]
    pid: Option<u32>,
    /// Clock ticks after boot; runc writes a number, crun too.
    #[serde(alias = "init_process_start", rename = "process-start-time")]
    start: Option<u64>,
}

/// An entry of podman's list of containers.
#[derive(Deserialize)]
struct PodmanContainer {
    id: String,
    #[serde(default)]
    names: Vec<String>,
}

/// docker's own file of a container.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerContainer {
    #[serde(rename = "ID")]
    id: String,
    /// With a slash before it.
    #[serde(default)]
    name: String,
}

/// All that can be read; a runtime that is not installed has nothing to say.
pub(super) fn read_all(roots: &Roots) -> Vec<State> {
    let mut states = Vec::new();
    for folder in runtime_folders(&roots.run) {
        states.extend(
            folders(&folder)
                .iter()
                .filter_map(|container| runtime_state(container)),
        );
    }
    let podman = roots
        .lib
        .join("containers/storage/overlay-containers/containers.json");
    let podman = read::<Vec<PodmanContainer>>(&podman).unwrap_or_default();
    states.extend(podman.into_iter().map(|container| State {
        id: container.id,
        init: None,
        names: container.names,
    }));
    let docker = folders(&roots.lib.join("docker/containers"));
    let docker = docker
        .iter()
        .filter_map(|folder| read::<DockerContainer>(&folder.join("config.v2.json")));
    states.extend(docker.map(|container| State {
        id: container.id,
        init: None,
        names: vec![container.name.trim_start_matches('/').to_owned()],
    }));
    states
}

/// Folders that hold one folder per container, each named by its id.
fn runtime_folders(run: &Path) -> Vec<PathBuf> {
    let mut folders_of_containers: Vec<PathBuf> = ["crun", "runc", "youki"].map(|name| run.join(name)).into();
    // One more level: containerd's namespaces, docker's `moby`.
    for root in ["containerd/runc", "docker/runtime-runc", "docker/runtime-crun"] {
        folders_of_containers.extend(folders(&run.join(root)));
    }
    // Rootless: /run/user/1000/crun.
    for user in folders(&run.join("user")) {
        folders_of_containers.extend(["crun", "runc"].map(|name| user.join(name)));
    }
    folders_of_containers
}

fn runtime_state(folder: &Path) -> Option<State> {
    let id = folder.file_name()?.to_str()?.to_owned();
    let state: RuntimeState = ["status", "state.json"]
        .iter()
        .find_map(|file| read(&folder.join(file)))?;
    let init = state.pid.and_then(|pid| Process::find(pid).ok());
    // The file may be older than the last boot of the container's process: a reused pid is somebody else.
    let init = init.filter(|process| state.start.is_none_or(|start| start == process.start));
    Some(State {
        id,
        init,
        names: Vec::new(),
    })
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let bytes = fs::read(path).ok()?;
    match serde_json::from_slice(&bytes) {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "a runtime's state file is not understood");
            None
        }
    }
}

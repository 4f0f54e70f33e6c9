//! Who opened a socket: what arrives for a cgroup or a process is recognised by the tag of the socket it is
//! for. New sockets are tagged by a program on the cgroup; those open already are tagged here, one by one.

use std::{
    collections::HashMap,
    fs::{self, File},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use chaos_ebpf_common::abi::{CGROUP_LEVELS, Tag};

use super::{
    DatapathError,
    object::{Maps, Object},
};
use crate::{
    sys::{
        bpf::Link,
        socket::{Pidfd, is_internet},
    },
    target::Identity,
};

struct Tagged {
    _link: Link,
    users: usize,
}

/// cgroups whose sockets are being tagged.
#[derive(Default)]
pub struct Tags {
    cgroups: HashMap<PathBuf, Tagged>,
}

impl Tags {
    /// Tags the sockets of a target, those to come and, for what arrives, those open now. Whole namespaces
    /// need no tags. What is returned goes back to [`Tags::let_go`].
    pub fn hold(
        &mut self,
        object: &Object,
        maps: &mut Maps,
        identity: &Identity,
        arriving: bool,
    ) -> Result<Option<PathBuf>, DatapathError> {
        let Some(path) = folder(identity) else {
            return Ok(None);
        };
        if let Some(tagged) = self.cgroups.get_mut(&path) {
            tagged.users += 1;
        } else {
            let directory = File::open(&path)
                .map_err(|e| DatapathError::system(format!("open cgroup {}", path.display()), e))?;
            let link = Link::cgroup(object.tagger.as_fd(), directory.as_fd())
                .map_err(|e| DatapathError::system(format!("attach to cgroup {}", path.display()), e))?;
            self.cgroups.insert(
                path.clone(),
                Tagged {
                    _link: link,
                    users: 1,
                },
            );
        }
        // First the program, then those open already: no socket falls between.
        match identity {
            Identity::Process { pid } => tag_process(maps, *pid, &path),
            _ if arriving => tag_below(maps, &path),
            _ => {}
        }
        Ok(Some(path))
    }

    /// One user less; the last one ends the tagging of new sockets. Tags die with their sockets.
    pub fn let_go(&mut self, folder: &Path) {
        if let Some(tagged) = self.cgroups.get_mut(folder) {
            tagged.users -= 1;
            if tagged.users == 0 {
                self.cgroups.remove(folder);
            }
        }
    }
}

/// The cgroup directory to attach to. A process is found through the cgroup it is in.
fn folder(identity: &Identity) -> Option<PathBuf> {
    match identity {
        Identity::Whole => None,
        Identity::Cgroup { path, .. } => Some(path.clone()),
        Identity::Process { pid } => crate::target::cgroup_of(*pid),
    }
}

fn tag_below(maps: &mut Maps, folder: &Path) {
    if let Ok(text) = fs::read_to_string(folder.join("cgroup.procs")) {
        for pid in text.lines().filter_map(|line| line.parse().ok()) {
            tag_process(maps, pid, folder);
        }
    }
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            tag_below(maps, &entry.path());
        }
    }
}

/// A process that ends meanwhile has no sockets any more: its errors say nothing.
fn tag_process(maps: &mut Maps, pid: u32, folder: &Path) {
    let Ok(held) = Pidfd::open(pid) else { return };
    let tag = Tag {
        process: pid,
        _pad: 0,
        cgroups: chain(folder),
    };
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return;
    };
    for entry in descriptors.flatten() {
        let is_socket = fs::read_link(entry.path())
            .is_ok_and(|to| to.as_os_str().as_encoded_bytes().starts_with(b"socket:"));
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let (true, Some(number)) = (is_socket, number)
            && let Ok(socket) = held.descriptor(number)
            && is_internet(socket.as_fd())
            && let Err(error) = maps.tags.insert(&socket, tag, 0)
        {
            tracing::warn!(pid, number, %error, "an open socket could not be tagged; what arrives for it is not matched");
        }
    }
}

/// Ids of the cgroups from the root down to this one: the inode numbers of their directories.
fn chain(folder: &Path) -> [u64; CGROUP_LEVELS] {
    use std::os::unix::fs::MetadataExt;
    let mut chain = [0; CGROUP_LEVELS];
    let Some(root) = crate::target::cgroup_root() else {
        return chain;
    };
    let below = folder.strip_prefix(&root).unwrap_or(Path::new(""));
    let mut path = root.clone();
    let steps = std::iter::once(None).chain(below.components().map(Some));
    for (slot, step) in chain.iter_mut().zip(steps) {
        if let Some(step) = step {
            path.push(step);
        }
        *slot = fs::metadata(&path).map(|meta| meta.ino()).unwrap_or(0);
    }
    chain
}

//! The cgroup2 hierarchy: where it is mounted, what a path in it means, who lives in it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use super::TargetError;
use super::error::listing;

/// The root directory of every kernfs has this inode; a mount that shows another one shows a subtree.
const ROOT_INODE: u64 = 1;

/// The cgroup2 mount. On hybrid hosts it stands beside the v1 ones.
#[derive(Clone, Debug)]
pub(super) struct Hierarchy {
    pub(super) mount: PathBuf,
    v1_mounts: Vec<PathBuf>,
}

/// One cgroup.
#[derive(Clone, Debug)]
pub(super) struct Cgroup {
    pub(super) directory: PathBuf,
    /// As /proc/PID/cgroup writes it: `/a/b`; the root is `/`.
    pub(super) name: String,
    /// The number that `bpf_skb_cgroup_id` returns: kernfs gives it as the inode.
    pub(super) id: u64,
    /// Depth below the root, which is 0: the argument of `bpf_skb_ancestor_cgroup_id`.
    pub(super) level: u32,
}

impl Hierarchy {
    /// # Errors
    /// [`TargetError::NoCgroup2`] on a pure v1 host.
    pub(super) fn find() -> Result<Self, TargetError> {
        let file = "/proc/self/mountinfo";
        // Where others mount is theirs to spell (FUSE lets any user), and need not be UTF-8.
        let text = fs::read(file).map_err(|source| TargetError::io(format!("read {file}"), source))?;
        let (v2, v1_mounts) = cgroup_mounts(&String::from_utf8_lossy(&text));
        let is_root =
            |mount: &PathBuf| fs::metadata(mount).is_ok_and(|meta| meta.ino() == ROOT_INODE && meta.is_dir());
        match v2.iter().find(|mount| is_root(mount)) {
            Some(mount) => Ok(Self {
                mount: mount.clone(),
                v1_mounts,
            }),
            None => Err(v2.into_iter().next().map_or(TargetError::NoCgroup2, |mount| {
                TargetError::CgroupNamespace { mount }
            })),
        }
    }

    /// Takes `/a/b` as well as the full path below the mount.
    pub(super) fn cgroup(&self, text: &str) -> Result<Cgroup, TargetError> {
        let path = Path::new(text);
        let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
        if !path.is_absolute() || !path.components().all(plain) {
            return Err(TargetError::BadCgroupPath(text.to_owned()));
        }
        let relative = match path.strip_prefix(&self.mount) {
            Ok(relative) => relative,
            Err(_) => path.strip_prefix("/").unwrap_or(path),
        };
        let directory = self.mount.join(relative);
        match fs::metadata(directory.join("cgroup.procs")) {
            Ok(_) => self.at(&directory),
            // The root has the file too, so whatever lacks it is no cgroup.
            Err(source) if missing(&source) => Err(self.no_such(text, path, relative)),
            Err(source) => Err(TargetError::io(format!("stat {}", directory.display()), source)),
        }
    }

    /// The cgroup whose directory this is.
    pub(super) fn at(&self, directory: &Path) -> Result<Cgroup, TargetError> {
        let relative = directory.strip_prefix(&self.mount).unwrap_or(directory);
        let meta = fs::metadata(directory)
            .map_err(|source| TargetError::io(format!("stat {}", directory.display()), source))?;
        Ok(Cgroup {
            directory: self.mount.join(relative),
            name: format!("/{}", relative.display()),
            id: meta.ino(),
            level: u32::try_from(relative.components().count()).unwrap_or(u32::MAX),
        })
    }

    fn no_such(&self, text: &str, path: &Path, relative: &Path) -> TargetError {
        let v1 = self
            .v1_mounts
            .iter()
            .find(|mount| path.starts_with(mount) && path != mount.as_path());
        if let Some(mount) = v1.filter(|_| path.exists()) {
            return TargetError::CgroupV1Path {
                path: text.to_owned(),
                mount: mount.clone(),
                cgroup2: self.mount.clone(),
            };
        }
        let mut parent = relative.parent().unwrap_or(Path::new(""));
        while !self.mount.join(parent).is_dir() {
            parent = parent.parent().unwrap_or(Path::new(""));
        }
        let children = children(&self.mount.join(parent));
        let names = children
            .iter()
            .filter_map(|child| Some(child.file_name()?.to_str()?.to_owned()));
        TargetError::NoSuchCgroup {
            path: text.to_owned(),
            parent: format!("/{}", parent.display()),
            siblings: listing(names, 8),
        }
    }
}

impl Cgroup {
    /// Whether the directory is still this cgroup; the kernel never gives an id twice.
    pub(super) fn exists(&self) -> bool {
        fs::metadata(&self.directory).is_ok_and(|meta| meta.ino() == self.id)
    }

    /// The processes in it and in everything below it. Those of a foreign pid namespace (shown as 0) are left out.
    pub(super) fn members(&self) -> Vec<u32> {
        let mut pids = Vec::new();
        walk(&self.directory, &mut |directory| {
            read_members(directory, &mut pids);
            true
        });
        pids
    }
}

/// Visits a cgroup and, where `visit` says so, everything below it. What vanishes meanwhile is skipped.
pub(super) fn walk(directory: &Path, visit: &mut impl FnMut(&Path) -> bool) {
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        if visit(&directory) {
            waiting.extend(children(&directory));
        }
    }
}

fn children(directory: &Path) -> Vec<PathBuf> {
    // The link count of a kernfs directory is 2 + its subdirectories: most cgroups need no listing.
    if fs::metadata(directory).is_ok_and(|meta| meta.nlink() == 2) {
        return Vec::new();
    }
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

fn read_members(directory: &Path, pids: &mut Vec<u32>) {
    let text = match fs::read_to_string(directory.join("cgroup.procs")) {
        // A threaded cgroup has threads only; each has a /proc entry of its own.
        Err(source) if source.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            fs::read_to_string(directory.join("cgroup.threads"))
        }
        other => other,
    };
    // Gone between listing and reading: nobody is in it.
    let text = text.unwrap_or_default();
    pids.extend(
        text.lines()
            .filter_map(|line| line.parse().ok())
            .filter(|&pid: &u32| pid != 0),
    );
}

fn missing(source: &io::Error) -> bool {
    matches!(
        source.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Mount points of cgroup2 and of cgroup v1, from the text of a mountinfo (`man 5 proc_pid_mountinfo`).
fn cgroup_mounts(mountinfo: &str) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (mut v2, mut v1) = (Vec::new(), Vec::new());
    for line in mountinfo.lines() {
        // "36 35 98:0 /root /mount/point options [optional fields] - type source super-options"
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let Some(point) = left.split(' ').nth(4) else {
            continue;
        };
        match right.split(' ').next() {
            Some("cgroup2") => v2.push(unescape(point)),
            Some("cgroup") => v1.push(unescape(point)),
            _ => {}
        }
    }
    (v2, v1)
}

/// Mountinfo writes blank, tab, newline and backslash as `\` and three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..3).filter(|_| first == b'\\').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_a_hybrid_host() {
        let text = "36 31 0:33 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                    41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw shared:9 master:1 - cgroup2 cgroup2 rw\n\
                    42 31 0:39 / /proc rw - proc proc rw\n";
        let (v2, v1) = cgroup_mounts(text);
        assert_eq!(v2, [PathBuf::from("/sys/fs/cgroup/uni fied")]);
        assert_eq!(v1, [PathBuf::from("/sys/fs/cgroup/memory")]);
    }

    #[test]
    fn paths_that_are_no_cgroup_paths() {
        let hierarchy = Hierarchy {
            mount: "/nowhere/cgroup2".into(),
            v1_mounts: Vec::new(),
        };
        for text in ["a/b", "", "/a/../b"] {
            assert!(
                matches!(hierarchy.cgroup(text), Err(TargetError::BadCgroupPath(_))),
                "{text}"
            );
        }
    }
}

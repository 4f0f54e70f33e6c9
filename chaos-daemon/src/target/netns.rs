//! A network namespace: known by device and inode, opened only for as long as something is done in it.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::statfs::{NSFS_MAGIC, statfs};
use rustix::fs::{Mode, OFlags};

use super::process::{all_pids, namespace_id};
use super::{TargetError, error::listing};
use crate::sys::socket::is_network_namespace;

/// Where `ip netns add` and docker keep the namespaces that have a name.
const NAMED: [&str; 3] = ["/run/netns", "/var/run/netns", "/run/docker/netns"];

/// The daemon's own, whatever thread asks: the link of the thread-group leader, which never moves.
const OWN: &str = "/proc/self/ns/net";

/// A network namespace, without an open descriptor: one would keep it alive after its owner deleted it.
///
/// Equal when device and inode are.
#[derive(Clone, Debug)]
pub struct Netns {
    pub dev: u64,
    pub inode: u64,
    /// For people: `netns:blue`, `pid:4242`, `host`.
    pub label: String,
    /// How to open it again: `/run/netns/blue` or `/proc/4242/ns/net`.
    pub entry: PathBuf,
    /// Whether it is the daemon's own.
    pub is_own: bool,
}

impl PartialEq for Netns {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Netns {}

impl Hash for Netns {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl Netns {
    /// The daemon's own.
    pub fn own() -> Result<Self, TargetError> {
        let unknown = || TargetError::io(format!("stat {OWN}"), io::Error::from(io::ErrorKind::NotFound));
        let id = own_id().ok_or_else(unknown)?;
        Ok(Self::new(id, "host".to_owned(), OWN.into(), true))
    }

    /// By path, or by the name that `ip netns add` gave it.
    pub fn named(text: &str) -> Result<Self, TargetError> {
        let path = if text.contains('/') {
            PathBuf::from(text)
        } else {
            find_named(text).ok_or_else(|| TargetError::NoSuchNetns {
                name: text.to_owned(),
                found: format!("/run/netns holds {}", listing(names(), 8)),
            })?
        };
        // The magic is asked by path, before any open: opening whatever a user named could block or act (FIFO, device).
        let magic = statfs(&path).map_err(|errno| match errno {
            Errno::ENOENT | Errno::ENOTDIR => TargetError::NoSuchNetns {
                name: text.to_owned(),
                found: format!("/run/netns holds {}", listing(names(), 8)),
            },
            errno => TargetError::io(format!("stat {}", path.display()), errno),
        })?;
        if magic.filesystem_type() != NSFS_MAGIC {
            return Err(TargetError::NotANetns(path));
        }
        let id = namespace_id(&path)
            .map_err(|source| TargetError::io(format!("stat {}", path.display()), source))?;
        if own_id() == Some(id) {
            return Self::own();
        }
        let netns = Self::new(id, label_of(&path), path, false);
        match is_network_namespace(netns.open()?.as_fd()) {
            Ok(true) => Ok(netns),
            Ok(false) => Err(TargetError::NotANetns(netns.entry)),
            Err(source) => Err(TargetError::io(
                format!("ask what namespace {} is", netns.entry.display()),
                source,
            )),
        }
    }

    /// The one that a process is in.
    pub(super) fn of_pid(pid: u32) -> io::Result<Self> {
        let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
        let id = namespace_id(&path)?;
        if own_id() == Some(id) {
            return Ok(Self::new(id, "host".to_owned(), OWN.into(), true));
        }
        Ok(Self::new(id, format!("pid:{pid}"), path, false))
    }

    /// The same namespace under the name that `ip netns` gave it, when it has one: a name outlives a pid.
    pub(super) fn prefer_name(self) -> Self {
        if self.is_own || !self.label.starts_with("pid:") {
            return self;
        }
        match entries().find(|path| namespace_id(path).is_ok_and(|id| id == self.id())) {
            Some(path) => Self::new(self.id(), label_of(&path), path, false),
            None => self,
        }
    }

    fn new((dev, inode): (u64, u64), label: String, entry: PathBuf, is_own: bool) -> Self {
        Self {
            dev,
            inode,
            label,
            entry,
            is_own,
        }
    }

    pub(super) const fn id(&self) -> (u64, u64) {
        (self.dev, self.inode)
    }

    /// Runs `f` on a fresh thread inside the namespace. The calling thread stays where it is; it waits, so a caller on
    /// an async runtime wraps this in `spawn_blocking`. A panic of `f` goes on in the caller.
    ///
    /// # Errors
    /// [`TargetError::NetnsGone`] when it does not exist any more, even if its name or pid is in use again.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, TargetError> {
        on_fresh_thread(|| {
            self.enter()?;
            Ok(f())
        })?
    }

    /// Moves the calling thread. Only for threads that end afterwards or know the way back.
    pub fn enter(&self) -> Result<(), TargetError> {
        let here = namespace_id(Path::new("/proc/thread-self/ns/net"));
        if here.is_ok_and(|id| id == self.id()) {
            return Ok(());
        }
        let file = self.open()?;
        move_thread(file.as_fd()).map_err(|errno| match errno {
            Errno::EINVAL => TargetError::NotANetns(self.entry.clone()),
            errno => TargetError::io(format!("enter network namespace {}", self.label), errno),
        })
    }

    /// Opens the entry; when that leads elsewhere by now, any other way into the same namespace.
    pub(super) fn open(&self) -> Result<OwnedFd, TargetError> {
        if let Some(file) = self.open_at(&self.entry)? {
            return Ok(file);
        }
        let processes = all_pids()
            .into_iter()
            .map(|pid| PathBuf::from(format!("/proc/{pid}/ns/net")));
        for path in entries().chain(processes) {
            if namespace_id(&path).is_ok_and(|id| id == self.id())
                && let Some(file) = self.open_at(&path)?
            {
                return Ok(file);
            }
        }
        Err(TargetError::NetnsGone {
            label: self.label.clone(),
        })
    }

    /// `None`: it is not there, or is another namespace by now.
    fn open_at(&self, path: &Path) -> Result<Option<OwnedFd>, TargetError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => file,
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::SRCH) => {
                return Ok(None);
            }
            Err(errno) => return Err(TargetError::io(format!("open {}", path.display()), errno)),
        };
        let file = fs::File::from(file);
        let meta = file
            .metadata()
            .map_err(|source| TargetError::io(format!("stat {}", path.display()), source))?;
        // A path or a pid may have been used again since; the open descriptor cannot be confused any more.
        Ok((self.id() == (meta.dev(), meta.ino())).then(|| file.into()))
    }
}

/// Moves the calling thread into an open network namespace. EINVAL: it is of another kind.
pub(super) fn move_thread(file: BorrowedFd<'_>) -> nix::Result<()> {
    setns(file, CloneFlags::CLONE_NEWNET)
}

fn on_fresh_thread<T: Send>(f: impl FnOnce() -> T + Send) -> Result<T, TargetError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, f)
            .map_err(|source| TargetError::io("start a thread", source))?;
        thread.join().map_err(|panic| std::panic::resume_unwind(panic))
    })
}

/// The thread-group leader of a daemon never moves, so this is asked once.
fn own_id() -> Option<(u64, u64)> {
    static ID: OnceLock<(u64, u64)> = OnceLock::new();
    ID.get()
        .copied()
        .or_else(|| namespace_id(Path::new(OWN)).ok().map(|id| *ID.get_or_init(|| id)))
}

fn entries() -> impl Iterator<Item = PathBuf> {
    NAMED
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
}

fn find_named(name: &str) -> Option<PathBuf> {
    NAMED
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists())
}

fn names() -> impl Iterator<Item = String> {
    entries().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
}

fn label_of(path: &Path) -> String {
    let text = path.to_string_lossy();
    if let Some(pid) = text
        .strip_prefix("/proc/")
        .and_then(|rest| rest.strip_suffix("/ns/net"))
    {
        return format!("pid:{pid}");
    }
    let name = path
        .file_name()
        .map_or(text.clone(), |name| name.to_string_lossy());
    format!("netns:{name}")
}

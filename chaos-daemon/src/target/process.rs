//! What /proc tells about a process.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Netns, TargetError};

/// A process for good: the kernel reuses pids, but not together with the start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// Clock ticks after boot, field 22 of /proc/PID/stat.
    pub(super) start: u64,
}

impl Process {
    /// The process that has this pid now.
    pub(super) fn find(pid: u32) -> Result<Self, TargetError> {
        let stat = Stat::read(pid).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => TargetError::NoSuchProcess(pid),
            _ => TargetError::io(format!("read /proc/{pid}/stat"), source),
        })?;
        if stat.is_dead() {
            return Err(TargetError::Zombie(pid));
        }
        Ok(Self {
            pid,
            start: stat.start,
        })
    }

    /// Whether this very process still runs.
    pub(super) fn is_alive(self) -> bool {
        Stat::read(self.pid).is_ok_and(|stat| stat.start == self.start && !stat.is_dead())
    }

    pub(super) fn netns(self) -> io::Result<Netns> {
        Netns::of_pid(self.pid)
    }

    /// (dev, inode) of its pid namespace.
    pub(super) fn pid_namespace(self) -> io::Result<(u64, u64)> {
        namespace_id(&PathBuf::from(format!("/proc/{}/ns/pid", self.pid)))
    }

    /// Its path in the cgroup2 hierarchy, as `/a/b`.
    pub(super) fn cgroup2(self) -> io::Result<Option<String>> {
        // The names of v1 cgroups stand there, too.
        let text = fs::read(format!("/proc/{}/cgroup", self.pid))?;
        let text = String::from_utf8_lossy(&text);
        Ok(text
            .lines()
            .find_map(|line| line.strip_prefix("0::"))
            .map(|path| path.strip_suffix(" (deleted)").unwrap_or(path).to_owned()))
    }
}

/// The process that a thread belongs to.
pub(super) fn thread_group(pid: u32) -> io::Result<Option<u32>> {
    let text = fs::read(format!("/proc/{pid}/status"))?;
    let text = String::from_utf8_lossy(&text);
    let tgid = text.lines().find_map(|line| line.strip_prefix("Tgid:"));
    Ok(tgid.and_then(|field| field.trim().parse().ok()))
}

/// The pids of all processes of the host.
pub(super) fn all_pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// (dev, inode) of what a namespace link leads to.
pub(super) fn namespace_id(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let meta = fs::metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

struct Stat {
    state: char,
    start: u64,
}

impl Stat {
    fn read(pid: u32) -> io::Result<Self> {
        // A process names itself as it likes (prctl PR_SET_NAME), also with what is no UTF-8.
        let text = fs::read(format!("/proc/{pid}/stat")).map_err(|source| {
            // ESRCH: it ended between open and read.
            match source.raw_os_error() {
                Some(libc::ESRCH) => io::ErrorKind::NotFound.into(),
                _ => source,
            }
        })?;
        Self::parse(&String::from_utf8_lossy(&text))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a stat line"))
    }

    fn parse(text: &str) -> Option<Self> {
        // The name in parentheses may hold blanks and parentheses itself: count fields from the last one.
        let (_, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        Some(Self {
            state: fields.next()?.chars().next()?,
            start: fields.nth(18)?.parse().ok()?,
        })
    }

    fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_name_is_no_text_is_found() {
        let (name, named) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            rustix::thread::set_name(c"\xff) S (\xfe").unwrap();
            name.send(nix::unistd::gettid().as_raw().unsigned_abs()).unwrap();
            let _ = ended.recv();
        });
        let id = named.recv().unwrap();
        let found = (Process::find(id).map(|_| ()), thread_group(id));
        drop(end);
        thread.join().unwrap();
        found.0.unwrap();
        assert_eq!(found.1.unwrap(), Some(std::process::id()));
    }

    #[test]
    fn a_stat_line_with_a_hostile_name() {
        let line = "42 (a) Z (b) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 4096 0";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.state, stat.start), ('S', 777));
        assert!(Stat::parse("42 (a) S 1").is_none());
    }

    #[test]
    fn a_reused_pid_is_another_process() {
        let me = Process::find(std::process::id()).unwrap();
        assert!(me.is_alive());
        let before = Process {
            start: me.start - 1,
            ..me
        };
        assert!(!before.is_alive());
    }
}

//! Network namespaces that a test makes, and the only way into them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::linux::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Once};
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::process::{run, succeeds};

static NEXT: AtomicU32 = AtomicU32::new(0);
/// Done once a run.
static LEFT_BEHIND: Once = Once::new();

/// Deletes what test runs left that were killed: a run that ends by itself, well or not, leaves nothing.
fn delete_left_behind() {
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let owner = name
            .strip_prefix("chaos-t-")
            .and_then(|rest| rest.split_once('-')?.0.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            // Another run may be at it, too.
            let _ = succeeds(&["ip", "netns", "del", name]);
        }
    }
}

/// A named network namespace with its loopback up; deleted with its last handle.
#[derive(Clone, Debug)]
pub struct Netns(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
}

impl Netns {
    /// Makes `chaos-t-<pid>-<n>`.
    ///
    /// # Panics
    /// Without root.
    #[allow(clippy::new_without_default, reason = "making a namespace is no default")]
    pub fn new() -> Self {
        LEFT_BEHIND.call_once(delete_left_behind);
        let name = format!(
            "chaos-t-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        run(&["ip", "netns", "add", &name]);
        let netns = Self(Arc::new(Inner { name }));
        assert_ne!(
            netns.inode(),
            inode(Path::new("/proc/self/ns/net")),
            "a new namespace is not our own"
        );
        netns.ip("link set lo up");
        netns
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Where it is mounted: what a fault names as `netns`.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.0.name)
    }

    pub fn inode(&self) -> u64 {
        inode(&self.path())
    }

    /// Runs `work` on a thread of its own that has entered the namespace. What the thread opens or starts there
    /// (sockets, programs) stays there; the thread itself ends.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let handle = File::open(self.path()).expect("a test's namespace is mounted while it has a handle");
        let result = thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(&handle, CloneFlags::CLONE_NEWNET).expect("root may enter its own namespace");
                    work()
                })
                .join()
        });
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Runs a program inside to its end.
    ///
    /// # Panics
    /// When it fails; the message has its stderr.
    pub fn run(&self, argv: &[&str]) -> String {
        self.enter(|| run(argv))
    }

    /// One `ip` command, such as `link set lo up`.
    pub fn ip(&self, command: &str) -> String {
        let argv: Vec<&str> = ["ip"].into_iter().chain(command.split(' ')).collect();
        self.run(&argv)
    }

    /// One `tc` command.
    pub fn tc(&self, command: &str) -> String {
        let argv: Vec<&str> = ["tc"].into_iter().chain(command.split(' ')).collect();
        self.run(&argv)
    }

    /// Sets `net.…` inside, such as `("ipv4/ip_forward", "1")`.
    pub fn sysctl(&self, key: &str, value: &str) {
        let path = format!("/proc/sys/net/{key}");
        self.enter(|| fs::write(&path, value).unwrap_or_else(|e| panic!("{path} = {value}: {e}")));
    }

    /// All of `net.…` inside, by path.
    pub fn sysctls(&self) -> BTreeMap<PathBuf, String> {
        fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    walk(&path, found);
                } else if let Ok(text) = fs::read_to_string(&path) {
                    // Some can only be written.
                    found.insert(path, text);
                }
            }
        }
        self.enter(|| {
            let mut found = BTreeMap::new();
            walk(Path::new("/proc/sys/net"), &mut found);
            found
        })
    }

    /// A counter of the TCP stack inside, such as `RetransSegs` or `TCPOFOQueue`; 0 when this kernel has none.
    pub fn tcp_count(&self, name: &str) -> u64 {
        self.count("Tcp", name)
    }

    /// The same of UDP over IPv4, such as `RcvbufErrors`.
    pub fn udp_count(&self, name: &str) -> u64 {
        self.count("Udp:", name)
    }

    /// A counter in the lines that begin with `protocol`.
    fn count(&self, protocol: &str, name: &str) -> u64 {
        let text = self.enter(|| {
            ["snmp", "netstat"]
                .map(|file| fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default())
                .concat()
        });
        let lines: Vec<&str> = text.lines().collect();
        lines
            .chunks(2)
            .filter(|pair| pair[0].starts_with(protocol))
            .flat_map(|pair| pair[0].split(' ').zip(pair.get(1).unwrap_or(&"").split(' ')))
            .find(|(counter, _)| *counter == name)
            .and_then(|(_, value)| value.parse().ok())
            .unwrap_or(0)
    }

    /// Deletes it now, under whatever still runs in it: the way a container ends.
    ///
    /// The name goes at once; the namespace itself when the last process and socket in it is gone.
    pub fn delete_now(&self) {
        run(&["ip", "netns", "delete", &self.0.name]);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A test may have deleted it already.
        if Path::new("/run/netns").join(&self.name).exists() {
            succeeds(&["ip", "netns", "delete", &self.name]);
        }
    }
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path)
        .map(|m| m.st_ino())
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::target::cgroup::Hierarchy;

/// Why a test did not run.
#[derive(Debug)]
enum Skip {
    NotRoot,
    NoCgroup2,
    NoIproute2,
}

/// Whether the test may make namespaces and cgroups. `false`: it says why and is to return.
pub(super) fn privileged() -> bool {
    let has_ip = || {
        Command::new("ip")
            .arg("-V")
            .stdout(Stdio::null())
            .status()
            .is_ok()
    };
    let skip = match () {
        () if !nix::unistd::geteuid().is_root() => Skip::NotRoot,
        () if Hierarchy::find().is_err() => Skip::NoCgroup2,
        () if !has_ip() => Skip::NoIproute2,
        () => return true,
    };
    eprintln!("skipped: {skip:?}");
    false
}

fn unique(word: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!(
        "chaos-t{}-{}-{word}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

pub(super) fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Waits for a condition, at most five seconds.
pub(super) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A named network namespace with a veth pair inside: `a0` and `b0`, both up unless told otherwise.
pub(super) struct TestNetns {
    pub(super) name: String,
}

impl TestNetns {
    pub(super) fn empty() -> Self {
        let name = unique("ns");
        ip(&format!("netns add {name}"));
        Self { name }
    }

    pub(super) fn with_veth() -> Self {
        let netns = Self::empty();
        netns.add_veth("a0", "b0");
        netns
    }

    pub(super) fn add_veth(&self, one: &str, other: &str) {
        self.ip(&format!("link add {one} type veth peer name {other}"));
        self.ip(&format!("link set {one} up"));
        self.ip(&format!("link set {other} up"));
    }

    pub(super) fn ip(&self, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.name));
    }

    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    pub(super) fn delete(&self) {
        ip(&format!("netns del {}", self.name));
    }
}

impl Drop for TestNetns {
    fn drop(&mut self) {
        if self.path().exists() {
            let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
        }
    }
}

/// A cgroup below the cgroup2 root.
pub(super) struct TestCgroup {
    pub(super) directory: PathBuf,
    /// As /proc/PID/cgroup writes it.
    pub(super) name: String,
}

impl TestCgroup {
    pub(super) fn new() -> Self {
        Self::named(&unique("cg"))
    }

    pub(super) fn named(name: &str) -> Self {
        Self::at(Hierarchy::find().unwrap().mount.join(name), format!("/{name}"))
    }

    pub(super) fn child(&self, name: &str) -> Self {
        Self::at(self.directory.join(name), format!("{}/{name}", self.name))
    }

    fn at(directory: PathBuf, name: String) -> Self {
        fs::create_dir(&directory).unwrap();
        Self { directory, name }
    }

    pub(super) fn remove(&self) {
        // The last process leaves its cgroup a moment after it was waited for.
        until("the cgroup can be removed", || {
            fs::remove_dir(&self.directory).is_ok()
        });
    }
}

impl Drop for TestCgroup {
    fn drop(&mut self) {
        if self.directory.exists() && !std::thread::panicking() {
            self.remove();
        } else {
            let _ = fs::remove_dir(&self.directory);
        }
    }
}

/// A process that only sleeps, in a cgroup and a network namespace.
pub(super) struct Sleeper(Child);

impl Sleeper {
    pub(super) fn start(cgroup: Option<&TestCgroup>, netns: Option<&TestNetns>) -> Self {
        Self::wrapped(cgroup, netns, "")
    }

    /// `wrapper`: a command that runs the rest, such as `unshare --net`.
    pub(super) fn wrapped(cgroup: Option<&TestCgroup>, netns: Option<&TestNetns>, wrapper: &str) -> Self {
        let join = cgroup.map_or(String::new(), |cgroup| {
            format!("echo $$ > {}/cgroup.procs; ", cgroup.directory.display())
        });
        let enter = netns.map_or(String::new(), |netns| format!("ip netns exec {} ", netns.name));
        let child = Command::new("sh")
            .args(["-c", &format!("{join}exec {wrapper} {enter}sleep 600")])
            .spawn()
            .unwrap();
        let sleeper = Self(child);
        let comm = format!("/proc/{}/comm", sleeper.pid());
        until("the sleeper sleeps", || {
            fs::read_to_string(&comm).is_ok_and(|comm| comm == "sleep\n")
        });
        sleeper
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(super) fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.end();
    }
}

use std::io;
use std::path::PathBuf;

/// Why a target cannot be resolved: what is wrong, why, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error(
        "this host has no cgroup2 hierarchy, only cgroup v1, which carries no packet identity – name a `pid`, \
         `netns` or `container` target, or boot with systemd.unified_cgroup_hierarchy=1"
    )]
    NoCgroup2,
    #[error(
        "the daemon sees only a part of the cgroup tree (its cgroup2 mount {mount} does not begin at the root), so the \
         kernel's cgroup depths would not fit – run it in the host's cgroup namespace (docker: --cgroupns=host)"
    )]
    CgroupNamespace { mount: PathBuf },
    #[error(
        "`{0}` is not a cgroup path – write it as /proc/PID/cgroup shows it behind `0::`, such as /system.slice/x.service"
    )]
    BadCgroupPath(String),
    #[error(
        "`{path}` lies in the cgroup v1 hierarchy {mount}, which carries no packet identity – name a cgroup below {cgroup2}"
    )]
    CgroupV1Path {
        path: String,
        mount: PathBuf,
        cgroup2: PathBuf,
    },
    #[error(
        "cgroup {path} does not exist: {parent} holds {siblings} – name one of them, or start what makes it"
    )]
    NoSuchCgroup {
        path: String,
        /// The nearest ancestor that exists.
        parent: String,
        /// The cgroups in it, for people.
        siblings: String,
    },
    #[error("process {0} does not exist – `ps -e` lists the ones that do; the pid is the one the host sees")]
    NoSuchProcess(u32),
    #[error("{thread} is a thread of process {process} – write `pid: {process}`")]
    IsAThread { thread: u32, process: u32 },
    #[error("process {0} has ended and only waits for its parent – name a living one")]
    Zombie(u32),
    #[error("network namespace `{name}` does not exist: {found} – `ip netns list` shows the named ones")]
    NoSuchNetns { name: String, found: String },
    #[error("{0} is not a network namespace – name an entry of /run/netns or a /proc/PID/ns/net")]
    NotANetns(PathBuf),
    #[error("network namespace {label} is gone or is another one now – resolve the target again")]
    NetnsGone { label: String },
    #[error(
        "no container `{name}` is running here: {known} – write its full id, at least 6 characters of it, or its name"
    )]
    NoSuchContainer { name: String, known: String },
    #[error("`{name}` fits several containers ({}) – write more of the id", matches.join(", "))]
    AmbiguousContainer { name: String, matches: Vec<String> },
    #[error("container {0} is known to its runtime but has no process now – start it first")]
    ContainerNotRunning(String),
    #[error(
        "container {0} has neither a cgroup2 nor a network namespace of its own, so its packets cannot be told from the \
         host's – start it with its own network, or with cgroups enabled"
    )]
    ContainerIndistinct(String),
    #[error("there is no interface `{name}` in {place}, which has {available} – name one of them")]
    NoSuchInterface {
        name: String,
        place: String,
        available: String,
    },
    #[error(
        "interface `{name}` in {place} is down, so no packet passes it – `{remedy}`, or name another one"
    )]
    InterfaceDown {
        name: String,
        place: String,
        remedy: String,
    },
    #[error(
        "no interface in {place} is up besides the loopback (it has {available}) – bring one up, or name `lo`"
    )]
    NoInterfaceUp { place: String, available: String },
    #[error(
        "interface `{name}` in {place} is of link type {link_type}; only Ethernet, raw IP and loopback frames can be \
         parsed – name another interface"
    )]
    LinkType {
        name: String,
        place: String,
        link_type: String,
    },
    #[error(
        "the host's own loopback is not hit: it would cut the host from itself, and this daemon from its users – name \
         `lo` only inside another network namespace"
    )]
    OwnLoopback,
    #[error("the target went away while it was looked at: {reason} – start it again, then apply")]
    Vanished { reason: String },
    #[error(
        "the target names interface `{interface}`, but `interfaces` says otherwise – leave `interfaces` out"
    )]
    InterfacesContradict { interface: String },
    #[error(
        "a `pods` target needs the operator, which knows the cluster – apply it there, or name a `container` here"
    )]
    NeedsOperator,
    #[error("the resolver {file} cannot be used: {reason} – start the daemon with `--resolver IP:PORT`")]
    Resolver { file: PathBuf, reason: String },
    #[error("cannot {action}: {source} – {advice}")]
    Io {
        action: String,
        source: io::Error,
        advice: &'static str,
    },
}

impl TargetError {
    /// A system call that failed for a reason outside the target.
    pub(super) fn io(action: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        let advice = match source.kind() {
            io::ErrorKind::PermissionDenied => {
                "run the daemon as root or with CAP_SYS_ADMIN and CAP_SYS_PTRACE"
            }
            _ => "try again; if it stays, look at the kernel log",
        };
        Self::Io {
            action: action.into(),
            source,
            advice,
        }
    }
}

/// "a, b and 3 more", for messages; "nothing" when there is none.
pub(super) fn listing(names: impl IntoIterator<Item = String>, most: usize) -> String {
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort();
    names.dedup();
    let more = names.len().saturating_sub(most);
    names.truncate(most);
    match (names.is_empty(), more) {
        (true, _) => "nothing".to_owned(),
        (false, 0) => names.join(", "),
        (false, more) => format!("{} and {more} more", names.join(", ")),
    }
}

//! Warnings are data: each names its cause and what to do about it, and travels through the API unchanged.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A warning as it goes over the wire. `code` is text, so that an older reader understands a newer daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    pub code: String,
    /// What is so, and why.
    pub message: String,
    /// What to do about it.
    pub advice: String,
}

/// Everything this version warns about. To add one: a variant here and its three texts below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WarningKind {
    /// The hook sees packets before segmentation.
    SuperPackets,
    /// A cgroup without processes.
    FollowingEmptyCgroup { path: String },
    /// ICMP that arrives belongs to no socket, so to no cgroup.
    IcmpIngressNotAttributable,
    /// The whole host is the target.
    HostTarget,
    /// Chance, flows or every is such that nothing can happen.
    NeverActs { what: String },
    /// TCX is missing and clsact took its place.
    ClsactFallback { interface: String },
    /// A name without an address so far.
    UnresolvedHost { host: String },
    /// An interface that is not up.
    InterfaceDown { interface: String },
    /// Some packets of an interface pass another one that is meant, too.
    StackedInterfaces { interface: String },
    /// A netns target in which others live too.
    SharedNetns { processes: usize },
    /// A container that the cgroup2 tree cannot tell from others.
    ContainerWithoutCgroup { container: String },
    /// A name whose last lookup failed.
    StaleAddresses { host: String },
    /// `reset` on traffic that is not all TCP.
    OnlyTcpIsReset { fault: String },
    /// The line had no room, or the device took no more.
    LineLost { packets: u64 },
    /// Guards do not hold for this fault.
    Unguarded { names: Vec<String> },
    /// XDP sees packets before any cgroup or socket is known, and before GRO.
    XdpBeforeStack { interface: String },
    /// netem's arithmetic was asked for, and this is what it does.
    NetemCompat { what: String },
    /// `http` where requests may well be encrypted: `ports` says which.
    PlainHttpOnly { ports: String },
    /// `http` met TLS.
    TlsUnseen { packets: u64 },
    /// `http` met HTTP/2.
    Http2Unseen { packets: u64 },
    /// `http` met requests whose line, or `Host`, does not stand in the first KiB of one segment.
    RequestSplit { packets: u64 },
}

impl WarningKind {
    /// Stable name: part of the API.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::SuperPackets => "SuperPackets",
            Self::FollowingEmptyCgroup { .. } => "FollowingEmptyCgroup",
            Self::IcmpIngressNotAttributable => "IcmpIngressNotAttributable",
            Self::HostTarget => "HostTarget",
            Self::NeverActs { .. } => "NeverActs",
            Self::ClsactFallback { .. } => "ClsactFallback",
            Self::UnresolvedHost { .. } => "UnresolvedHost",
            Self::InterfaceDown { .. } => "InterfaceDown",
            Self::StackedInterfaces { .. } => "StackedInterfaces",
            Self::SharedNetns { .. } => "SharedNetns",
            Self::ContainerWithoutCgroup { .. } => "ContainerWithoutCgroup",
            Self::StaleAddresses { .. } => "StaleAddresses",
            Self::OnlyTcpIsReset { .. } => "OnlyTcpIsReset",
            Self::LineLost { .. } => "LineLost",
            Self::Unguarded { .. } => "Unguarded",
            Self::XdpBeforeStack { .. } => "XdpBeforeStack",
            Self::NetemCompat { .. } => "NetemCompat",
            Self::PlainHttpOnly { .. } => "PlainHttpOnly",
            Self::TlsUnseen { .. } => "TlsUnseen",
            Self::Http2Unseen { .. } => "Http2Unseen",
            Self::RequestSplit { .. } => "RequestSplit",
        }
    }

    fn message(&self) -> String {
        match self {
            Self::SuperPackets => "the hook sees packets before they are cut into wire packets, and cannot cut some of these itself; such a \
                super-packet is hit when any of its wire packets would be, and then as a whole: hits come at the asked rate, \
                but take more than one packet each"
                .to_owned(),
            Self::FollowingEmptyCgroup { path } => {
                format!("cgroup {path} has no process yet; the fault follows whatever is started in it")
            }
            Self::IcmpIngressNotAttributable => {
                "ICMP that arrives belongs to no socket, so it cannot be told which cgroup it is for; it passes".to_owned()
            }
            Self::HostTarget => "the target is the whole host: every process in its network namespace is hit".to_owned(),
            Self::NeverActs { what } => format!("{what}: packets are matched and counted, but nothing happens to them"),
            Self::ClsactFallback { interface } => {
                format!("{interface} gets a clsact qdisc and filter (no TCX in this kernel, or --attach clsact), which outlive a killed daemon; while the qdisc comes and goes the kernel stops the device and loses what it would send, for about a millisecond, unless the device has one already (tc qdisc add dev {interface} clsact)")
            }
            Self::UnresolvedHost { host } => format!("{host} has no address now, so nothing matches it yet"),
            Self::InterfaceDown { interface } => format!("{interface} is down: no traffic passes it now"),
            Self::StackedInterfaces { interface } => {
                format!("packets of {interface} pass another interface that is meant as well, and meet the fault at both")
            }
            Self::SharedNetns { processes } => {
                format!("{processes} processes share this network namespace and all of them are hit")
            }
            Self::ContainerWithoutCgroup { container } => {
                format!("container {container} has no cgroup2 of its own, so all that is in its network namespace is hit")
            }
            Self::StaleAddresses { host } => {
                format!("{host} could not be looked up again; its last known addresses stay in use")
            }
            Self::OnlyTcpIsReset { fault } => {
                format!("{fault} touches TCP only; other protocols that match pass untouched")
            }
            Self::LineLost { packets } => {
                format!("the line itself has lost {packets} packets, which no fault asked for")
            }
            Self::Unguarded { names } => {
                format!("the guard does not hold for this fault: it may hit {}", names.join(", "))
            }
            Self::XdpBeforeStack { interface } => {
                format!("on {interface} packets are dropped in XDP, before tcpdump and netfilter can see them")
            }
            Self::NetemCompat { what } => format!("with `compat: netem`, {what}"),
            Self::PlainHttpOnly { ports } => {
                format!("`http` reads HTTP/1.1 in plain text, and {ports}; TLS, HTTP/2 and requests that are split over segments pass, and are counted as unseen")
            }
            Self::TlsUnseen { packets } => {
                format!("{packets} packets were TLS, in which no request can be read; they passed")
            }
            Self::Http2Unseen { packets } => {
                format!("{packets} packets were HTTP/2, whose requests are not read; they passed")
            }
            Self::RequestSplit { packets } => {
                format!("{packets} packets began a request whose line, or Host header where one is asked for, is not within the first 1024 bytes of one segment; they passed")
            }
        }
    }

    fn advice(&self) -> &'static str {
        match self {
            Self::SuperPackets => {
                "for single losses inside a burst, have wire packets made before the device: ip link set dev DEVICE gso_max_segs 1"
            }
            Self::FollowingEmptyCgroup { .. } => "check the path if something should be running there",
            Self::IcmpIngressNotAttributable => {
                "name a netns, pid or container target to hit ICMP that arrives"
            }
            Self::HostTarget => "name a cgroup, pid, container or netns to hit less",
            Self::NeverActs { .. } => "raise it when the rehearsal is over",
            Self::ClsactFallback { .. } => {
                "nothing to do: the lease ends the fault, and the next start removes the qdisc"
            }
            Self::UnresolvedHost { .. } => "check the name; it is looked up again while the fault runs",
            Self::InterfaceDown { .. } => "bring the interface up, or leave it out of `interfaces`",
            Self::StackedInterfaces { .. } => "name one of them alone with `interfaces`",
            Self::SharedNetns { .. } => "name a cgroup or pid to hit only one of them",
            Self::ContainerWithoutCgroup { .. } => {
                "nothing to do when it has the namespace for itself; else run it with a cgroup manager on cgroup2"
            }
            Self::StaleAddresses { .. } => {
                "look at the name servers that the daemon asks: those of /etc/resolv.conf or of `--resolver`"
            }
            Self::OnlyTcpIsReset { .. } => {
                "write `protocol: tcp` to say so, or use `drop` or `reject`, which touch all of it"
            }
            Self::LineLost { .. } => {
                "make the fault narrower or the traffic less: the line has room for 256 MiB and takes as many packets as one CPU can pass on"
            }
            Self::Unguarded { .. } => "make sure of another way to this host before the fault starts",
            Self::XdpBeforeStack { .. } => "look at the fault's own counters instead of a packet capture",
            Self::NetemCompat { .. } => "leave `compat` out to get what you wrote",
            Self::PlainHttpOnly { .. } => {
                "name the ports that speak plain HTTP/1.1; on others, write `reset`, `reject` or `delay`"
            }
            Self::TlsUnseen { .. } => {
                "aim at the hop behind what ends TLS, or write `reset`, `reject` or `delay` on this port"
            }
            Self::Http2Unseen { .. } => {
                "write `reset`, `reject` or `delay` on this port; gRPC is HTTP/2, too"
            }
            Self::RequestSplit { .. } => {
                "have the client send its request line and `Host` at once and first, leave `host` out, or write `reset` or `delay`"
            }
        }
    }
}

impl From<WarningKind> for Warning {
    fn from(kind: WarningKind) -> Self {
        Self {
            code: kind.code().to_owned(),
            message: kind.message(),
            advice: kind.advice().to_owned(),
        }
    }
}

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::HealthStatus;
use crate::{FaultSpec, Metadata, NetworkFault, Warning};

/// One fault with its state: `GET /v1/faults/{name}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FaultView {
    pub metadata: Metadata,
    pub spec: FaultSpec,
    pub status: Status,
}

/// `GET /v1/faults`, and the answer to `POST /v1/faults`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FaultList {
    pub items: Vec<FaultView>,
}

/// What `POST /v1/faults` and `POST /v1/plan` take, as a client sends it: several faults at once, all or none.
/// The daemon also takes a single `NetworkFault`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Submission {
    pub items: Vec<NetworkFault>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub phase: Phase,
    /// Why it ended; absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// One sentence behind `reason` or behind a wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When its deadline is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The seed in use, whether it was given or drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    #[serde(default)]
    pub packets: Packets,
    #[serde(default)]
    pub attachments: Vec<Attachment>,
    #[serde(default)]
    pub warnings: Vec<Warning>,
    /// Its health checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<HealthStatus>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    #[default]
    Pending,
    Active,
    Ended,
}

/// Why a fault ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Reason {
    /// Its duration was over.
    Deadline,
    /// The daemon's heartbeat stopped.
    Lease,
    /// A health check failed.
    Health,
    /// Somebody called halt.
    Halt,
    /// Somebody deleted it.
    Deleted,
    /// Its packet budget was spent.
    Budget,
    /// A changed spec took its place.
    Replaced,
    /// What it was aimed at is gone.
    TargetGone,
    /// It could not be carried out.
    Error,
}

/// Counters of one fault, in wire packets; of `http` and `dns`, in the requests and look-ups that they choose from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Packets {
    /// Fitted target and traffic.
    pub matched: u64,
    /// Of these, left alone.
    pub passed: u64,
    pub dropped: u64,
    pub delayed: u64,
    pub corrupted: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub reset: u64,
    pub rejected: u64,
    pub throttled: u64,
    /// Requests and look-ups that got their answer from the fault.
    pub answered: u64,
    /// Matched, but the fault has nothing to act on in it (`corrupt` without a payload, `http` in TLS), so it passed.
    pub unseen: u64,
}

impl Packets {
    /// Those that something was done to. One that two things were done to counts for each.
    pub fn acted_on(&self) -> u64 {
        let Self {
            matched: _,
            passed: _,
            dropped,
            delayed,
            corrupted,
            duplicated,
            reordered,
            reset,
            rejected,
            throttled,
            answered,
            unseen: _,
        } = *self;
        [
            dropped, delayed, corrupted, duplicated, reordered, reset, rejected, throttled, answered,
        ]
        .into_iter()
        .sum()
    }
}

/// Where the fault's program sits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// Path or name of the network namespace; `host` for the daemon's own.
    pub netns: String,
    pub interface: String,
    pub hook: Hook,
    pub mode: Mode,
    /// The line that carries its packets, when they have to wait or to be looked at one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<Line>,
}

/// How packets travel that have to wait, or to be looked at one wire packet at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// The kernel alone: the program at the hook cuts super-packets into the wire packets that they stand for, and packets
    /// wait in a queue of a device that is gone with the daemon's process.
    Kernel,
    /// A TAP device and a thread of the daemon: gone with its process.
    User,
}

impl Line {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kernel => "kernel line",
            Self::User => "user line",
        }
    }

    /// What it is, and what for.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Kernel => {
                "super-packets are cut at the hook when one of their wire packets is hit; what does nothing but wait does so in a queue of the kernel (fq)"
            }
            Self::User => {
                "a TAP device and a thread, because packets wait, have wrong checksums, or arrive as super-packets"
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    TcEgress,
    TcIngress,
    Xdp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// A TCX link: gone with the daemon's process.
    Tcx,
    /// A filter on a clsact qdisc, for kernels without TCX.
    Clsact,
    /// XDP in the driver.
    XdpNative,
}

impl Hook {
    pub const fn word(self) -> &'static str {
        match self {
            Self::TcEgress => "tc-egress",
            Self::TcIngress => "tc-ingress",
            Self::Xdp => "xdp",
        }
    }
}

impl Mode {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
            Self::XdpNative => "xdp-native",
        }
    }
}

impl Reason {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Deadline => "Deadline",
            Self::Lease => "Lease",
            Self::Health => "Health",
            Self::Halt => "Halt",
            Self::Deleted => "Deleted",
            Self::Budget => "Budget",
            Self::Replaced => "Replaced",
            Self::TargetGone => "TargetGone",
            Self::Error => "Error",
        }
    }
}

impl Phase {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Active => "Active",
            Self::Ended => "Ended",
        }
    }
}

macro_rules! display_word {
    ($($type:ident),*) => {
        $(impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        })*
    };
}
display_word!(Hook, Mode, Reason, Phase);

impl Packets {
    /// Name and value of each counter, in the order of the API: for tables and metrics.
    pub const fn named(&self) -> [(&'static str, u64); 12] {
        [
            ("matched", self.matched),
            ("passed", self.passed),
            ("dropped", self.dropped),
            ("delayed", self.delayed),
            ("corrupted", self.corrupted),
            ("duplicated", self.duplicated),
            ("reordered", self.reordered),
            ("reset", self.reset),
            ("rejected", self.rejected),
            ("throttled", self.throttled),
            ("answered", self.answered),
            ("unseen", self.unseen),
        ]
    }
}

//! What a test says to its helper process, one JSON line each way.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::flood::{Counted, Flood, Flooded};

/// A socket, sink, server or probe inside one helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Handle(pub u32);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Op {
    Hello,
    UdpSink {
        bind: SocketAddr,
    },
    UdpSinkReport {
        sink: Handle,
    },
    UdpOpen {
        bind: Option<SocketAddr>,
        connect: Option<SocketAddr>,
    },
    UdpSend {
        socket: Option<Handle>,
        to: SocketAddr,
        first: u64,
        count: u64,
        size: usize,
    },
    UdpFlood(Flood),
    UdpCount {
        bind: SocketAddr,
        size: usize,
        together: bool,
    },
    UdpCounted {
        counter: Handle,
    },
    UdpEcho {
        bind: SocketAddr,
    },
    UdpAsk {
        socket: Handle,
        timeout_ms: u64,
    },
    TcpServe {
        bind: SocketAddr,
    },
    TcpServerReport {
        server: Handle,
    },
    TcpOpen {
        from: Option<SocketAddr>,
        to: SocketAddr,
        timeout_ms: u64,
    },
    TcpExchange {
        stream: Handle,
        bytes: usize,
        timeout_ms: u64,
    },
    Close {
        handle: Handle,
    },
    Probe {
        to: SocketAddr,
        interval_us: u64,
    },
    ProbeReport {
        probe: Handle,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply {
    Done,
    Handle(Handle),
    Sink(SinkReport),
    Sent(Sent),
    Flooded(Flooded),
    Counted(Counted),
    Asked(Asked),
    Server(ServerReport),
    Opened(Opened),
    Exchanged(Exchanged),
    Probed(Probed),
    /// The helper could not do it: a mistake in the test or the set-up, never a finding.
    Failed(String),
}

/// Every datagram that a sink got.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkReport {
    /// Their numbers, in the order of arrival.
    pub sequences: Vec<u64>,
    /// Flipped bits of those whose payload was not as sent: number and count.
    pub flipped: Vec<(u64, u32)>,
}

/// What became of a number of sends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Sends that the kernel took.
    pub accepted: u64,
    /// Names of errors, such as `ENOBUFS`, and how often.
    pub errors: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// `Ok`: the echo came. `Err`: `timeout`, or the name of an error.
    pub result: Result<(), String>,
    pub nanos: u64,
}

/// How a server's connections went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerReport {
    pub accepted: u64,
    /// Closed by the client.
    pub closed: u64,
    /// Reset.
    pub reset: u64,
    /// Ended by other errors.
    pub failed: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The connection, or `timeout`, or the name of an error such as `ECONNREFUSED`.
    pub result: Result<Handle, String>,
    pub micros: u64,
    pub local: Option<SocketAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchanged {
    /// Bytes that came back changed, or `timeout`, `closed`, or the name of an error such as `ECONNRESET`.
    pub result: Result<u64, String>,
    pub micros: u64,
}

/// One question of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When it was asked, nanoseconds of CLOCK_MONOTONIC.
    pub asked: u64,
    /// When the echo came, if it did.
    pub answered: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    pub samples: Vec<Sample>,
    /// When this was written down; questions of the last moments may still be on their way.
    pub now: u64,
}

impl SinkReport {
    pub fn received(&self) -> u64 {
        self.sequences.len() as u64
    }

    /// Different numbers among them.
    pub fn unique(&self) -> u64 {
        self.sorted().len() as u64
    }

    /// How often each number beyond the first time.
    pub fn duplicates(&self) -> u64 {
        self.received() - self.unique()
    }

    /// The numbers below `sent` that never came.
    pub fn lost(&self, sent: u64) -> Vec<u64> {
        let got = self.sorted();
        (0..sent).filter(|n| got.binary_search(n).is_err()).collect()
    }

    /// Whether the numbers came in the order in which they were sent.
    pub fn in_order(&self) -> bool {
        self.sequences.is_sorted()
    }

    fn sorted(&self) -> Vec<u64> {
        let mut numbers = self.sequences.clone();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }
}

impl Opened {
    /// # Panics
    /// When the connection did not open.
    #[track_caller]
    pub fn stream(&self) -> Handle {
        *self
            .result
            .as_ref()
            .unwrap_or_else(|why| panic!("no connection: {why} after {} µs", self.micros))
    }

    /// Why the connection did not open; empty when it did.
    pub fn error(&self) -> &str {
        self.result.as_ref().err().map_or("", String::as_str)
    }
}

impl Probed {
    /// Samples asked between two monotonic times.
    pub fn between(&self, from: u64, to: u64) -> Vec<Sample> {
        self.samples
            .iter()
            .copied()
            .filter(|s| (from..to).contains(&s.asked))
            .collect()
    }

    /// When the first question was asked, at or after `from`, that was answered.
    pub fn first_answered(&self, from: u64) -> Option<u64> {
        self.samples
            .iter()
            .find(|s| s.asked >= from && s.answered.is_some())
            .map(|s| s.asked)
    }

    /// When the last question before `to` was asked that was never answered.
    pub fn last_lost(&self, to: u64) -> Option<u64> {
        self.samples
            .iter()
            .rev()
            .find(|s| s.asked < to && s.answered.is_none())
            .map(|s| s.asked)
    }
}

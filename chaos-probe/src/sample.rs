use std::net::SocketAddr;
use std::time::{Duration, Instant};

use chaos_spec::{LatencyBound, ValueBound};
use jiff::Timestamp;

/// One look.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When it began, on the wall clock: for people.
    pub at: Timestamp,
    /// When it began: for arithmetic.
    pub began: Instant,
    /// From the begin to the decision: look-up of the name, connection, answer.
    pub took: Duration,
    pub outcome: Result<Reading, Fail>,
}

/// What was found when all was well.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// The number that a query gave.
    pub value: Option<f64>,
    /// The HTTP status.
    pub status: Option<u16>,
}

/// Why a sample is no pass.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Fail {
    #[error("no answer within {}", chaos_spec::Duration::from(*.0))]
    Timeout(Duration),
    #[error("`{host}` cannot be looked up: {why}")]
    Resolve { host: String, why: String },
    #[error("cannot connect to {to}: {why}")]
    Connect { to: SocketAddr, why: String },
    #[error("TLS failed: {0}")]
    Tls(String),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("answered HTTP status {0}")]
    Status(u16),
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
    #[error("the answer makes no sense: {0}")]
    Malformed(String),
    #[error("the answer does not have `{0}` in it")]
    Lacks(String),
    #[error("the service is {0}")]
    NotServing(String),
    #[error("the name server says {0}")]
    Dns(String),
    #[error("the program {0}")]
    Program(String),
    #[error("the query failed: {0}")]
    Query(String),
    #[error("the query gives no single number: {0}")]
    NoNumber(String),
    #[error("the value is {value}, expected {expected}")]
    Value { value: f64, expected: ValueBound },
    #[error("took {}, expected {expected}", chaos_spec::Duration::from(*.took))]
    Slow { took: Duration, expected: LatencyBound },
}

impl Sample {
    pub const fn is_well(&self) -> bool {
        self.outcome.is_ok()
    }

    /// When it was decided.
    pub fn ended(&self) -> Instant {
        self.began + self.took
    }
}

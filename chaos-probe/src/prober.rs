use std::sync::Arc;
use std::time::{Duration, Instant};

use chaos_spec::{Expect, LatencyBound, Probe};
use jiff::Timestamp;

use crate::kind::Kind;
use crate::{Fail, Net, Sample};

/// Why a probe can never be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    #[error("{file}: no certificates can be read ({why}) – name a PEM file in `tls.caFile`")]
    Authorities { file: String, why: String },
    #[error("`{0}` cannot be asked for – correct the probe")]
    Request(String),
    #[error("`{pattern}` is no regular expression ({why}) – correct it, or use `contains`")]
    Pattern { pattern: String, why: String },
}

/// Takes samples of one thing.
pub struct Prober {
    kind: Kind,
    timeout: Duration,
    latency: Option<LatencyBound>,
    net: Arc<dyn Net>,
}

impl Prober {
    /// Of `probe`, with what is expected of every sample by itself; what is expected of a window is for
    /// [`crate::Window`].
    ///
    /// # Errors
    /// No sample could ever be taken.
    pub fn new(
        probe: &Probe,
        expect: &Expect,
        timeout: Duration,
        net: Arc<dyn Net>,
    ) -> Result<Self, ProbeError> {
        Ok(Self {
            kind: Kind::new(probe, expect)?,
            timeout,
            latency: expect.latency,
            net,
        })
    }

    /// Looks once: never longer than the timeout (and a moment), never with more than some MiB of memory. Dropping
    /// the future ends what it has begun, programs included.
    pub async fn sample(&self) -> Sample {
        let (at, began) = (Timestamp::now(), Instant::now());
        let taken = tokio::time::timeout(self.timeout, self.kind.take(&*self.net)).await;
        let took = began.elapsed();
        let outcome = match taken {
            Err(_) => Err(Fail::Timeout(self.timeout)),
            Ok(outcome) => outcome.and_then(|reading| match self.latency {
                Some(expected) if !expected.holds(took) => Err(Fail::Slow { took, expected }),
                _ => Ok(reading),
            }),
        };
        Sample {
            at,
            began,
            took,
            outcome,
        }
    }
}

//! What is to end does not wait for the engine's thread: that may be inside the kernel for seconds with a request of
//! somebody else's, while it verifies programs or links them to hundreds of devices.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::kernel::Brake;
use super::registry::Active;
use crate::datapath::FaultId;
use crate::safety::health::Checks;

/// How long the thread has for an end of its own, which leaves packets in order that wait in a line.
const PATIENCE: Duration = Duration::from_millis(20);

/// The faults that act, as far as one has to know them to stop them. Clones are the same.
#[derive(Clone)]
pub(super) struct Brakes(Arc<Shared>);

struct Shared {
    brake: Box<dyn Brake>,
    /// By name.
    acting: Mutex<HashMap<String, Acting>>,
}

struct Acting {
    id: FaultId,
    /// Under which it runs.
    checks: Vec<Weak<Checks>>,
}

impl Brakes {
    pub(super) fn new(brake: Box<dyn Brake>) -> Self {
        Self(Arc::new(Shared {
            brake,
            acting: Mutex::default(),
        }))
    }

    /// A fault acts, or has other checks.
    pub(super) fn acts(&self, fault: &Active) {
        let checks = fault.watches().map(|watch| watch.downgrade()).collect();
        let acting = Acting { id: fault.id, checks };
        self.acting().insert(fault.metadata.name.clone(), acting);
    }

    /// A fault of this name has ended.
    pub(super) fn ended(&self, name: &str) {
        self.acting().remove(name);
    }

    /// Waits for the thread's answer to a request to end this fault; one that does not come at once comes to a fault that
    /// acts no more.
    pub(super) async fn deleting<T>(&self, name: &str, answer: impl Future<Output = T>) -> T {
        let mut answer = pin!(answer);
        if let Ok(answer) = tokio::time::timeout(PATIENCE, &mut answer).await {
            return answer;
        }
        let id = self.acting().get(name).map(|acting| acting.id);
        self.pull(id);
        answer.await
    }

    /// The thread has been told that one of these checks has failed: the faults under them act no more, though it should be
    /// busy.
    pub(super) async fn failed(&self, checks: &Weak<Checks>) {
        tokio::time::sleep(PATIENCE).await;
        let is_under = |acting: &&Acting| acting.checks.iter().any(|of| of.ptr_eq(checks));
        let ids: Vec<_> = self
            .acting()
            .values()
            .filter(is_under)
            .map(|acting| acting.id)
            .collect();
        if ids.is_empty() {
            return;
        }
        let ended = self.pull(ids);
        if ended && let Some(checks) = checks.upgrade() {
            // From here on traffic is as it was.
            checks.ended();
        }
    }

    /// Whether none of them acts any more.
    fn pull(&self, ids: impl IntoIterator<Item = FaultId>) -> bool {
        let mut all = true;
        for id in ids {
            if let Err(error) = self.0.brake.pull(id) {
                all = false;
                tracing::warn!(
                    error,
                    id = id.0,
                    "a fault acts until the engine's thread comes to it"
                );
            }
        }
        all
    }

    fn acting(&self) -> MutexGuard<'_, HashMap<String, Acting>> {
        self.0.acting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! This node, as experiments see it.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use chaos_experiment::{Injector, Look, Nets, Refusal};
use chaos_probe::{Net, Pass};
use chaos_spec::NetworkFault;
use chaos_spec::api::{Packets, Phase};
use futures_util::future::BoxFuture;

use crate::engine::{Engine, EngineError};
use crate::safety::Caller;
use crate::safety::health::{Guardian, Sockets};

/// Faults of one run, on behalf of whoever began it.
pub(super) struct Node {
    engine: Engine,
    caller: Caller,
    /// Faults that this run has made so: those that ran before under the same name are none of its.
    mine: Mutex<HashSet<String>>,
}

impl Node {
    pub(super) fn new(engine: Engine, caller: Caller) -> Self {
        Self {
            engine,
            caller,
            mine: Mutex::default(),
        }
    }

    fn mine(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.mine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn refuse_taken(&self, name: &str) -> Result<(), Refusal> {
        match self.engine.get(name).await {
            Ok(view) if view.status.phase != Phase::Ended => Err(Refusal::Other(format!(
                "a fault named `{name}` acts already – end it, or give the experiment another name"
            ))),
            _ => Ok(()),
        }
    }
}

fn refusal(error: EngineError) -> Refusal {
    let text = error.to_string();
    match error {
        EngineError::Policy(_) | EngineError::NeedsApproval(_) => Refusal::Policy(text),
        EngineError::Halted(_) => Refusal::Halted(text),
        _ => Refusal::Other(text),
    }
}

impl Injector for Node {
    fn check(&self, faults: Vec<NetworkFault>) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(async move {
            let halt = self.engine.halt_state();
            if halt.halted {
                return Err(refusal(EngineError::Halted(halt)));
            }
            for fault in faults {
                self.refuse_taken(fault.name()).await?;
                self.engine
                    .may_apply(vec![fault], &self.caller)
                    .await
                    .map_err(refusal)?;
            }
            Ok(())
        })
    }

    fn apply(&self, fault: NetworkFault) -> BoxFuture<'_, Result<u64, Refusal>> {
        Box::pin(async move {
            let name = fault.name().to_owned();
            if !self.mine().contains(&name) {
                self.refuse_taken(&name).await?;
            }
            // Before it is so: whatever becomes of the request, it is ended by us.
            self.mine().insert(name.clone());
            let views = self.engine.apply(vec![fault], self.caller.clone()).await;
            match views {
                Ok(views) => Ok(views.first().and_then(|view| view.status.seed).unwrap_or(0)),
                Err(error) => {
                    if !matches!(error, EngineError::Hung(_)) {
                        self.mine().remove(&name);
                    }
                    Err(refusal(error))
                }
            }
        })
    }

    fn end<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Packets>, String>> {
        Box::pin(async move {
            if !self.mine().contains(name) {
                return Ok(None);
            }
            match self.engine.delete(name, self.caller.clone()).await {
                Ok(view) if view.status.phase == Phase::Ended => {
                    self.mine().remove(name);
                    Ok(Some(view.status.packets))
                }
                Ok(_) => Err("the kernel would not let go of it yet".to_owned()),
                Err(EngineError::NoSuchFault(_)) => Ok(None),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    fn look<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Look, String>> {
        Box::pin(async move {
            match self.engine.get(name).await {
                Ok(view) if view.status.phase == Phase::Ended => Ok(Look::Ended {
                    reason: view.status.reason,
                    message: view.status.message.unwrap_or_default(),
                    packets: view.status.packets,
                }),
                Ok(view) => Ok(Look::Active(view.status.packets)),
                Err(EngineError::NoSuchFault(_)) => Ok(Look::Unknown),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}

/// Sockets that faults act on like on anybody's: a steady state is what users see, where a health check has to get
/// through.
pub(super) struct Unguarded(Sockets);

struct Nobody;

impl Guardian for Nobody {
    fn guard(&self, _: u8, _: SocketAddr, _: SocketAddr) -> Result<Pass, String> {
        Ok(Box::new(()))
    }
}

impl Default for Unguarded {
    fn default() -> Self {
        Self(Sockets::new(Arc::new(Nobody)))
    }
}

impl Nets for Unguarded {
    fn within(&self, netns: Option<&str>) -> Arc<dyn Net> {
        Arc::new(self.0.within(netns.map(str::to_owned)))
    }
}

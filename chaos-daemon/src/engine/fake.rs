//! A kernel and a host made of memory, for tests of everything above them.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use chaos_probe::Pass;
use chaos_spec::api::{Attachment, Capability, Hook, Mode, Packets, PlannedFault};
use chaos_spec::{Chance, Drop as Loss, Fault, FaultSpec, NetworkFault, Target, WarningKind};

use super::kernel::Brake;
use super::{Engine, EngineOptions, Kernel, Resolve};
use crate::datapath::{Arm, Armed, DatapathError, FaultId, Leaving};
use crate::observe::{Audit, History};
use crate::safety::clock::boot_ns;
use crate::safety::health::Guardian;
use crate::safety::{GuardList, Heart, PolicyKeeper};
use crate::target::names::Servers;
use crate::target::{self, Liveness, Resolved, TargetError};

/// What the fake kernel holds and how it behaves.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) armed: BTreeMap<FaultId, Arm>,
    pub(crate) packets: HashMap<FaultId, Packets>,
    pub(crate) gone: Vec<(FaultId, String)>,
    pub(crate) unfit: Vec<FaultId>,
    pub(crate) refuse_arm: bool,
    pub(crate) refuse_disarm: bool,
    /// Takes this long over each call to arm.
    pub(crate) slow: Duration,
    /// Inside of such a call.
    pub(crate) away: bool,
    /// Takes this long over each call to plan, of which nobody expects that.
    pub(crate) hang: Duration,
    /// Ended from another thread, and when.
    pub(crate) pulled: BTreeMap<FaultId, Instant>,
    pub(crate) arm_calls: usize,
    pub(crate) disarm_calls: usize,
    /// Verdicts on targets by their display form; the default is alive.
    pub(crate) verdicts: HashMap<String, Liveness>,
}

/// Clones share one state.
#[derive(Clone, Default)]
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
    pub(crate) lease: Arc<AtomicU64>,
}

impl Fake {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn armed(&self) -> usize {
        self.state().armed.len()
    }
}

impl Kernel for Fake {
    fn capabilities(&self) -> Vec<Capability> {
        vec![Capability {
            name: "fake".to_owned(),
            available: true,
            why: "made of memory".to_owned(),
        }]
    }

    fn arm(&mut self, arms: &[Arm]) -> Result<Vec<Armed>, DatapathError> {
        let slow = self.state().slow;
        self.state().away = true;
        std::thread::sleep(slow);
        let mut state = self.state();
        state.away = false;
        state.arm_calls += 1;
        if state.refuse_arm {
            return Err(DatapathError::Unsupported {
                what: "this".to_owned(),
                why: "the test says so".to_owned(),
            });
        }
        state.armed.extend(arms.iter().map(|arm| (arm.id, arm.clone())));
        let attachment = Attachment {
            netns: "host".to_owned(),
            interface: "fake0".to_owned(),
            hook: Hook::TcEgress,
            mode: Mode::Tcx,
            line: None,
        };
        let now = boot_ns();
        let armed = arms.iter().map(|arm| Armed {
            deadline_boot_ns: arm.ends.at(now),
            attachments: vec![attachment.clone()],
            warnings: Vec::new(),
        });
        Ok(armed.collect())
    }

    fn quiet(&mut self, _: &[FaultId]) -> Result<(), DatapathError> {
        Ok(())
    }

    fn disarm(&mut self, ids: &[FaultId]) -> Result<(), DatapathError> {
        let mut state = self.state();
        state.disarm_calls += 1;
        if state.refuse_disarm {
            return Err(DatapathError::Map {
                map: "FAKE",
                message: "stuck".to_owned(),
            });
        }
        state.armed.retain(|id, _| !ids.contains(id));
        state.gone.retain(|(id, _)| !ids.contains(id));
        Ok(())
    }

    fn leaving(&mut self) -> Leaving {
        Leaving::default()
    }

    fn brake(&self) -> Box<dyn Brake> {
        Box::new(self.clone())
    }

    fn plan(&self, arm: &Arm) -> Result<PlannedFault, DatapathError> {
        let hang = self.state().hang;
        std::thread::sleep(hang);
        Ok(PlannedFault {
            name: arm.name.clone(),
            ..PlannedFault::default()
        })
    }

    fn counters(&self, id: FaultId) -> Result<Packets, DatapathError> {
        let state = self.state();
        if !state.armed.contains_key(&id) {
            return Err(DatapathError::Unknown(id.0));
        }
        Ok(state.packets.get(&id).copied().unwrap_or_default())
    }

    fn notices(&self, _: FaultId) -> Vec<WarningKind> {
        Vec::new()
    }

    fn guard(&mut self, _: &GuardList) -> Result<(), DatapathError> {
        Ok(())
    }

    fn gone(&mut self) -> Vec<(FaultId, String)> {
        self.state().gone.clone()
    }

    fn unfit(&mut self) -> Vec<FaultId> {
        std::mem::take(&mut self.state().unfit)
    }

    fn newcomer_signal(&self) -> Option<std::os::fd::OwnedFd> {
        None
    }

    fn newcomers(&mut self) -> Vec<u32> {
        Vec::new()
    }

    fn statistics(&self) -> Vec<(&'static str, u64)> {
        vec![("guarded", 3)]
    }

    fn guardian(&mut self) -> Result<Arc<dyn Guardian>, DatapathError> {
        Ok(Arc::new(Nobody))
    }

    fn breathe(&mut self) {}
}

impl Brake for Fake {
    fn pull(&self, id: FaultId) -> Result<(), String> {
        self.state().pulled.insert(id, Instant::now());
        Ok(())
    }
}

/// Guards nothing, which nothing attacks.
struct Nobody;

impl Guardian for Nobody {
    fn guard(&self, _: u8, _: SocketAddr, _: SocketAddr) -> Result<Pass, String> {
        Ok(Box::new(()))
    }
}

impl Resolve for Fake {
    fn resolve(&self, target: &Target) -> Result<Resolved, TargetError> {
        if target.to_string().contains("nowhere") {
            return Err(TargetError::NotANetns(PathBuf::from("/nowhere")));
        }
        Ok(somewhere())
    }

    fn still_there(&self, target: &Target, _: &Resolved) -> Liveness {
        self.state()
            .verdicts
            .remove(&target.to_string())
            .unwrap_or(Liveness::Alive)
    }
}

impl Heart for Fake {
    fn renew(&self, until_monotonic_ns: u64) -> Result<(), String> {
        self.lease.store(until_monotonic_ns, Ordering::SeqCst);
        Ok(())
    }

    fn halt(&self) -> Result<(), String> {
        self.lease.store(0, Ordering::SeqCst);
        Ok(())
    }
}

/// Some target that was found: this machine, looked at once, never touched.
pub(crate) fn somewhere() -> Resolved {
    static HERE: OnceLock<Resolved> = OnceLock::new();
    HERE.get_or_init(|| target::resolve(&Target::host(), &[]).unwrap())
        .clone()
}

/// An engine on a fake kernel, with its state directory.
pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) fake: Fake,
    pub(crate) policy: Arc<PolicyKeeper>,
    pub(crate) dir: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    pub(crate) fn at(dir: tempfile::TempDir) -> Self {
        Self::with_policy(dir, PolicyKeeper::default())
    }

    pub(crate) fn with_policy(dir: tempfile::TempDir, policy: PolicyKeeper) -> Self {
        let (fake, policy) = (Fake::default(), Arc::new(policy));
        let options = EngineOptions {
            lease: Duration::from_secs(2),
            max_faults: 1500,
            guards: GuardList::default(),
            state_dir: dir.path().to_owned(),
            servers: Servers::Addresses(vec!["127.0.0.1:9".parse().unwrap()]),
            audit: Audit::default(),
            history: History::default(),
            policy: Arc::clone(&policy),
        };
        let engine = Engine::start(fake.clone(), fake.clone(), fake.clone(), options).unwrap();
        Self {
            engine,
            fake,
            policy,
            dir,
        }
    }
}

/// A fault that drops a tenth of what a namespace sends.
pub(crate) fn fault(name: &str, seconds: u64) -> NetworkFault {
    let drop = Fault::drop(Loss::chance("10%".parse::<Chance>().unwrap()));
    NetworkFault::new(
        name,
        FaultSpec::new(
            Target::netns("blue"),
            drop,
            chaos_spec::Duration::from_secs(seconds),
        ),
    )
}

/// Waits for something that must come true, for at most five seconds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let start = Instant::now();
    while !condition().await {
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{what} did not come true"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

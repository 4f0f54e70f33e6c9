//! A namespace with a cable, and the daemon's data path opened on it. The machine's own namespace is never armed.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chaos_daemon::datapath::{
    Arm, Armed, Attach, Datapath, DatapathError, DatapathOptions, Ends, FaultId, Lease, LineUse, XdpUse,
};
use chaos_daemon::safety::clock::monotonic_ns;
use chaos_daemon::safety::guard::GuardList;
use chaos_daemon::safety::journal::Journal;
use chaos_daemon::safety::lease::Heart as _;
use chaos_daemon::sys::bpf::{TestPacket, TestResult, load_empty_classifier, test_run};
use chaos_daemon::target::{self, Identity, Resolved};
use chaos_spec::{FaultSpec, api::Packets};
use tempfile::TempDir;

use super::{FAR_V4, NEAR_V4};
use crate::{Cgroup, Device, Netns, Skip, veth};

/// Where a packet is shown to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum At {
    Egress,
    Ingress,
    Xdp,
}

/// How a lab's data path is opened.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether XDP takes what it can; else tc takes all.
    pub xdp: bool,
    pub guard: GuardList,
    pub max_faults: u32,
    /// Whether super-packets that leave are cut at the hook; else they are hit as such.
    pub cut: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            xdp: false,
            guard: GuardList::default(),
            max_faults: 256,
            cut: false,
        }
    }
}

/// One fault to be armed, from the pieces of a spec as a user writes them.
#[derive(Clone, Debug)]
pub struct Injection {
    target: Option<String>,
    traffic: String,
    fault: String,
    seed: u64,
    budget: Option<u64>,
    unguard: Option<String>,
    deadline: Option<u64>,
}

impl Injection {
    /// `traffic` and `fault` in YAML's flow form, such as `{direction: egress}` and `{drop: {chance: 50%}}`.
    pub fn new(traffic: impl Into<String>, fault: impl Into<String>) -> Self {
        let (traffic, fault) = (traffic.into(), fault.into());
        Self {
            target: None,
            traffic,
            fault,
            seed: 42,
            budget: None,
            unguard: None,
            deadline: None,
        }
    }

    /// Another target than the lab's whole namespace.
    #[must_use]
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into());
        self
    }

    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    #[must_use]
    pub fn budget(mut self, packets: u64) -> Self {
        self.budget = Some(packets);
        self
    }

    /// Lifts a guard.
    #[must_use]
    pub fn unguard(mut self, name: &str) -> Self {
        self.unguard = Some(name.to_owned());
        self
    }

    /// CLOCK_BOOTTIME nanoseconds; an hour from now, unless this says otherwise.
    #[must_use]
    pub fn deadline(mut self, boot_ns: u64) -> Self {
        self.deadline = Some(boot_ns);
        self
    }

    /// # Panics
    /// When the parser refuses it.
    fn spec(&self, target: &str) -> FaultSpec {
        let Self {
            traffic, fault, seed, ..
        } = self;
        let budget = self.budget.map(|n| format!("maxPackets: {n}"));
        let unguard = self.unguard.as_ref().map(|name| format!("unguard: [{name}]"));
        let nets: Vec<_> = budget.into_iter().chain(unguard).collect();
        let safety = match nets.as_slice() {
            [] => String::new(),
            nets => format!(", safety: {{{}}}", nets.join(", ")),
        };
        let target = self.target.as_deref().unwrap_or(target);
        let text = format!(
            "{{apiVersion: chaos-daemon.dev/v1alpha1, kind: NetworkFault, metadata: {{name: lab}}, spec: {{target: {target}, \
             traffic: {traffic}, fault: {fault}, duration: 1h, seed: {seed}{safety}}}}}"
        );
        let mut faults = chaos_spec::parse("lab.yaml", text.as_bytes())
            .unwrap_or_else(|e| panic!("{traffic} {fault}: {e}"));
        faults.remove(0).fault.spec
    }
}

/// Labs take turns: a test may move the whole process into a cgroup, and nobody's figures are to be disturbed.
static TURN: Mutex<()> = Mutex::new(());

/// The namespace, its cable and the data path. Everything goes with it.
pub struct Lab {
    datapath: Datapath,
    lease: Lease,
    place: target::Netns,
    whole: Resolved,
    near: Device,
    far: Device,
    ifindex: u32,
    next: u64,
    _state: TempDir,
    _turn: Option<MutexGuard<'static, ()>>,
}

impl Lab {
    /// With [`Settings::default`]: everything by tc.
    ///
    /// # Errors
    /// Without root.
    pub fn new() -> Result<Self, Skip> {
        Self::with(Settings::default())
    }

    /// # Errors
    /// Without root.
    ///
    /// # Panics
    /// When the kernel refuses what the daemon needs.
    pub fn with(settings: Settings) -> Result<Self, Skip> {
        if !nix::unistd::geteuid().is_root() {
            return Err(Skip::NotRoot);
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Self::open(settings, Some(turn)))
    }

    /// A second lab, with XDP, for whoever holds one already.
    ///
    /// # Errors
    /// As [`Lab::with`].
    pub fn with_xdp_beside(_first: &Self) -> Result<Self, Skip> {
        Ok(Self::open(
            Settings {
                xdp: true,
                ..Settings::default()
            },
            None,
        ))
    }

    fn open(settings: Settings, turn: Option<MutexGuard<'static, ()>>) -> Self {
        let (near_netns, far_netns) = (Netns::new(), Netns::new());
        for netns in [&near_netns, &far_netns] {
            // The stacks' own reports and solicitations would be counted, too.
            netns.sysctl("ipv6/conf/default/disable_ipv6", "1");
        }
        let (near, far) = veth((&near_netns, "near0"), (&far_netns, "far0"));
        near.add_v4(NEAR_V4, 24);
        far.add_v4(FAR_V4, 24);
        let state = TempDir::new().expect("a folder for the journal");
        let journal = Journal::open(state.path()).unwrap_or_else(|e| panic!("{e}"));
        let xdp = if settings.xdp {
            XdpUse::Always
        } else {
            XdpUse::Never
        };
        let options = DatapathOptions {
            line: if settings.cut {
                LineUse::Kernel
            } else {
                LineUse::Never
            },
            attach: Attach::Auto,
            xdp,
            max_faults: settings.max_faults,
            log: false,
        };
        let mut datapath = Datapath::open(&options, journal).unwrap_or_else(|e| panic!("{e}"));
        datapath.guard(&settings.guard).unwrap_or_else(|e| panic!("{e}"));
        let lease = datapath.lease().unwrap_or_else(|e| panic!("{e}"));
        let whole = resolve(&format!("{{netns: {}}}", near_netns.path().display()));
        let place = whole.places[0].netns.clone();
        assert!(!place.is_own, "no lab is the machine's own namespace");
        let ifindex = near.ifindex();
        let lab = Self {
            datapath,
            lease,
            place,
            whole,
            near,
            far,
            ifindex,
            next: 1,
            _state: state,
            _turn: turn,
        };
        lab.renew_lease();
        lab
    }

    /// The target's device.
    pub fn near(&self) -> &Device {
        &self.near
    }

    /// The other end of the cable.
    pub fn far(&self) -> &Device {
        &self.far
    }

    pub fn datapath(&self) -> &Datapath {
        &self.datapath
    }

    /// What this lab's namespace is called as a target.
    pub fn target(&self) -> String {
        format!("{{netns: {}}}", self.near.netns().path().display())
    }

    /// Faults act for another ten minutes.
    pub fn renew_lease(&self) {
        self.lease
            .renew(monotonic_ns() + nanos(Duration::from_secs(600)))
            .expect("the map takes it");
    }

    /// Faults act until this reading of CLOCK_MONOTONIC.
    pub fn lease_until(&self, monotonic: u64) {
        self.lease.renew(monotonic).expect("the map takes it");
    }

    /// No fault acts any more.
    pub fn halt(&self) {
        self.lease.halt().expect("the map takes it");
    }

    /// Arms one fault.
    pub fn inject(&mut self, injection: &Injection) -> FaultId {
        self.inject_all(std::slice::from_ref(injection))[0]
    }

    /// Arms all of them at one instant, in this order of creation.
    pub fn inject_all(&mut self, injections: &[Injection]) -> Vec<FaultId> {
        let first = self.next;
        self.next += injections.len() as u64;
        let arms: Vec<Arm> = (first..)
            .zip(injections)
            .map(|(id, injection)| self.arm(id, injection))
            .collect();
        self.datapath.arm(&arms).unwrap_or_else(|e| panic!("{e}"));
        arms.iter().map(|arm| arm.id).collect()
    }

    /// Arms all of them for cgroups that do not exist: the numbers below are no directory's. `neighbour` lends its
    /// level and the place where the sockets of such cgroups would be tagged.
    pub fn inject_for_others(&mut self, neighbour: &Cgroup, injections: &[Injection]) {
        let level = neighbour
            .path()
            .split('/')
            .filter(|part| !part.is_empty())
            .count() as u32;
        let first = self.next;
        self.next += injections.len() as u64;
        let arms: Vec<Arm> = (first..)
            .zip(injections)
            .map(|(id, injection)| {
                let mut arm = self.arm(id, injection);
                arm.target.identity = Identity::Cgroup {
                    id: u64::MAX - id,
                    level,
                    path: neighbour.dir(),
                };
                arm
            })
            .collect();
        self.datapath.arm(&arms).unwrap_or_else(|e| panic!("{e}"));
    }

    /// Arms a fault, or says why not.
    ///
    /// # Errors
    /// What the data path refuses.
    pub fn try_inject(&mut self, injection: &Injection) -> Result<Armed, DatapathError> {
        self.next += 1;
        let arm = self.arm(self.next, injection);
        self.datapath.arm(&[arm]).map(|mut armed| armed.remove(0))
    }

    /// Changes a fault in place.
    pub fn change(&mut self, id: FaultId, injection: &Injection) {
        let arm = self.arm(id.0, injection);
        self.datapath.arm(&[arm]).unwrap_or_else(|e| panic!("{e}"));
    }

    /// Ends faults.
    pub fn end(&mut self, ids: &[FaultId]) {
        self.datapath.disarm(ids).unwrap_or_else(|e| panic!("{e}"));
    }

    fn arm(&self, id: u64, injection: &Injection) -> Arm {
        let spec = injection.spec(&self.target());
        let target = match &injection.target {
            None => self.whole.clone(),
            Some(text) => resolve(text),
        };
        assert!(
            target.places.iter().all(|place| !place.netns.is_own),
            "nothing is attached to the machine itself"
        );
        Arm {
            id: FaultId(id),
            order: id as u32,
            spec: Arc::new(spec),
            name: format!("lab-{id}"),
            seed: injection.seed,
            ends: injection
                .deadline
                .map_or(Ends::After(nanos(Duration::from_secs(3600))), Ends::At),
            target,
            addresses: Vec::new(),
        }
    }

    /// Shows one packet to the program of a hook.
    pub fn run(&self, at: At, frame: &[u8]) -> TestResult {
        self.run_all(
            at,
            [TestPacket {
                frame,
                ..TestPacket::default()
            }],
        )
        .remove(0)
    }

    /// Shows packets, one after the other; those that name no device are at the lab's.
    pub fn run_all<'a>(
        &self,
        at: At,
        packets: impl IntoIterator<Item = TestPacket<'a>, IntoIter: Send> + Send,
    ) -> Vec<TestResult> {
        self.inside(at, |program| {
            let one = |mut packet: TestPacket<'a>| {
                packet.ifindex = if packet.ifindex == 0 {
                    self.ifindex
                } else {
                    packet.ifindex
                };
                test_run(program, &packet, at != At::Xdp, 1)
                    .unwrap_or_else(|e| panic!("test run at {at:?}: {e}"))
            };
            packets.into_iter().map(one).collect()
        })
    }

    /// Mean nanoseconds of `repeat` runs over one packet.
    pub fn nanoseconds(&self, at: At, packet: &TestPacket<'_>, repeat: u32) -> u32 {
        let packet = TestPacket {
            ifindex: self.ifindex,
            ..packet.clone()
        };
        self.inside(at, |program| {
            test_run(program, &packet, at != At::Xdp, repeat)
                .unwrap_or_else(|e| panic!("test run at {at:?}: {e}"))
        })
        .nanoseconds
    }

    /// The same of a tc program that does nothing.
    pub fn nanoseconds_of_nothing(&self, packet: &TestPacket<'_>, repeat: u32) -> u32 {
        use std::os::fd::AsFd as _;
        let packet = TestPacket {
            ifindex: self.ifindex,
            ..packet.clone()
        };
        let program = load_empty_classifier().expect("two instructions load");
        let run = || test_run(program.as_fd(), &packet, true, repeat).expect("two instructions run");
        self.place.run(run).unwrap_or_else(|e| panic!("{e}")).nanoseconds
    }

    /// Runs on a thread inside the namespace, with the program of a hook.
    fn inside<T: Send>(&self, at: At, work: impl FnOnce(BorrowedFd<'_>) -> T + Send) -> T {
        let programs = self
            .datapath
            .programs(&self.place)
            .expect("a fault is armed in the lab");
        let program = match at {
            At::Egress => programs.egress,
            At::Ingress => programs.ingress,
            At::Xdp => programs.xdp.expect("XDP took a fault"),
        };
        self.place.run(|| work(program)).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Wire packets of a fault so far.
    pub fn counters(&self, id: FaultId) -> Packets {
        self.datapath.counters(id).unwrap_or_else(|e| panic!("{e}"))
    }

    /// A statistic of the programs, such as `unclassified`.
    pub fn stat(&self, name: &str) -> u64 {
        let stats = self.datapath.stats().unwrap_or_else(|e| panic!("{e}"));
        stats
            .iter()
            .find(|(found, _)| *found == name)
            .unwrap_or_else(|| panic!("no statistic {name}"))
            .1
    }
}

fn resolve(text: &str) -> Resolved {
    let target = Injection::new("{}", "{partition: {}}").spec(text).target;
    target::resolve(&target, &[]).unwrap_or_else(|e| panic!("{e}"))
}

fn nanos(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

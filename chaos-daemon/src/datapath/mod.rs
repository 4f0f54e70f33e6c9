//! The way into the kernel: programs, maps, attachments. One owner (the engine's thread); every call may block.
//!
//! A change is a transaction in three steps. *Stage*: rules of the next epoch are written, filed and attached;
//! programs find them and leave them alone. *Publish*: one number changes, and at that instant all new rules
//! act and all replaced ones stop. *Retire*: what nobody needs is taken away. A failure while staging undoes
//! the stage; there is nothing to undo after.

mod applications;
mod arm;
mod attach;
mod brake;
mod cable;
mod capabilities;
mod closing;
mod clsact;
mod covered;
mod descriptors;
mod error;
mod exit;
mod front;
mod guard;
mod index;
mod lease;
mod ledger;
mod line;
mod lines;
mod lost;
mod netlink;
mod object;
mod own;
mod preview;
mod resume;
mod slots;
mod space;
mod spaces;
mod spare;
mod tags;
mod waits;
mod ways;

use std::{
    collections::HashMap,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use chaos_ebpf_common::abi::{Hook, NETNS_MAX, Newcomer, control, stat};
use chaos_spec::{
    FaultSpec, WarningKind,
    api::{Attachment, Capability, Hook as WireHook, Packets, PlannedFault},
};
use ipnet::IpNet;

pub use brake::Brake;
pub use capabilities::{Attach, Capabilities, XdpUse};
pub use closing::Leaving;
pub use error::DatapathError;
pub use lease::Lease;
pub use own::{OwnFlow, OwnFlows};
pub use space::ProgramFds;

use self::{
    applications::Applications,
    arm::Armed as Record,
    closing::Closing,
    exit::ExitWatch,
    index::Index,
    line::Line,
    lost::Lost,
    object::{Maps, Object, Opened, Sizes},
    slots::Slots,
    space::Space,
    spare::Spare,
    tags::Tags,
    waits::Waits,
};
use crate::{
    safety::{guard::GuardList, journal::Journal},
    sys::{bpf, memory},
    target::Resolved,
};

/// Number of a fault, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FaultId(pub u64);

/// How the data path is to be opened.
#[derive(Clone, Debug)]
pub struct DatapathOptions {
    /// Way to tc.
    pub attach: Attach,
    /// Use of XDP.
    pub xdp: XdpUse,
    /// Use of lines.
    pub line: LineUse,
    /// Faults at the same time.
    pub max_faults: u32,
    /// Whether kernel programs log at debug level.
    pub log: bool,
}

/// Which line carries packets that have to wait, or to be looked at one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineUse {
    /// The best that this host has.
    #[default]
    Auto,
    /// The hook itself, for what leaves and does not have to wait.
    Kernel,
    /// A TAP device and a thread of this process.
    User,
    /// None: what needs one is refused.
    Never,
}

/// When a fault ends by itself, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// So long after the instant at which it begins to act: verifying and attaching programs, which takes seconds
    /// on a slow host, is not part of it.
    After(u64),
    /// At this reading of CLOCK_BOOTTIME.
    At(u64),
}

impl Ends {
    /// As a reading of CLOCK_BOOTTIME, for a fault that begins to act at `now`.
    pub fn at(self, now: u64) -> u64 {
        match self {
            Self::After(length) => now.saturating_add(length),
            Self::At(deadline) => deadline,
        }
    }
}

/// A fault to be armed, or changed.
#[derive(Clone, Debug)]
pub struct Arm {
    /// Its number.
    pub id: FaultId,
    /// Its place in the order of creation.
    pub order: u32,
    /// What it does.
    pub spec: Arc<FaultSpec>,
    /// Its name, for people.
    pub name: String,
    /// Seed of its decisions.
    pub seed: u64,
    /// When it ends by itself.
    pub ends: Ends,
    /// Where its packets pass.
    pub target: Resolved,
    /// Addresses of `remote.hosts`, as resolved now.
    pub addresses: Vec<IpNet>,
}

/// Packets of a fault that are not what its author may think of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// Some stood for several wire packets.
    pub super_packets: bool,
    /// So many began a record of TLS where requests were looked for.
    pub tls: u64,
    /// So many began HTTP/2.
    pub http2: u64,
    /// So many held a part of a request.
    pub split: u64,
}

/// What arming came to.
#[derive(Clone, Debug, Default)]
pub struct Armed {
    /// CLOCK_BOOTTIME nanoseconds at which it ends by itself.
    pub deadline_boot_ns: u64,
    /// Where programs sit for this fault.
    pub attachments: Vec<Attachment>,
    /// What a person should know.
    pub warnings: Vec<WarningKind>,
}

/// The data path.
pub struct Datapath {
    object: Object,
    maps: Maps,
    capabilities: Capabilities,
    journal: Journal,
    index: Index,
    tags: Tags,
    applications: Applications,
    exit_watch: ExitWatch,
    spaces: HashMap<u32, Space>,
    spare: Spare,
    waits: Waits,
    faults: HashMap<FaultId, Record>,
    /// Lines that nobody uses any more, with their namespaces.
    closing: Vec<(u32, Closing)>,
    /// What lines have lost.
    lost: Lost,
    /// Of the last change.
    leaving: Leaving,
    epoch: u64,
    /// Super-packets that did not suit the ways of their rules, as last counted.
    unfit_met: u64,
    guards: guard::Guards,
    free_spaces: Slots,
    free_faults: Slots,
    free_rules: Slots,
    free_states: Slots,
    free_sets: Slots,
}

impl Datapath {
    /// Probes the host, undoes what a previous daemon left, makes the maps, loads and verifies the programs.
    /// Attaches nothing.
    ///
    /// # Errors
    /// The kernel refuses; nothing is left of the attempt.
    pub fn open(options: &DatapathOptions, mut journal: Journal) -> Result<Self, DatapathError> {
        for undone in clsact::reap(&mut journal) {
            tracing::warn!(undone, "left behind by a previous daemon, undone now");
        }
        let (capabilities, far) = Capabilities::probe(options.attach, options.xdp, options.line)?;
        let rules = options.max_faults.saturating_mul(4);
        let Opened { object, maps, exit } = Object::open(
            Sizes {
                faults: options.max_faults,
                rules,
            },
            options.log,
        )?;
        if let Err(error) = bpf::make_room_for_links(maps.newcomers.as_fd()) {
            tracing::debug!(%error, "no room for links ahead; the first fault begins later");
        }
        let exit_watch = ExitWatch::new(exit);
        let mut datapath = Self {
            object,
            maps,
            capabilities,
            journal,
            index: Index::default(),
            tags: Tags::default(),
            applications: Applications::default(),
            exit_watch,
            spaces: HashMap::new(),
            spare: Spare::default(),
            waits: Waits::new(far),
            faults: HashMap::new(),
            closing: Vec::new(),
            lost: Lost::default(),
            leaving: Leaving::default(),
            epoch: 1,
            unfit_met: 0,
            guards: guard::Guards::default(),
            free_spaces: Slots::new("network namespaces", 0, NETNS_MAX),
            free_faults: Slots::new("faults", 0, options.max_faults),
            free_rules: Slots::new("rules", 0, rules),
            free_states: Slots::new("rule states", 0, rules),
            free_sets: Slots::new("address sets", 1, u32::MAX),
        };
        datapath.publish(1);
        datapath.spare = Spare::load(&datapath.object.loader, &mut datapath.free_spaces)?;
        memory::give_back();
        Ok(datapath)
    }

    /// What this host can do.
    pub fn capabilities(&self) -> Vec<Capability> {
        let mut list = self.capabilities.list();
        list.push(self.exit_watch.capability());
        list
    }

    /// A handle for the heartbeat.
    ///
    /// # Errors
    /// The map cannot be opened a second time.
    pub fn lease(&self) -> Result<Lease, DatapathError> {
        Ok(Lease::new(Arc::clone(&self.maps.control)))
    }

    /// Puts a guard list into force: before the first fault, and when it changes.
    ///
    /// # Errors
    /// A map refuses.
    pub fn guard(&mut self, list: &GuardList) -> Result<(), DatapathError> {
        self.guards.write(&mut self.maps, list)
    }

    /// Guards one of the daemon's own sockets in its own namespace. `protocol`: 6 or 17.
    ///
    /// # Errors
    /// The map refuses.
    pub fn guard_own_port(&mut self, protocol: u8, port: u16) -> Result<(), DatapathError> {
        let key = u32::from(protocol) << 16 | u32::from(port);
        self.maps
            .own_ports
            .insert(key, 1, 0)
            .map_err(|e| DatapathError::map("OWN_PORTS", e))
    }

    /// The way to guard connections of the daemon's own, wherever their packets pass. Can be taken once.
    ///
    /// # Errors
    /// It was taken before.
    pub fn own_flows(&mut self) -> Result<OwnFlows, DatapathError> {
        let map = self.maps.own_flows.take();
        let map = map.ok_or_else(|| DatapathError::map("OWN_FLOWS", "somebody has it already"))?;
        Ok(OwnFlows::new(map, Arc::clone(&self.maps.control)))
    }

    /// The way to end faults from another thread.
    pub fn brake(&self) -> Brake {
        self.maps.brake.clone()
    }

    /// The devices that the last call to [`Datapath::arm`] or [`Datapath::disarm`] has begun to take away.
    pub fn leaving(&mut self) -> Leaving {
        std::mem::take(&mut self.leaving)
    }

    /// What [`Datapath::arm`] would do.
    ///
    /// # Errors
    /// What [`Datapath::arm`] would refuse.
    pub fn plan(&self, arm: &Arm) -> Result<PlannedFault, DatapathError> {
        preview::plan(self, arm)
    }

    /// Wire packets of a fault so far.
    ///
    /// # Errors
    /// It is not armed, or its counters cannot be read.
    pub fn counters(&self, id: FaultId) -> Result<Packets, DatapathError> {
        let record = self.faults.get(&id).ok_or(DatapathError::Unknown(id.0))?;
        let cpus = self
            .maps
            .counters
            .get(&record.slot, 0)
            .map_err(|e| DatapathError::map("COUNTERS", e))?;
        let mut sum = Packets::default();
        for cpu in cpus.iter() {
            sum.matched += cpu.matched;
            sum.dropped += cpu.dropped;
            sum.duplicated += cpu.duplicated;
            sum.corrupted += cpu.corrupted;
            sum.reset += cpu.reset;
            sum.rejected += cpu.rejected;
            sum.unseen += cpu.unseen + cpu.tls + cpu.http2 + cpu.split;
            sum.answered += cpu.answered;
            sum.delayed += cpu.delayed;
        }
        record.lined.add_to(&mut sum);
        sum.passed = sum.matched.saturating_sub(sum.acted_on());
        Ok(sum)
    }

    /// What the packets of a fault were that a person should know of.
    ///
    /// # Errors
    /// As [`Datapath::counters`].
    pub fn met(&self, id: FaultId) -> Result<Met, DatapathError> {
        let record = self.faults.get(&id).ok_or(DatapathError::Unknown(id.0))?;
        let cpus = self
            .maps
            .counters
            .get(&record.slot, 0)
            .map_err(|e| DatapathError::map("COUNTERS", e))?;
        Ok(Met {
            super_packets: cpus.iter().any(|cpu| cpu.aggregated > 0),
            tls: cpus.iter().map(|cpu| cpu.tls).sum(),
            http2: cpus.iter().map(|cpu| cpu.http2).sum(),
            split: cpus.iter().map(|cpu| cpu.split).sum(),
        })
    }

    /// Statistics of the programs as a whole: name and count.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn stats(&self) -> Result<Vec<(&'static str, u64)>, DatapathError> {
        const NAMES: [(&str, u32); stat::SLOTS as usize] = [
            ("unclassified", stat::UNCLASSIFIED),
            ("orphan_fragments", stat::ORPHAN_FRAGMENTS),
            ("guarded", stat::GUARDED),
            ("crowded", stat::CROWDED),
            ("lease_over", stat::LEASE_OVER),
            ("helper_failed", stat::HELPER_FAILED),
            ("entrance_full", stat::ENTRANCE_FULL),
            ("unfit", stat::UNFIT),
        ];
        let losing = self
            .spaces
            .values()
            .map(|space| space.cables.losing(space.index, &self.maps));
        let lost = self.lost.all() + losing.sum::<u64>();
        let counted = NAMES.into_iter().map(|(name, slot)| {
            let cpus = self
                .maps
                .stats
                .get(&slot, 0)
                .map_err(|e| DatapathError::map("STATS", e))?;
            Ok((name, cpus.iter().sum()))
        });
        counted.chain([Ok(("line_lost", lost))]).collect()
    }

    /// Packets that the lines of a fault's namespaces themselves have lost since it began, whatever fault they were for.
    pub fn line_lost(&self, id: FaultId) -> u64 {
        self.faults.get(&id).map_or(0, |record| {
            self.lost_around(record).saturating_sub(record.lost_before)
        })
    }

    /// The same since their lines were opened.
    fn lost_around(&self, record: &Record) -> u64 {
        let lost = |space: &u32| {
            let open = self.spaces.get(space)?;
            let waiting = match record.is_cabled(*space) {
                true => open.cables.lost(*space, &self.maps),
                false => 0,
            };
            Some(open.line.as_ref().map_or(0, Line::lost) + waiting)
        };
        record.lined_spaces().iter().filter_map(lost).sum()
    }

    /// Faults whose devices have all gone.
    pub fn gone(&mut self) -> Vec<(FaultId, String)> {
        let mut verdicts: HashMap<(u32, u32, Hook), bool> = HashMap::new();
        let mut gone = Vec::new();
        for (id, record) in &self.faults {
            let mut places = record
                .places
                .iter()
                .flat_map(|p| p.interfaces.iter().map(move |i| (p, i)))
                .peekable();
            if places.peek().is_none() {
                continue;
            }
            let alive = places.any(|(place, interface)| {
                *verdicts
                    .entry((place.space, interface.index, place.hook))
                    .or_insert_with(|| {
                        self.spaces
                            .get(&place.space)
                            .is_some_and(|space| space.alive(interface.index, place.hook))
                    })
            });
            if !alive {
                gone.push((*id, "every device it was attached to is gone".to_owned()));
            }
        }
        gone
    }

    /// A descriptor that becomes readable when there are [`Datapath::newcomers`].
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn newcomer_signal(&self) -> Result<OwnedFd, DatapathError> {
        let signal = self.maps.newcomers.as_fd().try_clone_to_owned();
        signal.map_err(|e| DatapathError::system("duplicate a descriptor", e))
    }

    /// Processes of targets that opened a socket where no programs are yet.
    pub fn newcomers(&mut self) -> Vec<u32> {
        let mut pids = Vec::new();
        while let Some(item) = self.maps.newcomers.next() {
            // netns_cookie: 8 bytes, then the process.
            const PROCESS: std::ops::Range<usize> = 8..12;
            if item.len() >= size_of::<Newcomer>()
                && let Ok(bytes) = item[PROCESS].try_into()
            {
                pids.push(u32::from_ne_bytes(bytes));
            }
        }
        pids
    }

    /// What can wait until nobody waits: passes on what the programs have logged, and has programs loaded ahead for
    /// the next namespace.
    pub fn tend(&mut self) {
        if let Some(logger) = &mut self.object.logger {
            logger.flush();
        }
        if let Err(error) = self.spare.refill(&self.object.loader, &mut self.free_spaces) {
            tracing::debug!(%error, "no programs could be loaded ahead; the next namespace takes longer");
        }
    }

    /// The tc programs of a namespace with armed faults (egress, ingress), and its XDP program if one is in
    /// use: for BPF_PROG_TEST_RUN.
    pub fn programs(&self, netns: &crate::target::Netns) -> Option<space::ProgramFds<'_>> {
        self.spaces
            .values()
            .find(|space| space.netns == *netns)
            .map(Space::program_fds)
    }

    /// Makes an epoch the current one: the instant of every change.
    fn publish(&mut self, epoch: u64) {
        self.maps.control.store(control::EPOCH, epoch);
        self.epoch = epoch;
    }
}

/// The hook in the API's words.
fn wire_hook(hook: Hook) -> WireHook {
    match hook {
        Hook::Egress => WireHook::TcEgress,
        Hook::Ingress => WireHook::TcIngress,
        Hook::Xdp => WireHook::Xdp,
    }
}

#[cfg(test)]
mod tests;

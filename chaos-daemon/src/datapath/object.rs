//! The embedded object: maps made once, programs loaded once for each target namespace.

use std::{os::fd::AsFd, sync::Arc};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, LpmTrie, Map, MapData, MapFd, PerCpuArray, ProgramArray, RingBuf, SkStorage},
    programs::{ProgramFd, SchedClassifier, Xdp},
};
use aya_log::EbpfLogger;
use chaos_ebpf_common::abi::{
    ABI_VERSION, AddressKey, Cable, Cell, CellKey, Counters, Daemon, Dns, FlowKey, Front, Http, Line,
    LineKey, Netns, Rule, Scope, ScopeKey, State, Tag, Wait, applications, control,
};
use chaos_ebpf_common::delay::Shape;

use super::{DatapathError, brake::Brake, exit::this_process, ledger::Ledger, line::Entrances};
use crate::sys::{
    bpf,
    bpffs::Bpffs,
    embedded,
    shared::{OnDemand, Words},
};

/// Maps that the programs of all namespaces share. `.rodata`, and with it the index of the namespace, is
/// each program's own.
const SHARED: [&str; 37] = [
    "CONTROL",
    "NETNS",
    "SCOPES",
    "CELLS",
    "CELL_FRONT",
    "SCOPE_FRONT",
    "RULES",
    "STATES",
    "SPENT",
    "FLOWS_SPENT",
    "BUDGETED_FLOWS",
    "COUNTERS",
    "STATS",
    "ADDRS",
    "GUARD_NETS",
    "GUARD_PORTS",
    "OWN_PORTS",
    "OWN_FLOWS",
    "FRAGMENTS",
    "NEWCOMERS",
    "KNOWN_NETNS",
    "LINES",
    "COVERED",
    "ENTRANCES",
    "CABLES",
    "WAITS",
    "SHAPES",
    "LAST_STAMP",
    "HOMES",
    "HTTP",
    "DNS",
    "REQUESTS",
    "PROGRAMS",
    "HEADS",
    "WORK",
    "TAGS",
    "AYA_LOGS",
];

/// Typed handles of the maps that the daemon writes or reads.
pub struct Maps {
    pub control: Arc<Words>,
    pub netns: Array<MapData, Netns>,
    pub scopes: HashMap<MapData, ScopeKey, Scope>,
    pub cells: HashMap<MapData, CellKey, Cell>,
    pub cell_front: Array<MapData, Front<CellKey>>,
    pub scope_front: Array<MapData, Front<ScopeKey>>,
    pub rules: Array<MapData, Rule>,
    /// The same, for other threads.
    pub brake: Brake,
    pub states: Array<MapData, State>,
    pub spent: Array<MapData, u64>,
    pub flows_spent: Array<MapData, u64>,
    pub ledger: Ledger,
    pub counters: PerCpuArray<MapData, Counters>,
    pub stats: PerCpuArray<MapData, u64>,
    pub addresses: LpmTrie<MapData, AddressKey, u32>,
    pub guard_nets: LpmTrie<MapData, AddressKey, u64>,
    pub guard_ports: Array<MapData, u64>,
    pub own_ports: HashMap<MapData, u32, u32>,
    /// Until somebody else takes care of it.
    pub own_flows: Option<HashMap<MapData, FlowKey, u32>>,
    pub newcomers: RingBuf<MapData>,
    pub known_netns: HashMap<MapData, u64, u32>,
    pub lines: HashMap<MapData, LineKey, Line>,
    pub covered: HashMap<MapData, LineKey, u32>,
    pub entrances: Arc<Entrances>,
    pub cables: HashMap<MapData, LineKey, Cable>,
    pub waits: Array<MapData, Wait>,
    pub shapes: Array<MapData, Shape>,
    pub homes: PerCpuArray<MapData, u64>,
    pub http: Array<MapData, Http>,
    pub dns: Array<MapData, Dns>,
    pub programs: ProgramArray<MapData>,
    /// `STATES` and `SPENT` as words, which lines share with the programs.
    pub state_words: OnDemand,
    pub spent_words: OnDemand,
    pub tags: SkStorage<MapData, Tag>,
}

/// How large the maps are.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Faults at the same time.
    pub faults: u32,
    /// Rules at the same time: a fault has one for each hook of each namespace, twice during a change.
    pub rules: u32,
}

/// Programs of one target namespace.
pub struct Programs {
    pub egress: ProgramFd,
    pub ingress: ProgramFd,
    pub back: ProgramFd,
}

/// Loads programs that share the maps; each thread that loads has one of its own.
#[derive(Clone)]
pub struct Loader {
    bpffs: Arc<Bpffs>,
    sizes: Sizes,
    /// aya-log level; 0 = off, costing nothing.
    log_level: u8,
    daemon: Daemon,
}

/// The object, its maps and the place where the programs find them.
pub struct Object {
    /// Programs of namespaces.
    pub loader: Loader,
    /// Tags the sockets of target cgroups.
    pub tagger: ProgramFd,
    /// Log records of all programs.
    pub logger: Option<EbpfLogger<&'static dyn log::Log>>,
}

/// What [`Object::open`] came to.
pub struct Opened {
    pub object: Object,
    pub maps: Maps,
    /// Sees the daemon die; some hosts refuse it, and do without.
    pub exit: Result<ProgramFd, DatapathError>,
}

impl Object {
    /// Makes the maps and loads what does not belong to a namespace.
    pub fn open(sizes: Sizes, log: bool) -> Result<Opened, DatapathError> {
        let bpffs = Bpffs::new().map_err(|e| DatapathError::system("make a BPF file system", e))?;
        let loader = Loader {
            bpffs: Arc::new(bpffs),
            sizes,
            log_level: if log { 5 } else { 0 },
            daemon: this_process(),
        };
        let mut ebpf = loader.load(0)?;
        let tagger = program::<aya::programs::CgroupSock>(&mut ebpf, "chaos_tag")?;
        let exit = program::<aya::programs::RawTracePoint>(&mut ebpf, "chaos_exit");
        let logger = match log {
            true => Some(EbpfLogger::init(&mut ebpf).map_err(|e| DatapathError::map("AYA_LOGS", e))?),
            false => None,
        };
        let maps = Maps::take(&mut ebpf, sizes)?;
        Ok(Opened {
            object: Self {
                loader,
                tagger,
                logger,
            },
            maps,
            exit,
        })
    }

    /// A loaded tc program as aya's own type, for the netlink way of attaching. aya takes a program that it has not
    /// loaded itself from a file only.
    pub fn classifier(&self, program: &ProgramFd) -> Result<SchedClassifier, DatapathError> {
        let path = self.loader.bpffs.path("classifier");
        let failed = |e: std::io::Error| DatapathError::system("hand a program to netlink", e);
        bpf::pin(program.as_fd(), &path).map_err(failed)?;
        let taken = SchedClassifier::from_pin(&path).map_err(|e| failed(std::io::Error::other(e)));
        std::fs::remove_file(&path).map_err(failed)?;
        taken
    }
}

impl Loader {
    /// The tc programs of the namespace with this index.
    pub fn programs(&self, index: u32) -> Result<Programs, DatapathError> {
        let mut ebpf = self.load(index)?;
        Ok(Programs {
            egress: program::<SchedClassifier>(&mut ebpf, "chaos_egress")?,
            ingress: program::<SchedClassifier>(&mut ebpf, "chaos_ingress")?,
            back: program::<SchedClassifier>(&mut ebpf, "chaos_back")?,
        })
    }

    /// The programs that look into payloads, with their places in `PROGRAMS`. They belong to no namespace.
    pub fn applications(&self) -> Result<[(u32, ProgramFd); 3], DatapathError> {
        let mut ebpf = self.load(0)?;
        Ok([
            (
                applications::LOOK,
                program::<SchedClassifier>(&mut ebpf, "chaos_look")?,
            ),
            (
                applications::ACT,
                program::<SchedClassifier>(&mut ebpf, "chaos_act")?,
            ),
            (
                applications::ANSWER,
                program::<SchedClassifier>(&mut ebpf, "chaos_answer")?,
            ),
        ])
    }

    /// The programs of all kernel lines: what sends packets into them, and what turns them at the far end.
    pub fn waits(&self) -> Result<[ProgramFd; 3], DatapathError> {
        let mut ebpf = self.load(0)?;
        Ok([
            program::<SchedClassifier>(&mut ebpf, "chaos_wait")?,
            program::<SchedClassifier>(&mut ebpf, "chaos_turn")?,
            program::<SchedClassifier>(&mut ebpf, "chaos_stay")?,
        ])
    }

    /// The program at the near end of the kernel lines of the namespace with this index.
    pub fn resume(&self, index: u32) -> Result<ProgramFd, DatapathError> {
        program::<SchedClassifier>(&mut self.load(index)?, "chaos_resume")
    }

    /// The XDP program of the namespace with this index.
    pub fn xdp(&self, index: u32) -> Result<ProgramFd, DatapathError> {
        program::<Xdp>(&mut self.load(index)?, "chaos_xdp")
    }

    fn load(&self, index: u32) -> Result<Ebpf, DatapathError> {
        let mut loader = EbpfLoader::new();
        for name in SHARED {
            loader.map_pin_path(name, self.bpffs.path(name));
        }
        loader
            .map_max_entries("RULES", self.sizes.rules)
            .map_max_entries("STATES", self.sizes.rules)
            .map_max_entries("SPENT", self.sizes.faults)
            .map_max_entries("FLOWS_SPENT", self.sizes.faults)
            .map_max_entries("COUNTERS", self.sizes.faults)
            .override_global("NETNS_INDEX", &index, true)
            .override_global("DAEMON", &self.daemon, true)
            .override_global("ABI_VERSION", &ABI_VERSION, true)
            .override_global("AYA_LOG_LEVEL", &self.log_level, false);
        let loaded = loader.load(embedded::object());
        embedded::let_go_of_object();
        loaded.map_err(|error| DatapathError::Load {
            program: "the object".into(),
            summary: telling(&error),
        })
    }
}

/// Loads one program and keeps nothing but its descriptor.
fn program<P>(ebpf: &mut Ebpf, name: &str) -> Result<ProgramFd, DatapathError>
where
    P: Loadable,
    for<'a> &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = aya::programs::ProgramError>,
{
    let refused = |error: &dyn std::error::Error| {
        tracing::debug!(program = name, %error, "refused");
        DatapathError::Load {
            program: name.to_owned(),
            summary: telling(error),
        }
    };
    let program = ebpf.program_mut(name).ok_or_else(|| DatapathError::Load {
        program: name.to_owned(),
        summary: "not in the object".to_owned(),
    })?;
    let program: &mut P = program
        .try_into()
        .map_err(|e: aya::programs::ProgramError| refused(&e))?;
    program.load().map_err(|e| refused(&e))?;
    program.descriptor().map_err(|e| refused(&e))
}

/// What the loader needs of aya's program types, which share no trait of their own.
trait Loadable {
    fn load(&mut self) -> Result<(), aya::programs::ProgramError>;
    fn descriptor(&self) -> Result<ProgramFd, aya::programs::ProgramError>;
}

macro_rules! loadable {
    ($($type:ty),*) => {$(
        impl Loadable for $type {
            fn load(&mut self) -> Result<(), aya::programs::ProgramError> {
                <$type>::load(self)
            }
            fn descriptor(&self) -> Result<ProgramFd, aya::programs::ProgramError> {
                Ok(self.fd()?.try_clone()?)
            }
        }
    )*};
}
loadable!(
    SchedClassifier,
    Xdp,
    aya::programs::CgroupSock,
    aya::programs::RawTracePoint
);

/// The innermost cause, and of a verifier log its last line that says something.
fn telling(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let text = error.to_string();
    let last = text.lines().rev().find(|line| {
        let statistic = ["processed ", "verification time", "stack depth"];
        !line.trim().is_empty() && !statistic.iter().any(|word| line.starts_with(word))
    });
    match last {
        Some(line) if text.lines().count() > 1 => format!("{cause}: {}", line.trim()),
        _ if cause.to_string() == text => text,
        _ => format!("{text}: {cause}"),
    }
}

/// The descriptor of an array that is not taken yet.
fn fd<'e>(ebpf: &'e Ebpf, name: &'static str) -> Result<&'e MapFd, DatapathError> {
    match ebpf.map(name) {
        Some(Map::Array(map)) => Ok(map.fd()),
        _ => Err(DatapathError::map(name, "not in the object")),
    }
}

impl Maps {
    fn take(ebpf: &mut Ebpf, sizes: Sizes) -> Result<Self, DatapathError> {
        macro_rules! take {
            ($name:literal) => {
                ebpf.take_map($name)
                    .ok_or_else(|| DatapathError::map($name, "not in the object"))?
                    .try_into()
                    .map_err(|e: aya::maps::MapError| DatapathError::map($name, e))?
            };
        }
        let words = |name, count| {
            Words::map(fd(ebpf, name)?, count)
                .map_err(|e| DatapathError::system(format!("map {name} into memory"), e))
        };
        let reopened = |e| DatapathError::system("open a map again", e);
        let brake = Brake::open(fd(ebpf, "RULES")?)?;
        let control = words("CONTROL", control::WORDS)?;
        let entrances = words("ENTRANCES", Entrances::words())?;
        let state_words = OnDemand::new(fd(ebpf, "STATES")?, sizes.rules * 2).map_err(reopened)?;
        let spent_words = OnDemand::new(fd(ebpf, "SPENT")?, sizes.faults).map_err(reopened)?;
        Ok(Self {
            control: Arc::new(control),
            netns: take!("NETNS"),
            scopes: take!("SCOPES"),
            cells: take!("CELLS"),
            cell_front: take!("CELL_FRONT"),
            scope_front: take!("SCOPE_FRONT"),
            rules: take!("RULES"),
            brake,
            states: take!("STATES"),
            spent: take!("SPENT"),
            flows_spent: take!("FLOWS_SPENT"),
            ledger: Ledger::open(take!("BUDGETED_FLOWS"))?,
            counters: take!("COUNTERS"),
            stats: take!("STATS"),
            addresses: take!("ADDRS"),
            guard_nets: take!("GUARD_NETS"),
            guard_ports: take!("GUARD_PORTS"),
            own_ports: take!("OWN_PORTS"),
            own_flows: Some(take!("OWN_FLOWS")),
            newcomers: take!("NEWCOMERS"),
            known_netns: take!("KNOWN_NETNS"),
            lines: take!("LINES"),
            covered: take!("COVERED"),
            entrances: Arc::new(Entrances::new(entrances)),
            cables: take!("CABLES"),
            waits: take!("WAITS"),
            shapes: take!("SHAPES"),
            homes: take!("HOMES"),
            http: take!("HTTP"),
            dns: take!("DNS"),
            programs: take!("PROGRAMS"),
            state_words,
            spent_words,
            tags: take!("TAGS"),
        })
    }
}

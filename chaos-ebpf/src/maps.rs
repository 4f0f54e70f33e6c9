//! Every map. Sizes marked "at load" are set by the daemon; all but the constants and the scratch space
//! are shared by the programs of all namespaces.

use aya_ebpf::{
    Global,
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, bpf_sock},
    helpers::bpf_sk_storage_get,
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray, RingBuf},
};
use chaos_ebpf_common::abi::{
    AddressKey, BudgetedFlow, Cable, Cell, CellKey, Counters, Daemon, Dns, Entrance, FlowKey, FragmentKey,
    Front, Http, Line, LineKey, MAX_FLOWS, NETNS_MAX, Netns, RequestKey, RequestMemory, Rule, Scope,
    ScopeKey, State, Tag, Wait, applications, control, stat, waits,
};
use chaos_ebpf_common::cut::PIECE_ROOM;
use chaos_ebpf_common::delay::Shape;
use chaos_ebpf_common::front::{CELL_PLACES, Known, Placed, SCOPE_PLACES, read};
use chaos_ebpf_common::guard::PORT_SLOTS;
use chaos_ebpf_common::line;
use core::ffi::c_void;

use crate::{application::Buffer, work::Desk};

/// Which layout this object speaks; the daemon refuses another.
#[unsafe(no_mangle)]
pub static ABI_VERSION: Global<u32> = Global::new(chaos_ebpf_common::abi::ABI_VERSION);

/// Index into [`NETNS`] of the namespace these programs are attached in, set at load.
#[unsafe(no_mangle)]
pub static NETNS_INDEX: Global<u32> = Global::new(0);

/// The process at whose end all ends, set at load.
#[unsafe(no_mangle)]
pub static DAEMON: Global<Daemon> = Global::new(Daemon {
    process: 0,
    pid_namespace_device: 0,
    pid_namespace_inode: 0,
});

#[map]
pub static CONTROL: Array<[u64; control::WORDS as usize]> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static NETNS: Array<Netns> = Array::with_max_entries(NETNS_MAX, 0);
#[map]
pub static SCOPES: HashMap<ScopeKey, Scope> = HashMap::with_max_entries(1 << 20, BPF_F_NO_PREALLOC);
#[map]
pub static CELLS: HashMap<CellKey, Cell> = HashMap::with_max_entries(1 << 20, BPF_F_NO_PREALLOC);
/// What stands before `CELLS`.
#[map]
pub static CELL_FRONT: Array<Front<CellKey>> = Array::with_max_entries(CELL_PLACES, 0);
/// What stands before `SCOPES`.
#[map]
pub static SCOPE_FRONT: Array<Front<ScopeKey>> = Array::with_max_entries(SCOPE_PLACES, 0);
/// Size at load.
#[map]
pub static RULES: Array<Rule> = Array::with_max_entries(64, 0);
/// Size at load, as `RULES`.
#[map]
pub static STATES: Array<State> = Array::with_max_entries(64, BPF_F_MMAPABLE);
/// Packets spent of a fault's budget. Size at load.
#[map]
pub static SPENT: Array<u64> = Array::with_max_entries(64, BPF_F_MMAPABLE);
/// Flows spent of a fault's budget. Size at load, as `SPENT`.
#[map]
pub static FLOWS_SPENT: Array<u64> = Array::with_max_entries(64, 0);
/// Flows that faults with such a budget act on.
#[map]
pub static BUDGETED_FLOWS: HashMap<BudgetedFlow, u32> =
    HashMap::with_max_entries(4 * MAX_FLOWS, BPF_F_NO_PREALLOC);
/// Size at load, as `SPENT`.
#[map]
pub static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(64, 0);
#[map]
pub static STATS: PerCpuArray<u64> = PerCpuArray::with_max_entries(stat::SLOTS, 0);
#[map]
pub static ADDRS: LpmTrie<AddressKey, u32> = LpmTrie::with_max_entries(1 << 20, BPF_F_NO_PREALLOC);
/// Guards of networks, as bits.
#[map]
pub static GUARD_NETS: LpmTrie<AddressKey, u64> = LpmTrie::with_max_entries(4096, BPF_F_NO_PREALLOC);
/// Guards of ports, as bits.
#[map]
pub static GUARD_PORTS: Array<u64> = Array::with_max_entries(PORT_SLOTS, 0);
/// Local ports of the daemon's own sockets, protocol in the high half.
#[map]
pub static OWN_PORTS: HashMap<u32, u32> = HashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);
/// Connections of the daemon's health checks, wherever they are seen.
#[map]
pub static OWN_FLOWS: HashMap<FlowKey, u32> = HashMap::with_max_entries(1 << 16, BPF_F_NO_PREALLOC);
/// Ports of datagrams whose later fragments are still to come: source in the high half.
#[map]
pub static FRAGMENTS: LruHashMap<FragmentKey, u32> = LruHashMap::with_max_entries(4096, 0);
/// [`chaos_ebpf_common::abi::Newcomer`] records.
#[map]
pub static NEWCOMERS: RingBuf = RingBuf::with_byte_size(1 << 16, 0);
/// Lines, by device.
#[map]
pub static LINES: HashMap<LineKey, Line> = HashMap::with_max_entries(4096, BPF_F_NO_PREALLOC);
/// Devices whose packets pass another device as well.
#[map]
pub static COVERED: HashMap<LineKey, u32> = HashMap::with_max_entries(4096, BPF_F_NO_PREALLOC);
/// How full their entrances are.
#[map]
pub static ENTRANCES: Array<Entrance> = Array::with_max_entries(line::ENTRANCES, BPF_F_MMAPABLE);
/// How long packets wait on the kernel line, by rule.
#[map]
pub static WAITS: Array<Wait> = Array::with_max_entries(waits::RULES, 0);
/// How their jitter is spread.
#[map]
pub static SHAPES: Array<Shape> = Array::with_max_entries(waits::SHAPES, 0);
/// The last packet of a flow that keeps its order there: a [`chaos_ebpf_common::home::Last`].
#[map]
pub static LAST_STAMP: LruHashMap<u64, u64> = LruHashMap::with_max_entries(waits::FLOWS, 0);
/// Where packets wait that come to the hook on this CPU: a [`chaos_ebpf_common::home::Home`].
#[map]
pub static HOMES: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);
/// The kernel line, by device.
#[map]
pub static CABLES: HashMap<LineKey, Cable> = HashMap::with_max_entries(4096, BPF_F_NO_PREALLOC);
/// Cookies of namespaces that have programs.
#[map]
pub static KNOWN_NETNS: HashMap<u64, u32> = HashMap::with_max_entries(NETNS_MAX, BPF_F_NO_PREALLOC);

/// What `http` rules say beyond their filter.
#[map]
pub static HTTP: Array<Http> = Array::with_max_entries(applications::HTTP, 0);
/// The same of `dns` rules.
#[map]
pub static DNS: Array<Dns> = Array::with_max_entries(applications::DNS, 0);
/// The last request of each connection.
#[map]
pub static REQUESTS: LruHashMap<RequestKey, RequestMemory> =
    LruHashMap::with_max_entries(applications::REQUESTS, 0);
/// Programs that take the place of another; see [`applications`].
#[map]
pub static PROGRAMS: ProgramArray = ProgramArray::with_max_entries(applications::PROGRAMS, 0);
/// The beginning of a payload, and room to put an answer together.
#[map]
pub static HEADS: PerCpuArray<Buffer> = PerCpuArray::with_max_entries(1, 0);

/// Scratch space.
#[map]
pub static WORK: PerCpuArray<Desk> = PerCpuArray::with_max_entries(1, 0);

/// Payload of a piece of a super-packet, on its way to its place.
#[map]
pub static PIECE: PerCpuArray<[u8; PIECE_ROOM as usize]> = PerCpuArray::with_max_entries(1, 0);

/// Socket storage. Written as a BTF definition by hand: aya's own type has no room for
/// `BPF_F_CLONE`, by which accepted sockets inherit the tag of their listener.
#[repr(C)]
pub struct Tags {
    r#type: *const [i32; 24],
    key: *const i32,
    value: *const Tag,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; 0x201],
}

// SAFETY: never read by the program itself; the loader replaces references to it by a map.
unsafe impl Sync for Tags {}

#[unsafe(link_section = ".maps")]
#[unsafe(export_name = "TAGS")]
pub static TAGS: Tags = Tags {
    r#type: core::ptr::null(),
    key: core::ptr::null(),
    value: core::ptr::null(),
    max_entries: core::ptr::null(),
    map_flags: core::ptr::null(),
};

impl Tags {
    /// The tag of a socket, or null.
    #[inline(always)]
    pub fn get(&self, socket: *mut bpf_sock) -> *const Tag {
        // SAFETY: the loader makes this address a map of socket storage; the verifier checks the socket.
        unsafe { bpf_sk_storage_get(self.map(), socket.cast(), core::ptr::null_mut(), 0) as *const Tag }
    }

    /// Tags a socket.
    #[inline(always)]
    pub fn set(&self, socket: *mut bpf_sock, tag: &mut Tag) {
        const CREATE: u64 = aya_ebpf::bindings::BPF_SK_STORAGE_GET_F_CREATE as u64;
        // SAFETY: as above; the helper copies the tag.
        unsafe { bpf_sk_storage_get(self.map(), socket.cast(), core::ptr::from_mut(tag).cast(), CREATE) };
    }

    #[inline(always)]
    fn map(&self) -> *mut c_void {
        core::ptr::from_ref(self).cast_mut().cast()
    }
}

/// What an array of fronts knows of a key.
#[inline(always)]
pub fn known<K: Placed>(fronts: &Array<Front<K>>, key: &K) -> Known {
    let Some(front) = fronts.get_ptr(key.place()) else {
        return Known::Ask;
    };
    // SAFETY: a map value; volatile, since userspace writes it.
    let value = || unsafe { core::ptr::read_volatile(&raw const (*front).value) };
    // SAFETY: as above.
    let filed = || unsafe { core::ptr::read_volatile(&raw const (*front).key) };
    read(value(), key, filed, value)
}

/// The words of [`CONTROL`].
#[derive(Clone, Copy)]
pub struct Control(*mut u64);

impl Control {
    /// Finds them.
    #[inline(always)]
    pub fn get() -> Option<Self> {
        Some(Self(CONTROL.get_ptr_mut(0)?.cast()))
    }

    /// Reads a word, one of [`control`].
    #[inline(always)]
    pub fn read(self, word: u32) -> u64 {
        // SAFETY: inside of a map value; volatile, because userspace writes it at any time.
        unsafe { core::ptr::read_volatile(self.0.add(word as usize)) }
    }

    /// Writes a word, one of [`control`].
    #[inline(always)]
    pub fn write(self, word: u32, value: u64) {
        // SAFETY: as above.
        unsafe { core::ptr::write_volatile(self.0.add(word as usize), value) }
    }
}

/// Adds one to a statistic.
#[inline(always)]
pub fn count(slot: u32) {
    if let Some(value) = STATS.get_ptr_mut(slot) {
        // SAFETY: a per-CPU map value; programs do not migrate while they run.
        unsafe { *value += 1 };
    }
}

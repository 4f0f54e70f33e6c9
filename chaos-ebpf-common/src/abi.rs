//! What userspace and the kernel programs both read: map values, keys and their limits.
//!
//! Everything is `repr(C)` with explicit padding; sizes are asserted in `layout`, and
//! [`ABI_VERSION`] is part of the object, so a daemon never drives programs of another layout.

use crate::address::{Address, Prefix};

/// Raised with every change of a layout in this file.
pub const ABI_VERSION: u32 = 13;

/// Candidate rules one index cell can hold (see [`Cell`]).
pub const CELL_RULES: usize = 31;
/// Rules that one packet can match; further ones, later in order of creation, are left out and counted.
pub const MATCH_MAX: usize = 16;
/// Port ranges per side held in one rule; the planner splits longer lists into several rules.
pub const RANGES: usize = 8;
/// Prefixes held in the rule itself; longer lists live in the `ADDRS` trie.
pub const PREFIXES: usize = 4;
/// Deepest cgroup level that a socket tag records (the root is level 0).
pub const CGROUP_LEVELS: usize = 16;
/// Target namespaces that can be armed at the same time.
pub const NETNS_MAX: u32 = 1024;
/// Flows that one fault may have in its budget.
pub const MAX_FLOWS: u32 = 1 << 16;

/// Words of the one value of the `CONTROL` array, which userspace maps into its memory and writes word by word.
pub mod control {
    /// The heartbeat lease: CLOCK_MONOTONIC nanoseconds after which every rule is void. 0 = halted.
    pub const LEASE: u32 = 0;
    /// The published epoch: a rule acts while `from_epoch <= epoch < until_epoch`.
    pub const EPOCH: u32 = 1;
    /// CLOCK_BOOTTIME minus CLOCK_MONOTONIC, nanoseconds.
    pub const BOOT_OFFSET: u32 = 2;
    /// As `GUARD_PORTS`, of addresses in the `GUARD_NETS` trie; see [`crate::guard::address_hint`].
    pub const GUARD_NETS: u32 = 3;
    /// Bit n set: some port p with p % 64 = n is guarded.
    pub const GUARD_PORTS: u32 = 4;
    /// Connections of the daemon's health checks in `OWN_FLOWS`.
    pub const OWN_FLOWS: u32 = 5;
    /// Non-zero once the daemon's process has begun to die.
    pub const DYING: u32 = 6;
    /// How many kernel lines there are for packets that wait.
    pub const CABLES: u32 = 7;
    /// Number of words.
    pub const WORDS: u32 = 8;
}

/// A process, as one PID namespace numbers it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Its number there.
    pub process: u64,
    /// The kernel's own number of the device that the namespace's inode is on: major << 20 | minor.
    pub pid_namespace_device: u64,
    /// Inode of the namespace.
    pub pid_namespace_inode: u64,
}

/// Which hook a program runs at; also the direction as the target sees it.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// tc egress of a device: packets that leave the target.
    Egress = 0,
    /// tc ingress of a device: packets that arrive.
    Ingress = 1,
    /// XDP: packets that arrive, before the stack sees them.
    Xdp = 2,
}

/// Rules that one packet can take to the line; see [`LineNote`].
pub const LINE_RULES: usize = 10;

/// VLAN tags that a packet can take to the line.
pub const VLAN_TAGS: usize = 2;

/// The bit of `LineNote::tags` that says of tag 0 that it is a service tag.
pub const SERVICE_TAG: u16 = 1 << 8;

/// The bit of `LineNote::tags` that says that the packet itself waits with its socket, so that its sender is held back.
pub const HELD_BACK: u16 = 1 << 15;

/// The bit of an entry of `LineNote::rules` that says that the packet follows one that waits for the rule.
pub const FOLLOWS: u32 = 1 << 31;

/// Number of hooks.
pub const HOOKS: usize = 3;

/// What one hook of one namespace has to look at. All zero: nothing armed here.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// Scope that every packet of the namespace belongs to; 0 = none.
    pub scope: Scope,
    /// Bit n set: a cgroup at level n is a target.
    pub cgroup_levels: u32,
    /// Non-zero: a process is a target.
    pub processes: u32,
}

/// A set of rules: one namespace, cgroup or process at one hook.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Scope number, from 1; below 2^24.
    pub id: u32,
    /// Bit n set: the scope has cells of shape n (see [`crate::index::Shape`]).
    pub shapes: u32,
}

/// Value of the `NETNS` array: what is armed in one namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Netns {
    /// Indexed by [`Hook`].
    pub sides: [Side; HOOKS],
    /// 1 when this is the daemon's own namespace, whose sockets the guard protects.
    pub own: u32,
    /// Devices of this namespace that have a line.
    pub lines: u32,
    /// Devices of this namespace that have programs and are in `COVERED`.
    pub covered: u32,
}

/// Set in the index of a device, as rules see it, whose packets pass another one of the namespace as well: a bridge
/// beside its ports, a VLAN beside the device below it, a port of a bond. A rule that names no device means the other one.
pub const COVERED: u32 = 1 << 31;

/// What a [`ScopeKey`] names.
pub mod scope_kind {
    /// `id` is a cgroup id.
    pub const CGROUP: u32 = 0;
    /// `id` is a process id.
    pub const PROCESS: u32 = 1;
}

/// Key of the `SCOPES` hash: a cgroup or a process, in one namespace, at one hook.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ScopeKey {
    /// cgroup id or process id.
    pub id: u64,
    /// Index into `NETNS`.
    pub netns: u32,
    /// [`scope_kind`] in the low half, [`Hook`] in the high half.
    pub kind_hook: u32,
}

impl ScopeKey {
    /// The key of a cgroup or process scope.
    #[inline(always)]
    pub fn new(kind: u32, id: u64, netns: u32, hook: u32) -> Self {
        Self {
            id,
            netns,
            kind_hook: kind | hook << 16,
        }
    }
}

/// Key of the `CELLS` hash; see [`crate::index`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CellKey {
    /// Scope id, with the shape in the top 8 bits.
    pub scope_shape: u32,
    /// Local port, or 0.
    pub local_port: u16,
    /// Remote port, or 0.
    pub remote_port: u16,
    /// Remote address, or zero.
    pub remote: Address,
}

/// Value of the `CELLS` hash: the rules a packet of this cell could match, in no order.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// How many of `slots` are used.
    pub len: u32,
    /// Indices into `RULES`.
    pub slots: [u32; CELL_RULES],
}

impl Default for Cell {
    fn default() -> Self {
        Self {
            len: 0,
            slots: [0; CELL_RULES],
        }
    }
}

/// Value of the `CELL_FRONT` and `SCOPE_FRONT` arrays: what stands before a hash. See [`crate::front`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Front<K> {
    /// Whose answer this is, or the marks of several.
    pub key: K,
    /// The answer: [`crate::front::NONE`], [`crate::front::ASK`], [`crate::front::SHARED`], or what the one entry here says.
    pub value: u64,
}

/// Inclusive port range, host byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// First port.
    pub first: u16,
    /// Last port.
    pub last: u16,
}

impl Ports {
    /// No port is in it: what unused entries of a rule hold.
    pub const NONE: Self = Self { first: 1, last: 0 };
}

/// Protocols a rule can name.
pub mod protocol {
    use network_types::ip::IpProto;

    /// Every protocol.
    pub const ANY: u8 = 0;
    /// ICMP, and ICMPv6 for IPv6.
    pub const ICMP: u8 = IpProto::Icmp as u8;
    /// TCP.
    pub const TCP: u8 = IpProto::Tcp as u8;
    /// UDP.
    pub const UDP: u8 = IpProto::Udp as u8;
    /// ICMPv6 on the wire; a rule says [`ICMP`].
    pub const ICMPV6: u8 = IpProto::Ipv6Icmp as u8;
}

/// Which part of a TCP connection a rule names.
pub mod connections {
    /// Every packet.
    pub const ANY: u8 = 0;
    /// SYN segments: packets that set a connection up.
    pub const NEW: u8 = 1;
    /// Every other TCP segment.
    pub const ESTABLISHED: u8 = 2;
}

/// Faults, as bits of [`Rule::faults`], in the order in which they are applied.
pub mod fault {
    /// Everything is lost.
    pub const PARTITION: u32 = 1 << 0;
    /// Everything is answered with a refusal.
    pub const REJECT: u32 = 1 << 1;
    /// Established TCP flows are torn down at both ends.
    pub const RESET: u32 = 1 << 2;
    /// Packets are lost.
    pub const DROP: u32 = 1 << 3;
    /// Packets arrive twice.
    pub const DUPLICATE: u32 = 1 << 4;
    /// One bit of the payload is flipped.
    pub const CORRUPT: u32 = 1 << 5;
    /// Packets come later. On the line only.
    pub const DELAY: u32 = 1 << 6;
    /// Some packets do not wait. On the line only.
    pub const REORDER: u32 = 1 << 7;
    /// No more than a rate. On the line only.
    pub const BANDWIDTH: u32 = 1 << 8;
    /// Requests of HTTP are answered, or wait.
    pub const HTTP: u32 = 1 << 9;
    /// Questions of DNS are answered, or wait.
    pub const DNS: u32 = 1 << 10;
}

/// Bits of [`Rule::flags`].
pub mod flags {
    /// `reject.with: icmp` instead of a TCP reset.
    pub const REJECT_ICMP: u8 = 1 << 0;
    /// `drop.signal: local`: the sender is told, as a full qdisc would.
    pub const SIGNAL_LOCAL: u8 = 1 << 1;
    /// The rule is carried out on the line.
    pub const LINE: u8 = 1 << 2;
    /// It is carried out on the line for flows that travel as super-packets, so that chances are of wire packets.
    pub const LINE_BULK: u8 = 1 << 3;
    /// The fault acts on [`super::Rule::max_flows`] flows only.
    pub const MAX_FLOWS: u8 = 1 << 4;
    /// The kernel line can carry it out.
    pub const WAIT: u8 = 1 << 5;
    /// The user line can be had: a super-packet that the rule's way does not suit passes, and is counted as
    /// [`super::Counters::unfit`], until the daemon has all of the rule's packets go by that.
    pub const REFIT: u8 = 1 << 6;
    /// Super-packets are cut at the hook when one of their wire packets is hit; see [`crate::cut`].
    pub const CUT: u8 = 1 << 7;
}

/// How a rule looks at the remote address.
pub mod remote {
    /// Any address.
    pub const ANY: u8 = 0;
    /// The prefixes in the rule.
    pub const INLINE: u8 = 1;
    /// The `ADDRS` trie, under [`super::Rule::address_set`]; the longest prefix decides.
    pub const TRIE: u8 = 2;
    /// Exact addresses, found by the index cell alone.
    pub const CELL: u8 = 3;
}

/// Loss models; see [`crate::loss`].
pub mod loss {
    /// Each packet on its own: `chance`.
    pub const CHANCE: u8 = 0;
    /// Every n-th packet: `every`.
    pub const EVERY: u8 = 1;
    /// A chain of two states: `p`, `r`, `h`, `k`. Correlated loss is such a chain, too.
    pub const GILBERT_ELLIOTT: u8 = 2;
    /// netem's correlated numbers: `chance`, and the correlation in `leave`.
    pub const NETEM: u8 = 3;
}

/// Parameters of `drop`. Probabilities are 0..=2^32, 2^32 = certain.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Independent loss, or the first transition: good to bad (p).
    pub chance: u64,
    /// Bad to good (r); netem's correlation.
    pub leave: u64,
    /// Loss in the bad state (1-h).
    pub bad: u64,
    /// Loss in the good state (1-k).
    pub good: u64,
    /// Every n-th packet.
    pub every: u32,
    /// One of [`loss`].
    pub model: u8,
    /// Always 0.
    pub _pad: [u8; 3],
}

/// Value of the `RULES` array: one fault at one hook of one target. Written once; a change of the
/// fault writes a new rule and moves the epoch, so no packet ever meets half of a change.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// First epoch at which the rule acts; 0 = the slot is empty.
    pub from_epoch: u64,
    /// First epoch at which it no longer acts.
    pub until_epoch: u64,
    /// CLOCK_BOOTTIME nanoseconds at which it ends by itself.
    pub deadline: u64,
    /// Seed of all its decisions.
    pub seed: u64,
    /// Packets it may affect; u64::MAX = no budget.
    pub budget: u64,
    /// Flows it may act on; with [`flags::MAX_FLOWS`] only.
    pub max_flows: u64,
    /// Number of the fault, never used again.
    pub id: u64,
    /// Position in the order of creation of faults: rules act in ascending order.
    pub order: u32,
    /// Index into `FAULTS` and `COUNTERS`.
    pub fault: u32,
    /// Index into `STATES`.
    pub state: u32,
    /// Index of the device; 0 = any but the loopback and those that are [`COVERED`].
    pub ifindex: u32,
    /// Bits of [`fault`].
    pub faults: u32,
    /// Set number in the `ADDRS` trie.
    pub address_set: u32,
    /// Index into `HTTP`, `DNS` or `WAITS`.
    pub application: u32,
    /// Always 0.
    pub _pad2: u32,
    /// Share of flows, 0..=2^32.
    pub flows: u64,
    /// Share of packets that are rejected, 0..=2^32.
    pub reject: u64,
    /// Share of flows that are reset, 0..=2^32.
    pub reset: u64,
    /// Share of packets that are duplicated, 0..=2^32.
    pub duplicate: u64,
    /// Share of packets that are corrupted, 0..=2^32.
    pub corrupt: u64,
    /// Parameters of `drop`.
    pub drop: Loss,
    /// One of [`protocol`].
    pub protocol: u8,
    /// One of [`connections`].
    pub connections: u8,
    /// Bits of [`flags`].
    pub flags: u8,
    /// One of [`remote`].
    pub remote: u8,
    /// Used entries of `local_ports`; 0 = any port.
    pub local_ranges: u8,
    /// Used entries of `remote_ports`; 0 = any port.
    pub remote_ranges: u8,
    /// Used entries of `prefixes`.
    pub prefix_count: u8,
    /// Always 0.
    pub _pad: u8,
    /// Guards, as bits, that do not hold for this rule; see [`crate::guard`].
    pub unguard: u64,
    /// Local ports; unused entries are [`Ports::NONE`].
    pub local_ports: [Ports; RANGES],
    /// Remote ports; unused entries are [`Ports::NONE`].
    pub remote_ports: [Ports; RANGES],
    /// Remote prefixes; unused entries are [`Prefix::NONE`].
    pub prefixes: [Prefix; PREFIXES],
}

/// Key of `BUDGETED_FLOWS`: a flow that a fault with a budget of flows acts on.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetedFlow {
    /// [`Rule::id`].
    pub fault: u64,
    /// [`crate::flow::Flow::number`].
    pub flow: u64,
}

/// Value of the `STATES` array: what a rule remembers between packets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Wire packets decided so far: the counter of the random generator.
    pub sequence: u64,
    /// Memory of the loss model.
    pub chain: u64,
}

/// Value of the `COUNTERS` per-CPU array, in wire packets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that met the rule's filter.
    pub matched: u64,
    /// Lost.
    pub dropped: u64,
    /// Sent twice.
    pub duplicated: u64,
    /// One bit flipped.
    pub corrupted: u64,
    /// Torn down by reset.
    pub reset: u64,
    /// Answered with a refusal.
    pub rejected: u64,
    /// Met the filter, but could not be treated (for instance no payload to corrupt).
    pub unseen: u64,
    /// Came as part of a super-packet (GSO or GRO).
    pub aggregated: u64,
    /// Requests and questions that were answered.
    pub answered: u64,
    /// Requests and questions that were sent into the line to wait.
    pub delayed: u64,
    /// Began a record of TLS, where requests were looked for.
    pub tls: u64,
    /// Began HTTP/2, likewise.
    pub http2: u64,
    /// Held a part of a request, likewise.
    pub split: u64,
    /// Passed as part of a super-packet that the rule's way does not suit; see [`flags::REFIT`].
    pub unfit: u64,
}

/// Slots of the per-CPU `STATS` array of u64.
pub mod stat {
    /// Packets in an armed scope that could not be parsed.
    pub const UNCLASSIFIED: u32 = 0;
    /// Later fragments whose first fragment was not seen.
    pub const ORPHAN_FRAGMENTS: u32 = 1;
    /// Packets that met a rule and were let through by the guard list.
    pub const GUARDED: u32 = 2;
    /// Packets that matched more than [`super::MATCH_MAX`] rules.
    pub const CROWDED: u32 = 3;
    /// Packets that met a rule while the lease was over.
    pub const LEASE_OVER: u32 = 4;
    /// A helper refused (clone, tail change, redirect): the packet passed.
    pub const HELPER_FAILED: u32 = 5;
    /// Super-packets that their sockets kept, told that the entrance of their line was full.
    pub const ENTRANCE_FULL: u32 = 6;
    /// Super-packets that the way of their rule did not suit; see [`super::flags::REFIT`].
    pub const UNFIT: u32 = 7;
    /// Number of slots.
    pub const SLOTS: u32 = 8;
}

/// Value of the socket storage `TAGS`: who opened a socket. Accepted sockets inherit their listener's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tag {
    /// Process id, as the initial pid namespace counts.
    pub process: u32,
    /// Always 0.
    pub _pad: u32,
    /// cgroup ids from the root (level 0) downwards; 0 past the leaf.
    pub cgroups: [u64; CGROUP_LEVELS],
}

/// Ring buffer record: a target opened a socket in a namespace that has no programs yet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Newcomer {
    /// Cookie of the namespace.
    pub netns_cookie: u64,
    /// Process that opened the socket.
    pub process: u32,
    /// Always 0.
    pub _pad: u32,
}

/// Key of the `FRAGMENTS` LRU: which datagram a later fragment belongs to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FragmentKey {
    /// Source.
    pub source: Address,
    /// Destination.
    pub destination: Address,
    /// Identification field.
    pub id: u32,
    /// Index into `NETNS`, with the protocol in the top 8 bits.
    pub netns_protocol: u32,
}

/// Key of `OWN_FLOWS`: a connection of a health check, the same in whatever namespace and direction it is seen.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Both ends, the smaller one first.
    pub addresses: [Address; 2],
    /// Their ports, host byte order.
    pub ports: [u16; 2],
    /// Transport protocol on the wire.
    pub protocol: u32,
}

/// Key of the `ADDRS` and `GUARD_NETS` tries, after the prefix length.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AddressKey {
    /// Set number, network byte order, as the trie compares bits from the left.
    pub set: u32,
    /// Address, in words: the trie compares what lies between its fields, too, so there must be nothing.
    pub address: [u32; 4],
}

impl AddressKey {
    /// The key of an address in a set.
    #[inline(always)]
    pub const fn new(set: u32, address: Address) -> Self {
        Self {
            set: set.to_be(),
            address: address.words(),
        }
    }
}

/// Prefix length of an [`AddressKey`] with all of its set number and `bits` of its address.
pub const fn trie_bits(bits: u32) -> u32 {
    32 + bits
}

mod application;
mod layout;
mod line;
mod waiting;

pub use application::*;
pub use line::{Entrance, Line, LineKey, LineNote, NOBODY_TOLD};
pub use waiting::*;

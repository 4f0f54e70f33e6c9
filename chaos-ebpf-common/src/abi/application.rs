//! What `http` and `dns` rules say beyond their filter.

/// Bytes of a payload that are looked at.
pub const HEAD: u32 = 1024;
/// Longest answer to a request: one segment under the smallest MTU of IPv6, with time stamps.
pub const RESPONSE_MAX: usize = 1200;
/// Methods that one rule can name.
pub const HTTP_METHODS: usize = 8;
/// Words of a pattern for paths or hosts.
pub const PATTERN_WORDS: usize = 16;
/// Names that one rule can ask for.
pub const DNS_NAMES: usize = 16;
/// Types that one rule can ask for.
pub const DNS_TYPES: usize = 8;
/// Words of records of one type.
pub const RECORD_WORDS: usize = 28;

/// Sizes of the maps of this part, and the programs in `PROGRAMS`.
pub mod applications {
    /// `http` rules at the same time.
    pub const HTTP: u32 = 256;
    /// `dns` rules at the same time.
    pub const DNS: u32 = 256;
    /// Connections whose last request is remembered; the least used are forgotten.
    pub const REQUESTS: u32 = 1 << 14;
    /// Looks into the payload of a packet that a rule asks about.
    pub const LOOK: u32 = 0;
    /// Carries out all rules, with what was found.
    pub const ACT: u32 = 1;
    /// Answers in the server's stead.
    pub const ANSWER: u32 = 2;
    /// Lets a packet wait on the kernel line.
    pub const WAIT: u32 = 3;
    /// Number of programs.
    pub const PROGRAMS: u32 = 4;
}

/// What becomes of a request or a question that is hit.
pub mod then {
    /// It is answered.
    pub const ANSWER: u32 = 0;
    /// Its connection is reset.
    pub const ABORT: u32 = 1;
    /// It waits, on the line.
    pub const WAIT: u32 = 2;
    /// It is lost.
    pub const LOSE: u32 = 3;
}

/// How a pattern for paths is to be read.
pub mod path_kind {
    /// Every path.
    pub const ANY: u32 = 0;
    /// This very path.
    pub const EXACT: u32 = 1;
    /// Paths that begin so.
    pub const PREFIX: u32 = 2;
    /// With stars somewhere else, too.
    pub const GLOB: u32 = 3;
}

/// Value of the `HTTP` array.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http {
    /// Share of requests, 0..=2^32.
    pub chance: u64,
    /// How long a request waits, nanoseconds.
    pub delay: u64,
    /// Methods, each padded with zeros; the first letter is the lowest byte.
    pub methods: [u64; HTTP_METHODS],
    /// How many; 0 = any.
    pub method_count: u32,
    /// One of [`then`].
    pub then: u32,
    /// One of [`path_kind`].
    pub path_kind: u32,
    /// Length of the pattern.
    pub path_length: u32,
    /// What of it stands before its first star.
    pub path_prefix: u32,
    /// Length of the host; 0 = any.
    pub host_length: u32,
    /// 1: hosts that end so. The pattern begins with a dot.
    pub host_wild: u32,
    /// Length of the answer.
    pub length: u32,
    /// Of which so much is there for a `HEAD` request.
    pub head: u32,
    /// Internet sums of both, not complemented.
    pub sum: u16,
    /// See `sum`.
    pub head_sum: u16,
    /// Pattern for the path, padded with zeros.
    pub path: [u64; PATTERN_WORDS],
    /// The host, in lower case, padded with zeros.
    pub host: [u64; PATTERN_WORDS],
    /// The answer.
    pub response: [u8; RESPONSE_MAX],
}

impl Default for Http {
    fn default() -> Self {
        Self {
            chance: 0,
            delay: 0,
            methods: [0; HTTP_METHODS],
            method_count: 0,
            then: 0,
            path_kind: 0,
            path_length: 0,
            path_prefix: 0,
            host_length: 0,
            host_wild: 0,
            length: 0,
            head: 0,
            sum: 0,
            head_sum: 0,
            path: [0; PATTERN_WORDS],
            host: [0; PATTERN_WORDS],
            response: [0; RESPONSE_MAX],
        }
    }
}

/// A name, or all names below it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DnsName {
    /// Length on the wire, with the root.
    pub length: u32,
    /// 1: the names below it.
    pub wild: u32,
    /// As on the wire, in lower case.
    pub name: [u64; 32],
}

/// Records of one type, as they follow a question.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// How many.
    pub count: u32,
    /// Their length.
    pub length: u32,
    /// As on the wire.
    pub bytes: [u64; RECORD_WORDS],
}

/// Value of the `DNS` array.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Share of questions, 0..=2^32.
    pub chance: u64,
    /// One of [`then`].
    pub then: u32,
    /// RCODE of the answer.
    pub code: u32,
    /// How many names; 0 = any.
    pub name_count: u32,
    /// How many types; 0 = any.
    pub type_count: u32,
    /// Types, host byte order.
    pub types: [u16; DNS_TYPES],
    /// Records for questions of type A.
    pub a: Records,
    /// Records for questions of type AAAA.
    pub aaaa: Records,
    /// Names.
    pub names: [DnsName; DNS_NAMES],
}

/// What was found out of a packet for one of the rules that name it.
pub mod found {
    /// Nothing that concerns the rule.
    pub const NOTHING: u8 = 0;
    /// A request or a question that the rule names.
    pub const FRESH: u8 = 1;
    /// A request that was answered, once more.
    pub const AGAIN: u8 = 2;
    /// What a client still sends on a connection whose request was answered.
    pub const AFTER: u8 = 3;
    /// What follows a request that waits.
    pub const FOLLOWS: u8 = 4;
    /// A record of TLS.
    pub const TLS: u8 = 5;
    /// HTTP/2 with prior knowledge.
    pub const HTTP2: u8 = 6;
    /// A request that is not whole within reach.
    pub const SPLIT: u8 = 7;
}

/// Key of `REQUESTS`: a connection, and a place of a fault that looks at it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestKey {
    /// [`super::Rule::id`].
    pub fault: u64,
    /// [`crate::flow::Flow::number`].
    pub flow: u64,
    /// [`super::Rule::state`].
    pub place: u32,
    /// Always 0.
    pub _pad: u32,
}

/// What became of a request; see [`RequestMemory`].
pub mod fate {
    /// It was spared.
    pub const SPARED: u32 = 0;
    /// It was answered.
    pub const ANSWERED: u32 = 1;
    /// It waits.
    pub const WAITS: u32 = 2;
    /// Its line is not whole: it goes on in the segment at this sequence number.
    pub const GOES_ON: u32 = 3;
}

/// Value of `REQUESTS`: the last request of a connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestMemory {
    /// Its sequence number.
    pub sequence: u32,
    /// One of [`fate`].
    pub fate: u32,
    /// The sequence number after its answer and the end of the connection; of a request that was not answered here, what
    /// it acknowledged.
    pub next: u32,
    /// Always 0.
    pub _pad: u32,
    /// CLOCK_MONOTONIC nanoseconds until which what follows waits, too.
    pub until: u64,
}

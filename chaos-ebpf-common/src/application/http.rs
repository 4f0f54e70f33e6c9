//! Requests of HTTP/1.0 and 1.1 in the clear, each at the beginning of a segment.

use super::{
    GO, Head, Loops, Place, STOP,
    text::{blanks, differs, glob, is_upper, lower, lowest, position, same, seek, seek_any},
    wash,
};
use crate::abi::{HTTP_METHODS, Http, path_kind};

/// What a TCP payload begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// Something else: the rest of a body, an answer, another protocol.
    Other = 0,
    /// A request whose line is all there.
    Request = 1,
    /// A request whose line goes on in the next segment, or beyond what is looked at.
    Split = 2,
    /// A record of TLS.
    Tls = 3,
    /// HTTP/2 with prior knowledge.
    Http2 = 4,
}

/// Where the parts of a request are; offsets into the head. Most of it is found only when a rule asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Request {
    /// Its method, padded with zeros.
    pub method: u64,
    /// Begin of what stands behind it.
    pub target: u32,
    /// Bytes at hand.
    pub length: u32,
    /// The [`Kind`] that its whole line makes of it, and [`UNREAD`] while nobody has asked.
    pub line: u32,
    /// The first header.
    pub headers: u32,
    /// Begin and end of its path, without a query.
    pub path: u32,
    /// See `path`; 0 while it is not known.
    pub path_end: u32,
    /// The end of its line's second word.
    pub end: u32,
    /// Begin and end of the host it names; 0 while they are not known.
    pub host: u32,
    /// See `host`.
    pub host_end: u32,
}

/// No [`Kind`]: the line has not been read.
pub const UNREAD: u32 = u32::MAX;

/// What a rule has to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// Nothing.
    No,
    /// It names it.
    Yes,
    /// It asks for a host, and the header that says it is not within reach.
    Unknown,
}

const VERSION: u64 = u64::from_le_bytes(*b"HTTP/1.\0");
const PREFACE: u64 = u64::from_le_bytes(*b"PRI * HT");
const SCHEME: u64 = u64::from_le_bytes(*b"http://\0");
const HOST: u64 = u64::from_le_bytes(*b"host:\0\0\0");
const HEAD_METHOD: u64 = u64::from_le_bytes(*b"HEAD\0\0\0\0");
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// Whether the payload begins a record of TLS as clients and servers send them: a handshake, or data.
#[inline(always)]
fn is_tls<H: Head>(head: H, length: u32) -> bool {
    let kind = head.byte(0);
    length >= 5 && (kind == HANDSHAKE || kind == APPLICATION_DATA) && head.byte(1) == 3 && head.byte(2) <= 4
}

/// Reads the first `length` bytes of a payload, at least one, as far as its method. [`Kind::Request`] means that a line
/// begins like a request's; see [`read_line`].
#[inline(always)]
pub fn read<H: Head>(head: H, length: u32, request: &mut Request) -> Kind {
    let first = head.word(0);
    let method = wash(head, position(first, b' '));
    if !is_upper(first, 1) {
        return if is_tls(head, length) {
            Kind::Tls
        } else {
            Kind::Other
        };
    }
    // Eight letters are the longest method, and then the ninth byte is the space.
    if method >= length || method == 8 && length <= 8 {
        return unfinished(first, length);
    }
    if method == 0 || method == 8 && head.byte(8) != b' ' || !is_upper(first, method) {
        return Kind::Other;
    }
    if length >= 8 && first == PREFACE {
        return Kind::Http2;
    }
    request.method = first & lowest(method);
    request.target = method + 1;
    request.length = length;
    request.line = UNREAD;
    Kind::Request
}

/// Reads the line of what [`read`] has called a request: it may still be something else, or not all there.
#[inline(always)]
pub fn read_line<L: Loops, H: Head>(head: H, request: &mut Request) -> Kind {
    if request.line == UNREAD {
        let kind = line::<L, H>(head, request);
        request.line = kind as u32;
    }
    match request.line {
        kind if kind == Kind::Request as u32 => Kind::Request,
        kind if kind == Kind::Split as u32 => Kind::Split,
        _ => Kind::Other,
    }
}

#[inline(always)]
fn line<L: Loops, H: Head>(head: H, request: &mut Request) -> Kind {
    let (target, length) = (request.target, request.length);
    let end = seek::<L, H>(head, target, length, b' ');
    if end >= length {
        let newline = seek::<L, H>(head, target, length, b'\n');
        return if newline >= length {
            Kind::Split
        } else {
            Kind::Other
        };
    }
    let version = head.word(end + 1);
    let rest = length - (end + 1);
    if (version ^ VERSION) & lowest(if rest < 7 { rest } else { 7 }) != 0 {
        return Kind::Other;
    }
    if rest < 9 {
        return Kind::Split;
    }
    let minor = (version >> 56) as u8;
    let after = head.byte(end + 9);
    if minor != b'0' && minor != b'1' || after != b'\r' && after != b'\n' {
        return Kind::Other;
    }
    request.headers = end + if after == b'\r' { 11 } else { 10 };
    request.end = end;
    (request.host, request.host_end) = (0, 0);
    (request.path, request.path_end) = (end, 0);
    let begin = head.byte(target);
    if begin == b'/' || begin == b'*' {
        request.path = target;
    } else if (lower(head.word(target)) ^ SCHEME) & lowest(7) == 0 {
        request.host = target + 7;
        request.path = seek::<L, H>(head, request.host, end, b'/');
        if request.path > end {
            request.path = end;
        }
        request.host_end = seek::<L, H>(head, request.host, request.path, b':');
        if request.host_end > request.path {
            request.host_end = request.path;
        }
    }
    Kind::Request
}

/// Where the path ends: at its query, if there is one.
#[inline(always)]
pub fn path_end<L: Loops, H: Head>(head: H, request: &mut Request) -> u32 {
    if request.path_end == 0 {
        let query = seek::<L, H>(head, request.path, request.end, b'?');
        request.path_end = if query < request.end { query } else { request.end };
    }
    request.path_end
}

/// Of a payload that ends within its first word.
#[inline(always)]
fn unfinished(first: u64, length: u32) -> Kind {
    if is_upper(first, if length < 8 { length } else { 8 }) {
        Kind::Split
    } else {
        Kind::Other
    }
}

/// Whether the answer to a request has no body.
#[inline(always)]
pub fn is_head(request: &Request) -> bool {
    request.method == HEAD_METHOD
}

/// Whether a rule names a request. What is quickly told comes first: most requests are not the rule's.
#[inline(always)]
pub fn names<L: Loops, H: Head>(http: &Http, head: H, request: &mut Request) -> Named {
    if !names_method(http, request.method) || goes_elsewhere(http, head, request) {
        return Named::No;
    }
    match read_line::<L, H>(head, request) {
        Kind::Request => {}
        Kind::Split => return Named::Unknown,
        _ => return Named::No,
    }
    if http.path_kind != path_kind::ANY && !names_path::<L, H>(http, head, request) {
        return Named::No;
    }
    if http.host_length == 0 {
        return Named::Yes;
    }
    if request.host == 0 {
        find_host::<L, H>(head, request);
    }
    if request.host == 0 {
        return Named::Unknown;
    }
    if is_elsewhere(http, head, request) {
        return Named::No;
    }
    if request.host_end == 0 {
        let end = host_end::<L, H>(head, request);
        // What is cut off says nothing.
        if end >= request.length {
            return Named::Unknown;
        }
        request.host_end = end;
    }
    if names_host::<L, H>(http, head, request) {
        Named::Yes
    } else {
        Named::No
    }
}

/// Words of a path that are compared before the line is read.
const GLANCED: u32 = 4;

/// Whether the path begins otherwise than the rule's.
#[inline(always)]
fn goes_elsewhere<H: Head>(http: &Http, head: H, request: &Request) -> bool {
    let target = request.target;
    if http.path_kind == path_kind::ANY || head.byte(target) != b'/' {
        return false;
    }
    let mut i = 0;
    while i < GLANCED {
        let at = target + 8 * i;
        if http.path_prefix <= 8 * i || at + 8 > request.length {
            return false;
        }
        if differs(head, at, http.path[i as usize], http.path_prefix - 8 * i, false) {
            return true;
        }
        i += 1;
    }
    false
}

/// Whether the host begins otherwise than the rule's.
#[inline(always)]
fn is_elsewhere<H: Head>(http: &Http, head: H, request: &Request) -> bool {
    http.host_wild == 0
        && request.host + 8 <= request.length
        && differs(head, request.host, http.host[0], http.host_length, true)
}

#[inline(always)]
fn names_method(http: &Http, method: u64) -> bool {
    if http.method_count == 0 {
        return true;
    }
    let mut i = 0;
    while i < HTTP_METHODS {
        // The places that are not used hold 0, which no method is.
        if http.methods[i] == method {
            return true;
        }
        i += 1;
    }
    false
}

#[inline(always)]
fn names_path<L: Loops, H: Head>(http: &Http, head: H, request: &mut Request) -> bool {
    let length = path_end::<L, H>(head, request).saturating_sub(request.path);
    if length < http.path_prefix || http.path_kind == path_kind::EXACT && length != http.path_prefix {
        return false;
    }
    if !same::<L, H, _>(head, request.path, &http.path, http.path_prefix, false) {
        return false;
    }
    http.path_kind != path_kind::GLOB
        || glob::<L, H, _>(head, request.path, request.path_end, &http.path, http.path_length)
}

#[inline(always)]
fn names_host<L: Loops, H: Head>(http: &Http, head: H, request: &Request) -> bool {
    let length = request.host_end.saturating_sub(request.host);
    if http.host_wild == 0 {
        return length == http.host_length
            && same::<L, H, _>(head, request.host, &http.host, http.host_length, true);
    }
    // At least one letter and the dot, which is part of the pattern.
    length > http.host_length
        && same::<L, H, _>(
            head,
            request.host_end - http.host_length,
            &http.host,
            http.host_length,
            true,
        )
}

struct Lines<H> {
    head: H,
    length: u32,
}

/// Steps of a search: each goes through so many words, or to the next line.
const SEARCH_STEPS: u32 = 256;
const WORDS: u32 = 4;

/// Finds the `Host` header.
#[inline(always)]
fn find_host<L: Loops, H: Head>(head: H, request: &mut Request) {
    let mut state = Lines {
        head,
        length: request.length,
    };
    head.keep(Place::At, request.headers);
    head.keep(Place::Result, 0);
    // The first line is the usual place.
    if !is_host(&state, request.headers) {
        L::each(SEARCH_STEPS, next_line::<H>, &mut state);
    }
    if head.kept(Place::Result) == 0 {
        return;
    }
    request.host = head.kept(Place::At);
}

/// Where the value of the `Host` header ends, without its port; where the payload does, or later, when that is cut off.
#[inline(always)]
fn host_end<L: Loops, H: Head>(head: H, request: &Request) -> u32 {
    if head.byte(request.host) == b'[' {
        seek::<L, H>(head, request.host, request.length, b']') + 1
    } else {
        seek_any::<L, H>(head, request.host, request.length, *b"\r\n: ")
    }
}

/// Whether a line is the `Host` header; then it stands at its value.
#[inline(always)]
fn is_host<H: Head>(state: &Lines<H>, line: u32) -> bool {
    let head = state.head;
    if line + 5 >= state.length || (lower(head.word(line)) ^ HOST) & lowest(5) != 0 {
        return false;
    }
    let value = line + 5 + blanks(head.word(line + 5));
    head.keep(Place::At, value);
    head.keep(Place::Result, 1);
    true
}

/// On to the next newline; a line that begins there is looked at.
extern "C" fn next_line<H: Head>(_: u32, state: &mut Lines<H>) -> i64 {
    let head = state.head;
    let mut i = 0;
    while i < WORDS {
        let at = head.kept(Place::At);
        if at >= state.length {
            return STOP;
        }
        let newline = position(head.word(at), b'\n');
        if newline < 8 {
            return begin_line(state, at + newline + 1);
        }
        head.keep(Place::At, at + 8);
        i += 1;
    }
    GO
}

#[inline(always)]
fn begin_line<H: Head>(state: &Lines<H>, line: u32) -> i64 {
    let head = state.head;
    head.keep(Place::At, line);
    let byte = head.byte(line);
    // An empty line ends the headers.
    if byte == b'\r' || byte == b'\n' || is_host(state, line) {
        STOP
    } else {
        GO
    }
}

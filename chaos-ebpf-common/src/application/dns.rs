//! Questions of DNS over UDP (RFC 1035), one a message, as every client asks them.

use super::{GO, Head, Loops, Place, STOP, text::same, wash};
use crate::abi::{DNS_NAMES, DNS_TYPES, Dns, DnsName};

/// Length of the header of a message; the question begins there.
pub const HEADER: u32 = 12;
/// Longest name on the wire.
const NAME_MAX: u32 = 255;
/// Most labels of a name.
const LABELS: u32 = 128;
/// Labels that are walked before a loop begins.
const FEW_LABELS: u32 = 6;
const INTERNET: u16 = 1;

/// Types of records.
pub mod kind {
    /// An IPv4 address.
    pub const A: u16 = 1;
    /// An IPv6 address.
    pub const AAAA: u16 = 28;
}

/// A question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Question {
    /// Length of its name on the wire, with the root.
    pub name: u32,
    /// Type of record that is asked for.
    pub kind: u32,
}

impl Question {
    /// Where the message goes on behind the question.
    #[inline(always)]
    pub fn end(&self) -> u32 {
        HEADER + self.name + 4
    }
}

struct Walk<H> {
    head: H,
    /// Where to stop.
    goal: u32,
}

/// Goes from label to label until the root, or until `goal`; where it stands then.
#[inline(always)]
fn walk<L: Loops, H: Head>(head: H, goal: u32) -> u32 {
    head.keep(Place::At, HEADER);
    // The labels of most names, without a call for each.
    let mut i = 0;
    while i < FEW_LABELS {
        if step(head, goal) == STOP {
            return head.kept(Place::At);
        }
        i += 1;
    }
    let mut state = Walk { head, goal };
    L::each(LABELS - FEW_LABELS, label::<H>, &mut state);
    head.kept(Place::At)
}

/// Reads a message of `length` bytes; `None` when it is no question that can be answered.
#[inline(always)]
pub fn read<L: Loops, H: Head>(head: H, length: u32) -> Option<Question> {
    // A question, of the standard kind, one of them; no answers and no authorities.
    let counts = head.word(4);
    let one = 0x0100;
    if length < HEADER + 5 || head.byte(2) & 0xf8 != 0 || counts & 0x0000_ffff_ffff_ffff != one {
        return None;
    }
    let root = walk::<L, H>(head, length);
    let name = wash(head, root + 1 - HEADER);
    // What is no root is a pointer, or one label too many.
    if root >= length || head.byte(root) != 0 || name > NAME_MAX || HEADER + name + 4 > length {
        return None;
    }
    let rest = head.word(HEADER + name);
    let (kind, class) = ((rest as u16).swap_bytes(), ((rest >> 16) as u16).swap_bytes());
    (class == INTERNET).then_some(Question {
        name,
        kind: kind as u32,
    })
}

extern "C" fn label<H: Head>(_: u32, state: &mut Walk<H>) -> i64 {
    step(state.head, state.goal)
}

/// Behind the next label.
#[inline(always)]
fn step<H: Head>(head: H, goal: u32) -> i64 {
    let at = head.kept(Place::At);
    if at >= goal {
        return STOP;
    }
    let length = head.byte(at);
    if length == 0 || length >= 64 {
        return STOP;
    }
    head.keep(Place::At, at + 1 + length as u32);
    GO
}

/// Whether a rule names a question.
#[inline(always)]
pub fn names<L: Loops, H: Head>(dns: &Dns, head: H, question: &Question) -> bool {
    names_type(dns, question.kind) && names_name::<L, H>(dns, head, question)
}

#[inline(always)]
fn names_type(dns: &Dns, kind: u32) -> bool {
    if dns.type_count == 0 {
        return true;
    }
    let mut i = 0;
    while i < DNS_TYPES {
        // The places that are not used hold 0, which no type is.
        if dns.types[i] as u32 == kind {
            return true;
        }
        i += 1;
    }
    false
}

struct Names<'a, H> {
    dns: &'a Dns,
    head: H,
    name: u32,
}

#[inline(always)]
fn names_name<L: Loops, H: Head>(dns: &Dns, head: H, question: &Question) -> bool {
    if dns.name_count == 0 {
        return true;
    }
    let mut state = Names {
        dns,
        head,
        name: question.name,
    };
    head.keep(Place::Next, 0);
    L::each(dns.name_count, one_name::<L, H>, &mut state);
    head.kept(Place::Next) != 0
}

extern "C" fn one_name<L: Loops, H: Head>(i: u32, state: &mut Names<'_, H>) -> i64 {
    if i as usize >= DNS_NAMES {
        return STOP;
    }
    let name = &state.dns.names[i as usize];
    if is_called::<L, H>(name, state.head, state.name) {
        state.head.keep(Place::Next, 1);
        STOP
    } else {
        GO
    }
}

/// Whether the name of the question, `length` bytes on the wire, is this one, or one below it.
#[inline(always)]
fn is_called<L: Loops, H: Head>(name: &DnsName, head: H, length: u32) -> bool {
    let wanted = name.length;
    if name.wild == 0 {
        return wanted == length && same::<L, H, _>(head, HEADER, &name.name, wanted, true);
    }
    if length <= wanted {
        return false;
    }
    // A label must begin where the pattern does, which takes longer to see.
    let from = HEADER + length - wanted;
    same::<L, H, _>(head, from, &name.name, wanted, true) && walk::<L, H>(head, from) == from
}

//! Requests of HTTP.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use chaos_ebpf_common::{
    abi::{HEAD, RequestMemory, Rule, fate, fault, found},
    application::{
        http::{Kind, Named, names, read as read_head},
        memory::{Past, Segment, past},
    },
    frame::tcp,
    reply::Numbers,
};

use super::{
    head::{At, Rounds},
    look::copy,
    memory::{forget, recall_to_note, remember},
};
use crate::{maps::HTTP, skb::Skb, work::Work};

/// Reads a segment; `false` when its headers cannot be read.
#[inline(always)]
pub fn read(skb: Skb, work: &mut Work) -> bool {
    let packet = &work.packet;
    let Some([sequence, acknowledgement, rest]) = skb.load::<[u32; 3]>(packet.l4 + 4) else {
        return false;
    };
    let all = skb.len();
    let end = if packet.end < all { packet.end } else { all };
    let header = (u32::from_be(rest) >> 28) * 4;
    let application = &mut work.application;
    application.numbers = Numbers {
        sequence: u32::from_be(sequence),
        acknowledgement: u32::from_be(acknowledgement),
        flags: packet.tcp_flags,
    };
    application.payload = packet.l4 + header;
    application.length = end.saturating_sub(packet.l4 + header);
    application.kind = Kind::Other as u32;
    if application.length > 0 && packet.tcp_flags & tcp::SYN == 0 {
        let Some((head, length)) = copy(skb, application) else {
            return false;
        };
        application.kind = read_head(head, length, &mut application.request) as u32;
    }
    true
}

/// One of [`found`].
#[inline(always)]
pub fn concerns(work: &mut Work, rule: &Rule) -> u8 {
    if rule.faults & fault::HTTP == 0 {
        return found::NOTHING;
    }
    let known = known(work, rule);
    if known != UNKNOWN {
        return known;
    }
    match work.application.kind {
        kind if kind == Kind::Request as u32 => named(work, rule),
        kind if kind == Kind::Split as u32 => {
            goes_on(work, rule);
            found::SPLIT
        }
        kind if kind == Kind::Tls as u32 => found::TLS,
        kind if kind == Kind::Http2 as u32 => found::HTTP2,
        _ => found::NOTHING,
    }
}

/// What [`known`] says when the segment has no past; none of [`found`].
const UNKNOWN: u8 = u8::MAX;

/// What follows from the connection's last request.
#[inline(never)]
fn known(work: &Work, rule: &Rule) -> u8 {
    let Some((memory, note)) = recall_to_note(rule, &work.flow) else {
        return UNKNOWN;
    };
    let application = &work.application;
    let segment = Segment {
        numbers: application.numbers,
        carries: application.length > 0,
        asks: application.kind == Kind::Request as u32,
    };
    // SAFETY: a helper without arguments.
    match past(&memory, &segment, || unsafe { bpf_ktime_get_ns() }) {
        Past::Ended => {
            forget(rule, &work.flow);
            found::NOTHING
        }
        Past::Again => found::AGAIN,
        Past::After => found::AFTER,
        Past::Another => {
            // What was before it has arrived. Nor does the rest of this one take the line, unless it waits as well.
            forget(rule, &work.flow);
            UNKNOWN
        }
        Past::Follows(until) => {
            note(until);
            found::FOLLOWS
        }
        Past::Same => {
            if memory.fate == fate::GOES_ON && application.kind == Kind::Split as u32 {
                goes_on(work, rule);
            }
            found::NOTHING
        }
        Past::Fresh => UNKNOWN,
    }
}

/// Remembers where the rest of a line will stand, which by itself may well look like a request: `ET / HTTP/1.1`.
#[inline(always)]
fn goes_on(work: &Work, rule: &Rule) {
    let application = &work.application;
    // Of a longer segment only the beginning was looked at: its line may end in it.
    if application.length <= HEAD {
        let memory = RequestMemory {
            sequence: application.numbers.sequence.wrapping_add(application.length),
            fate: fate::GOES_ON,
            ..RequestMemory::default()
        };
        remember(rule, &work.flow, &memory);
    }
}

#[inline(never)]
fn named(work: &mut Work, rule: &Rule) -> u8 {
    let (Some(http), Some(head)) = (HTTP.get(rule.application), At::hand()) else {
        return found::NOTHING;
    };
    match names::<Rounds, At>(http, head, &mut work.application.request) {
        Named::No => found::NOTHING,
        Named::Yes => found::FRESH,
        Named::Unknown => found::SPLIT,
    }
}

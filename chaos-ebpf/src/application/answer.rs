//! The packet becomes its own answer.

use aya_ebpf::helpers::bpf_skb_store_bytes;
use chaos_ebpf_common::{
    abi::{Dns, Http, RESPONSE_MAX, RequestMemory, Rule, fate, fault, found, stat},
    application::{
        Head,
        answer::{STAMPS, Segment, TCP_LEN, UDP_LEN, acknowledgement, datagram, flags, response},
        dns::kind,
        http::is_head,
    },
    frame::tcp,
    reply::RESET_LEN,
};

use super::{
    act::count as count_of,
    head::{At, within},
    memory::{recall, remember},
};
use crate::{
    action::{
        STAYS, Treated,
        reset::tear_down,
        turn::{is_partial, set_length, swap_addresses, turn_back},
    },
    each::{GO, STOP, each},
    maps::{DNS, HTTP, NETNS, RULES, count},
    skb::Skb,
    work::at_hand,
};

/// The verdict.
#[inline(always)]
pub fn run(skb: Skb) -> i32 {
    let Some(work) = at_hand() else { return STAYS };
    let (Some(netns), Some(rule)) = (
        NETNS.get(work.netns_index),
        RULES.get(work.application.slot.get()),
    ) else {
        return STAYS;
    };
    let treated = Treated {
        skb,
        netns,
        hook: work.hook,
        work,
    };
    let verdict = if rule.faults & fault::HTTP != 0 {
        http(&treated, rule)
    } else {
        dns(&treated, rule)
    };
    match verdict {
        Some(verdict) => verdict,
        None => {
            // Half rewritten, perhaps: it must not go on.
            count(stat::HELPER_FAILED);
            treated.lost()
        }
    }
}

/// A request, or what its client still sends.
#[inline(always)]
fn http(treated: &Treated<'_>, rule: &Rule) -> Option<i32> {
    let (packet, application) = (treated.packet(), &treated.work.application);
    let (request, payload, how) = (application.numbers, application.length, application.how.get());
    let http = HTTP.get(rule.application)?;
    let after = how == found::AFTER as u32;
    if after && payload == 0 && request.flags & tcp::FIN == 0 {
        return Some(treated.lost());
    }
    let partial = is_partial(treated, packet.l4 + 16)?;
    let stamps = stamps(treated);
    if !after && !(set_length(treated, RESET_LEN) && tear_down(treated, request, partial)) {
        return None;
    }
    let segment = if after {
        let next = recall(rule, &treated.work.flow)?.next;
        Segment {
            numbers: acknowledgement(request, payload, next),
            stamps,
            length: 0,
            sum: 0,
            partial,
        }
    } else {
        let (length, sum) = if is_head(&application.request) {
            (http.head, http.head_sum)
        } else {
            (http.length, http.sum)
        };
        Segment {
            numbers: response(request, payload),
            stamps,
            length,
            sum,
            partial,
        }
    };
    write(treated, http, &segment)?;
    if !after {
        let numbers = segment.numbers;
        let memory = RequestMemory {
            sequence: request.sequence,
            fate: fate::ANSWERED,
            next: numbers.sequence.wrapping_add(segment.length).wrapping_add(1),
            _pad: 0,
            until: 0,
        };
        remember(rule, &treated.work.flow, &memory);
    }
    if how == found::FRESH as u32 {
        count_of(rule, |counters| counters.answered += 1);
    }
    Some(turn_back(treated))
}

/// The time stamps of a segment, where every Linux puts them.
#[inline(always)]
fn stamps(treated: &Treated<'_>) -> Option<[u32; 2]> {
    const WITH: u32 = TCP_LEN + 12;
    let application = &treated.work.application;
    if application.payload < treated.packet().l4 + WITH {
        return None;
    }
    let [begin, value, echo] = treated.skb.load::<[u32; 3]>(treated.packet().l4 + TCP_LEN)?;
    (begin == STAMPS).then_some([value, echo])
}

/// Makes the packet this segment.
#[inline(never)]
fn write(treated: &Treated<'_>, http: &Http, segment: &Segment) -> Option<()> {
    let (skb, packet) = (treated.skb, treated.packet());
    let header = segment.header(packet);
    let data = packet.l4 + segment.header_length();
    if !set_length(treated, segment.header_length() + segment.length) {
        return None;
    }
    let stored = if segment.stamps.is_some() {
        skb.store(packet.l4, &header, true)
    } else {
        let [a, b, c, d, e, f, g, h, i, j, ..] = header;
        skb.store(packet.l4, &[a, b, c, d, e, f, g, h, i, j], true)
    };
    let whole = stored && (segment.length == 0 || store(skb, data, http, segment.length));
    (whole && swap_addresses(treated)).then_some(())
}

/// Copies the first bytes of an answer into a packet.
#[inline(always)]
fn store(skb: Skb, to: u32, http: &Http, length: u32) -> bool {
    let Some(length) = within(length, RESPONSE_MAX) else {
        return false;
    };
    // SAFETY: the helper reads as many bytes of a map value that has them.
    unsafe { bpf_skb_store_bytes(skb.raw(), to, http.response.as_ptr().cast(), length, 0) == 0 }
}

/// A question.
#[inline(always)]
fn dns(treated: &Treated<'_>, rule: &Rule) -> Option<i32> {
    let (skb, packet, application) = (treated.skb, treated.packet(), &treated.work.application);
    let (dns, at) = (DNS.get(rule.application)?, At::hand()?);
    let check: u16 = skb.load(packet.l4 + 6)?;
    let bare = packet.version == 4 && check == 0;
    let partial = !bare && is_partial(treated, packet.l4 + 6)?;
    let length = compose(treated, dns, at)?;
    let sum = if partial || bare { 0 } else { at.sum(length) };
    if !set_length(treated, UDP_LEN + length) {
        return None;
    }
    let header = datagram(packet, length, sum, partial, bare);
    if !skb.store(packet.l4, &header, true)
        || !at.store(skb, application.payload, length)
        || !swap_addresses(treated)
    {
        return None;
    }
    count_of(rule, |counters| counters.answered += 1);
    Some(turn_back(treated))
}

/// Puts the answer together; its length. The question is at hand already.
#[inline(never)]
fn compose(treated: &Treated<'_>, dns: &Dns, at: At) -> Option<u32> {
    let application = &treated.work.application;
    let [first, second] = flags([at.byte(2), at.byte(3)], dns.code);
    at.set(2, first);
    at.set(3, second);
    let records = match application.question.kind as u16 {
        kind::A => &dns.a,
        kind::AAAA => &dns.aaaa,
        _ => return Some(application.length),
    };
    if records.count == 0 {
        return Some(application.length);
    }
    at.set(7, records.count as u8);
    let end = application.question.end();
    let mut copy = Copy {
        at,
        to: end,
        words: &records.bytes,
    };
    each(records.length.div_ceil(8), word, &mut copy);
    // EDNS, above all.
    let rest = application.length.saturating_sub(end);
    if rest > 0 && !at.fill(treated.skb, application.payload + end, end + records.length, rest) {
        return None;
    }
    Some(application.length + records.length)
}

struct Copy<'a> {
    at: At,
    to: u32,
    words: &'a [u64],
}

extern "C" fn word(i: u32, copy: &mut Copy<'_>) -> i64 {
    let Some(word) = copy.words.get(i as usize) else {
        return STOP;
    };
    copy.at.set_word(copy.to + 8 * i, *word);
    GO
}

//! Questions of DNS.

use chaos_ebpf_common::{
    abi::{HEAD, Rule, fault, found},
    application::{
        answer::UDP_LEN,
        dns::{Question, names, read as read_head},
    },
};

use super::{
    head::{At, Rounds},
    look::copy,
};
use crate::{maps::DNS, skb::Skb, work::Work};

/// Reads a datagram; `false` when it is no question that could be answered.
#[inline(always)]
pub fn read(skb: Skb, work: &mut Work) -> bool {
    let (packet, all) = (&work.packet, skb.len());
    let end = if packet.end < all { packet.end } else { all };
    let application = &mut work.application;
    let Some(said) = skb.load::<u16>(packet.l4 + 4) else {
        return false;
    };
    let said = u16::from_be(said) as u32;
    application.payload = packet.l4 + UDP_LEN;
    application.length = said.saturating_sub(UDP_LEN);
    application.question = Question::default();
    // Several datagrams in one (GSO) are no questions of a resolver, nor is one that is not all there.
    if application.length > HEAD || packet.l4 + said > end || work.wire_packets > 1 {
        return false;
    }
    let Some((head, length)) = copy(skb, application) else {
        return false;
    };
    match read_head::<Rounds, At>(head, length) {
        Some(question) => {
            application.question = question;
            true
        }
        None => false,
    }
}

/// One of [`found`].
#[inline(always)]
pub fn concerns(work: &mut Work, rule: &Rule) -> u8 {
    if rule.faults & fault::DNS != 0 && named(work, rule) {
        found::FRESH
    } else {
        found::NOTHING
    }
}

#[inline(never)]
fn named(work: &Work, rule: &Rule) -> bool {
    let (Some(dns), Some(head)) = (DNS.get(rule.application), At::hand()) else {
        return false;
    };
    names::<Rounds, At>(dns, head, &work.application.question)
}

//! What the payload of a packet says, and which of its rules that concerns.

use chaos_ebpf_common::{
    abi::{HEAD, MATCH_MAX, found, protocol},
    frame::Fragment,
};

use super::{Application, dns, head::At, http};
use crate::{
    each::{GO, STOP, each},
    maps::RULES,
    skb::Skb,
    work::Work,
};

/// Fills `work.application`.
#[inline(always)]
pub fn run(skb: Skb, work: &mut Work) {
    let mut i = 0;
    while i < MATCH_MAX {
        // SAFETY: a reference; volatile, or LLVM makes a call of memset of it.
        unsafe { core::ptr::write_volatile(&raw mut work.application.found[i], found::NOTHING) };
        i += 1;
    }
    if work.packet.fragment as u32 != Fragment::Whole as u32 {
        return;
    }
    let asks = match work.packet.protocol {
        protocol::TCP => http::read(skb, work),
        protocol::UDP => dns::read(skb, work),
        _ => false,
    };
    if asks {
        let matches = work.match_count as u32;
        let mut looked = &mut *work;
        // One callback for both, or LLVM makes one call of two that the kernel cannot inline.
        each(matches, concern, &mut looked);
    }
}

extern "C" fn concern(i: u32, work: &mut &mut Work) -> i64 {
    if i as usize >= MATCH_MAX {
        return STOP;
    }
    if let Some(slot) = work.slot(i as usize)
        && let Some(rule) = RULES.get(slot)
    {
        let found = if work.packet.protocol == protocol::TCP {
            http::concerns(work, rule)
        } else {
            dns::concerns(work, rule)
        };
        work.application.found[i as usize] = found;
    }
    GO
}

/// Copies the beginning of the payload to where it can be looked at, and gives its length; `None` without any.
#[inline(always)]
pub fn copy(skb: Skb, application: &Application) -> Option<(At, u32)> {
    let length = if application.length < HEAD {
        application.length
    } else {
        HEAD
    };
    let at = At::hand()?;
    at.fill(skb, application.payload, 0, length)
        .then_some((at, length))
}

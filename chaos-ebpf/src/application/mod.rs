//! Faults that look into the payload: `http` and `dns`. Each step is a program of its own that takes the place of the
//! one before, so that those who have no such rule load and run nothing of it:
//!
//! | program | does |
//! |---|---|
//! | `chaos_look` | reads the request or the question, and finds the rules that name it |
//! | `chaos_act` | carries out all rules of the packet, these and the others |
//! | `chaos_answer` | makes the answer of the packet |

pub mod act;
pub mod answer;
mod dns;
mod head;
mod http;
pub mod look;
mod memory;

use aya_ebpf::programs::TcContext;
use chaos_ebpf_common::{
    abi::{MATCH_MAX, applications, found, stat},
    application::{dns::Question, http::Request},
    reply::Numbers,
};
use core::cell::Cell;

pub use head::Buffer;

use crate::{
    action::{STAYS, Treated, line},
    hook::treat::treat,
    maps::{Control, NETNS, PROGRAMS, count},
    skb::{Skb, opaque},
    work::at_hand,
};

/// What [`treat`] says when [`answer`] has the verdict; no verdict.
pub const ANSWER: i32 = i32::MIN + 2;

/// What is known of the payload of the packet at hand.
#[repr(C)]
pub struct Application {
    /// One of [`found`] for each of its rules.
    found: [u8; MATCH_MAX],
    /// The rule that answers it, by its slot, and what was found for it.
    slot: Cell<u32>,
    how: Cell<u32>,
    /// Offset of the payload.
    payload: u32,
    /// Its length.
    length: u32,
    /// Of TCP.
    numbers: Numbers,
    /// A request, if it is one.
    request: Request,
    /// [`chaos_ebpf_common::application::http::Kind`].
    kind: u32,
    /// A question, if it is one; else its name has no length.
    question: Question,
}

// SAFETY: scratch space of one CPU.
unsafe impl Sync for Application {}

/// Whether there is something about a packet that concerns match `i`.
#[inline(always)]
pub fn concerns(treated: &Treated<'_>, i: u32) -> bool {
    finding(treated, i) != found::NOTHING
}

/// One of [`found`].
#[inline(always)]
fn finding(treated: &Treated<'_>, i: u32) -> u8 {
    let i = opaque(i as usize);
    if i >= MATCH_MAX {
        return found::NOTHING;
    }
    // SAFETY: within the array; volatile, so that the verifier takes it for any number.
    unsafe { core::ptr::read_volatile((&raw const treated.work.application.found).cast::<u8>().add(i)) }
}

/// Puts another program in the place of this one. Where that fails, the packet passes.
#[inline(always)]
pub fn call(ctx: &TcContext, program: u32) -> i32 {
    // SAFETY: programs of the same type, with the same context.
    let _ = unsafe { PROGRAMS.tail_call(ctx, program) };
    count(stat::HELPER_FAILED);
    STAYS
}

/// `chaos_look`.
#[inline(always)]
pub fn look(ctx: &TcContext) -> i32 {
    let Some(work) = at_hand() else { return STAYS };
    look::run(Skb::new(ctx.skb.skb), work);
    call(ctx, applications::ACT)
}

/// `chaos_act`.
#[inline(always)]
pub fn act(ctx: &TcContext) -> i32 {
    let said = carry_out(Skb::new(ctx.skb.skb));
    match said {
        ANSWER => call(ctx, applications::ANSWER),
        line::WAIT => call(ctx, applications::WAIT),
        said => said,
    }
}

#[inline(never)]
fn carry_out(skb: Skb) -> i32 {
    let (Some(control), Some(work)) = (Control::get(), at_hand()) else {
        return STAYS;
    };
    let Some(netns) = NETNS.get(work.netns_index) else {
        return STAYS;
    };
    treat::<true>(control, skb, netns, work.hook, work)
}

/// `chaos_answer`.
#[inline(always)]
pub fn answer(ctx: &TcContext) -> i32 {
    answer::run(Skb::new(ctx.skb.skb))
}

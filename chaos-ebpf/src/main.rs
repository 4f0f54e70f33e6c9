//! The kernel programs: hooks, map access, packet access. Decisions live in `chaos-ebpf-common`.
//!
//! | program | hook | does |
//! |---|---|---|
//! | `chaos_egress`, `chaos_ingress` | tc (TCX or clsact) | every fault |
//! | `chaos_look`, `chaos_act`, `chaos_answer` | called by those | faults that look into the payload |
//! | `chaos_back` | tc ingress of a line's device | sends packets on that come back from the line |
//! | `chaos_wait` | called by the first | lets a packet wait on the kernel line |
//! | `chaos_stay` | netkit, of the near end of a kernel line | has packets wait that come from the processor they wait on |
//! | `chaos_turn` | tc ingress of the far end of a kernel line | turns packets round, to where they wait |
//! | `chaos_resume` | netkit, or tc ingress, of the near end of a kernel line | sends packets on that have waited |
//! | `chaos_xdp` | native XDP | `partition` and `drop` of packets that arrive |
//! | `chaos_tag` | cgroup/sock_create | notes who opened a socket, so that arriving packets can be told apart |
//! | `chaos_exit` | raw tracepoint sched_process_exit | ends every fault when the daemon's process does |
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod action;
mod application;
mod atomic;
mod device;
mod each;
mod flows;
mod guard;
mod hook;
mod maps;
mod scope;
mod search;
mod skb;
mod work;

use aya_ebpf::{
    macros::{cgroup_sock, classifier, raw_tracepoint, xdp},
    programs::{RawTracePointContext, SockContext, TcContext, XdpContext},
};
use chaos_ebpf_common::abi::Hook;
use skb::Skb;

/// Packets that leave a target.
#[classifier]
#[inline(always)]
pub fn chaos_egress(ctx: TcContext) -> i32 {
    hook::tc::run::<{ Hook::Egress as u32 }>(&ctx)
}

/// Packets that arrive at a target.
#[classifier]
#[inline(always)]
pub fn chaos_ingress(ctx: TcContext) -> i32 {
    hook::tc::run::<{ Hook::Ingress as u32 }>(&ctx)
}

/// A packet whose payload rules ask about.
#[classifier]
#[inline(always)]
pub fn chaos_look(ctx: TcContext) -> i32 {
    application::look(&ctx)
}

/// The same packet, when that has been looked at.
#[classifier]
#[inline(always)]
pub fn chaos_act(ctx: TcContext) -> i32 {
    application::act(&ctx)
}

/// A packet that is to be answered.
#[classifier]
#[inline(always)]
pub fn chaos_answer(ctx: TcContext) -> i32 {
    application::answer(&ctx)
}

/// A packet that waits, and that the kernel can keep meanwhile.
#[classifier]
#[inline(always)]
pub fn chaos_wait(ctx: TcContext) -> i32 {
    action::wait::run(Skb::new(ctx.skb.skb))
}

/// Packets that are about to wait, while their sender still works.
#[classifier]
#[inline(always)]
pub fn chaos_stay(ctx: TcContext) -> i32 {
    action::wait::stay(Skb::new(ctx.skb.skb))
}

/// Packets that are about to wait, where nobody else sees them.
#[classifier]
#[inline(always)]
pub fn chaos_turn(ctx: TcContext) -> i32 {
    Skb::new(ctx.skb.skb).turn(false)
}

/// The same packets when they have waited, back where they came from.
#[classifier]
#[inline(always)]
pub fn chaos_resume(ctx: TcContext) -> i32 {
    hook::back::resume(Skb::new(ctx.skb.skb))
}

/// Packets that come back from a line to arrive.
#[classifier]
#[inline(always)]
pub fn chaos_back(ctx: TcContext) -> i32 {
    hook::back::run(&ctx)
}

/// Packets that arrive, before the stack sees them.
#[xdp]
#[inline(always)]
pub fn chaos_xdp(ctx: XdpContext) -> u32 {
    hook::xdp::run(&ctx)
}

/// A socket is being opened in a target cgroup.
#[cgroup_sock(sock_create)]
#[inline(always)]
pub fn chaos_tag(ctx: SockContext) -> i32 {
    hook::sock::run(&ctx)
}

/// A thread exits.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
#[inline(always)]
pub fn chaos_exit(_ctx: RawTracePointContext) -> i32 {
    hook::exit::run();
    0
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Some helpers are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

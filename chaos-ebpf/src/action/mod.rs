//! What is done to a packet that a rule names: one module a fault, applied in the order of
//! [`chaos_ebpf_common::abi::fault`].

mod corrupt;
pub mod cut;
mod drop;
mod duplicate;
pub mod fragment;
pub mod line;
mod reject;
pub mod reset;
pub mod tally;
pub mod turn;
pub mod wait;

use chaos_ebpf_common::{
    abi::{Hook, Netns, Rule, fault, flags},
    cut::{cuts, passes_uncut},
    frame::Packet,
    line::{parts_flow, takes},
    loss::any_of,
};

use crate::{
    skb::{Skb, vanish},
    work::Work,
};
use tally::Tally;

/// TCX_NEXT and TC_ACT_UNSPEC: whoever comes after us decides.
pub const STAYS: i32 = -1;
/// TC_ACT_SHOT: at egress, the sender is told.
const SHOT: i32 = 2;

/// A packet with all that its faults need to know.
pub struct Treated<'a> {
    /// The packet.
    pub skb: Skb,
    /// What is armed in its namespace.
    pub netns: &'a Netns,
    /// The hook it is at.
    pub hook: u32,
    /// What is known of it.
    pub work: &'a Work,
}

impl Treated<'_> {
    /// Its headers.
    #[inline(always)]
    pub fn packet(&self) -> &Packet {
        &self.work.packet
    }

    /// Whether the packet leaves its target.
    #[inline(always)]
    pub fn leaving(&self) -> bool {
        self.hook == Hook::Egress as u32
    }

    /// Offset of the end of the IP packet.
    #[inline(always)]
    pub fn end(&self) -> u32 {
        let length = self.skb.len();
        if self.work.packet.end < length {
            self.work.packet.end
        } else {
            length
        }
    }

    /// Loses the packet without telling anybody.
    #[inline(always)]
    pub fn lost(&self) -> i32 {
        silently(self.hook)
    }
}

/// What becomes of a packet at a hook after its loss was decided.
#[inline(always)]
pub fn after(loss: Loses, hook: u32) -> Next {
    match loss {
        Loses::Not => Next::Go,
        Loses::Silently => Next::End(silently(hook)),
        Loses::Loudly => Next::End(SHOT),
    }
}

/// The verdict that loses a packet without telling anybody.
#[inline(always)]
fn silently(hook: u32) -> i32 {
    if hook == Hook::Egress as u32 {
        vanish()
    } else {
        SHOT
    }
}

/// What comes after a rule.
pub enum Next {
    /// The next rule.
    Go,
    /// Nothing: this is the verdict of the program.
    End(i32),
    /// Nothing: resets answer the packet, and [`reset::answer`] has the verdict. Left to the program itself, because a
    /// call from here would go too deep: kernels before 6.8 count the stacks of all functions above one another in
    /// steps of 32 bytes, and 512 is the most.
    Reset,
}

/// How a packet is lost.
pub enum Loses {
    /// Not at all.
    Not,
    /// As on a wire.
    Silently,
    /// As in a full queue of the sender.
    Loudly,
}

/// Applies all faults of one rule, which is in `slot`. Once a rule is carried out on the line, those after it are,
/// too, or they would act before it; only answers are given here, because nobody gives them from there.
#[inline(always)]
pub fn apply(treated: &Treated<'_>, rule: &Rule, slot: u32) -> Next {
    let (protocol, wire_packets) = (treated.work.flow.protocol, treated.work.wire_packets);
    let noted = treated.work.notes.any();
    let parts = !noted && parts_flow(rule, protocol, wire_packets);
    let lined = noted || !parts && takes(rule, protocol, wire_packets);
    if lined && rule.faults & (fault::REJECT | fault::RESET) == 0 {
        line::add(treated, rule, slot);
        return Next::Go;
    }
    let tally = Tally::open(rule, wire_packets);
    if rule.faults & (fault::PARTITION | fault::REJECT | fault::RESET) != 0 {
        if rule.faults & fault::REJECT != 0 && reject::hits(treated, &tally) {
            return reject::apply(treated, &tally);
        }
        if rule.faults & fault::RESET != 0 && reset::hits(treated, &tally) {
            return reset::apply(&tally);
        }
    }
    if lined {
        line::add(treated, rule, slot);
        return Next::Go;
    }
    if cuts(rule, treated.packet(), wire_packets, treated.skb.gso_size()) {
        cut::add(treated, &tally, slot);
        return Next::Go;
    }
    if parts || passes_uncut(rule, wire_packets) {
        tally.not_as_one();
        tally.pass_unfit();
        return Next::Go;
    }
    if rule.faults & (fault::PARTITION | fault::DROP) != 0 {
        if let Next::End(verdict) = after(drop::decide(&tally), treated.hook) {
            return Next::End(verdict);
        }
    }
    if rule.faults & fault::DUPLICATE != 0 {
        duplicate::apply(treated, &tally);
    }
    if rule.faults & fault::CORRUPT != 0 {
        corrupt::apply(treated, &tally);
    }
    Next::Go
}

/// Whether all that a rule does is to lose packets, here.
#[inline(always)]
pub fn only_loses(rule: &Rule) -> bool {
    rule.faults & !(fault::PARTITION | fault::DROP) == 0
        && rule.flags & (flags::LINE | flags::LINE_BULK | flags::MAX_FLOWS) == 0
}

/// The part of a rule that loses packets; all that XDP carries out.
#[inline(always)]
pub fn lose(rule: &Rule, wire_packets: u32) -> Loses {
    let tally = Tally::open(rule, wire_packets);
    if rule.faults & (fault::PARTITION | fault::DROP) == 0 {
        Loses::Not
    } else {
        drop::decide(&tally)
    }
}

/// [`lose`] for a rule without a chain.
#[inline(always)]
pub fn lose_by_chance(rule: &Rule, wire_packets: u32) -> Loses {
    let tally = Tally::open(rule, wire_packets);
    if rule.faults & (fault::PARTITION | fault::DROP) == 0 {
        Loses::Not
    } else {
        drop::decide_by_chance(&tally)
    }
}

/// [`any_of`], in a function of its own: its loop would be walked anew behind every path that leads there.
#[inline(never)]
fn any_of_wire(chance: u64, wire_packets: u32) -> u64 {
    any_of(chance, wire_packets)
}

/// Whether a loss is told to the sender.
#[inline(always)]
fn loud(rule: &Rule) -> bool {
    rule.flags & flags::SIGNAL_LOCAL != 0
}

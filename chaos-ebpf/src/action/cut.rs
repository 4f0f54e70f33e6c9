//! The faults of single wire packets, in super-packets that leave: whether any wire packet of one is hit is seen before
//! it leaves. If none is, it goes on whole, and nothing was paid but the dice. If one is, a copy is sent for each of its
//! wire packets, made small by [`enter`], which is where the faults act; it itself goes nowhere. All of it happens
//! within the hook, so no packet overtakes another.
//!
//! What cannot be cut (BIG TCP, what a tunnel carries) passes where the daemon can have it go by the user line instead, and
//! does so within a tenth of a second; else it is hit as a whole, by what its first wire packet that is hit meets.

use chaos_ebpf_common::{
    abi::{Hook, Rule, fault, loss, protocol, stat},
    corrupt::layout,
    cut::{passes_uncut, piece, pieces, tcp_flags},
    loss::{chained, every},
    rng::{Stream, hit},
};
use core::cell::Cell;

use super::{Loses, STAYS, Treated, corrupt, drop, duplicate, line, tally::Tally};
use crate::{
    atomic::compare_exchange,
    each::{GO, STOP, each},
    maps::{NETNS, NETNS_INDEX, RULES, count},
    skb::{Mark, Skb, vanish},
    work::{Work, outer, work},
};

/// Rules of one super-packet that look at its wire packets.
const CUT_RULES: usize = 8;

/// Rules that act on each wire packet of the super-packet at hand, and how it is cut.
#[repr(C)]
pub struct Cuts {
    count: Cell<u32>,
    /// Offset of the payload.
    payload: Cell<u32>,
    /// Its end.
    end: Cell<u32>,
    /// Payload of a wire packet.
    size: Cell<u32>,
    /// The one whose turn it is.
    number: Cell<u32>,
    /// It could not be made.
    failed: Cell<u32>,
    rules: [Cut; CUT_RULES],
}

#[repr(C)]
struct Cut {
    /// Number of the first wire packet among all that the rule has seen.
    sequence: Cell<u64>,
    /// Memory of the loss model, before and after.
    before: Cell<u64>,
    after: Cell<u64>,
    /// The first wire packet that is doubled, and that is corrupted, if any is.
    doubled: Cell<u64>,
    spoiled: Cell<u64>,
    slot: Cell<u32>,
    /// `fault::DROP`, `DUPLICATE` and `CORRUPT`, for each that hits any.
    hits: Cell<u32>,
}

// SAFETY: scratch space of one CPU.
unsafe impl Sync for Cuts {}

impl Cuts {
    /// None so far.
    #[inline(always)]
    pub fn clear(&self) {
        self.count.set(0);
    }

    /// Whether there are any.
    #[inline(always)]
    pub fn any(&self) -> bool {
        self.count.get() > 0
    }

    /// A rule, its slot, and where it is kept.
    #[inline(always)]
    fn get(&self, i: u32) -> Option<(&Cut, &'static Rule)> {
        let cut = self.rules.get(i as usize)?;
        Some((cut, RULES.get(cut.slot.get())?))
    }
}

/// Notes a rule that looks at the wire packets.
#[inline(always)]
pub fn add(treated: &Treated<'_>, tally: &Tally<'_>, slot: u32) {
    let cuts = &treated.work.cuts;
    let i = cuts.count.get() as usize;
    if i < CUT_RULES {
        tally.not_as_one();
        cuts.rules[i].sequence.set(tally.sequence);
        cuts.rules[i].slot.set(slot);
        cuts.count.set(i as u32 + 1);
    } else {
        count(stat::CROWDED);
    }
}

/// What became of a super-packet.
pub const WHOLE: u32 = 0;
/// Its wire packets were sent, or it was lost.
pub const GONE: u32 = 1;
/// It was hit, and cannot be cut: [`hit_whole`] is to be asked.
pub const STUCK: u32 = 2;

/// Sends the wire packets of a super-packet, if any is hit; else nothing has happened.
#[inline(never)]
pub fn send(treated: &Treated<'_>) -> u32 {
    let (skb, cuts) = (treated.skb, &treated.work.cuts);
    let mut look = Look {
        cuts,
        wire_packets: treated.work.wire_packets,
        hit: false,
    };
    each(cuts.count.get(), look_at, &mut look);
    if !look.hit {
        each(cuts.count.get(), remember, &mut look);
        return WHOLE;
    }
    let packet = treated.packet();
    let data_offset = skb.load::<u8>(packet.l4 + 12).unwrap_or(0);
    let Some((payload, _)) = layout(packet, data_offset) else {
        return STUCK;
    };
    let (end, size) = (treated.end(), skb.gso_size());
    cuts.payload.set(payload);
    cuts.end.set(end);
    cuts.size.set(size);
    cuts.failed.set(0);
    let mut sent = Sent {
        skb,
        cuts,
        first: true,
        refused: false,
    };
    each(pieces(payload, end, size), send_one, &mut sent);
    if sent.refused {
        // Nor has it room for the whole, and it tells whoever sends.
        return WHOLE;
    }
    if sent.first {
        // Where not even the first could be made, the packet is as it was.
        return STUCK;
    }
    if cuts.failed.get() != 0 {
        count(stat::HELPER_FAILED);
    }
    GONE
}

/// Treats a super-packet that cannot be cut, in place of those of its wire packets that are hit: [`WHOLE`] or [`GONE`].
#[inline(never)]
pub fn hit_whole(treated: &Treated<'_>) -> u32 {
    let mut made = Made {
        treated: Treated { ..*treated },
        cuts: &treated.work.cuts,
        lost: false,
    };
    each(made.cuts.count.get(), treat_whole, &mut made);
    if made.lost { GONE } else { WHOLE }
}

extern "C" fn treat_whole(i: u32, made: &mut Made<'_>) -> i64 {
    let Some((cut, rule)) = made.cuts.get(i) else {
        return STOP;
    };
    let (hits, wire_packets) = (cut.hits.get(), made.treated.work.wire_packets);
    // The chance that any of several is hit is no less than that of one, so the dice of one that is hit say so again.
    let tally = |sequence| Tally::of_whole(rule, sequence, wire_packets);
    let whole = tally(cut.sequence.get());
    advance(&whole, cut);
    if passes_uncut(rule, wire_packets) {
        whole.pass_unfit();
        return GO;
    }
    whole.count(|counters, n| counters.aggregated += n);
    if hits & fault::DROP != 0 && !matches!(drop::settle(&whole, true), Loses::Not) {
        made.lost = true;
        return STOP;
    }
    if hits & fault::DUPLICATE != 0 {
        duplicate::apply(&made.treated, &tally(cut.doubled.get()));
    }
    if hits & fault::CORRUPT != 0 {
        corrupt::apply(&made.treated, &tally(cut.spoiled.get()));
    }
    GO
}

/// A search for wire packets that are hit.
struct Look<'a> {
    cuts: &'a Cuts,
    wire_packets: u32,
    hit: bool,
}

extern "C" fn look_at(i: u32, look: &mut Look<'_>) -> i64 {
    let Some((cut, rule)) = look.cuts.get(i) else {
        return STOP;
    };
    let chain = chain_of(rule);
    let mut dice = Dice {
        rule,
        cut,
        sequence: cut.sequence.get(),
        chain,
    };
    cut.hits.set(if rule.faults & fault::PARTITION != 0 {
        fault::DROP
    } else {
        0
    });
    each(look.wire_packets, throw, &mut dice);
    cut.before.set(chain);
    cut.after.set(dice.chain);
    look.hit |= cut.hits.get() != 0;
    GO
}

/// The dice of one rule.
struct Dice<'a> {
    rule: &'a Rule,
    cut: &'a Cut,
    sequence: u64,
    chain: u64,
}

impl Dice<'_> {
    /// Notes a hit, and where it is the first of its fault: whose number `first` keeps.
    #[inline(always)]
    fn hit(&self, fault: u32, first: Option<&Cell<u64>>, number: u64) {
        let hits = self.cut.hits.get();
        if let Some(first) = first
            && hits & fault == 0
        {
            first.set(number);
        }
        self.cut.hits.set(hits | fault);
    }
}

extern "C" fn throw(_: u32, dice: &mut Dice<'_>) -> i64 {
    let (rule, n) = (dice.rule, dice.sequence);
    dice.sequence = n.wrapping_add(1);
    if rule.faults & fault::DROP != 0 {
        let model = &rule.drop;
        let lost = if model.model == loss::CHANCE {
            hit(rule.seed, Stream::Drop, n, model.chance)
        } else {
            let (lost, chain) = if model.model == loss::EVERY {
                every(model.every, 1, dice.chain)
            } else {
                chained(model, rule.seed, n, dice.chain)
            };
            dice.chain = chain;
            lost
        };
        if lost {
            dice.hit(fault::DROP, None, n);
        }
    }
    if rule.faults & fault::DUPLICATE != 0 && hit(rule.seed, Stream::Duplicate, n, rule.duplicate) {
        dice.hit(fault::DUPLICATE, Some(&dice.cut.doubled), n);
    }
    if rule.faults & fault::CORRUPT != 0 && hit(rule.seed, Stream::Corrupt, n, rule.corrupt) {
        dice.hit(fault::CORRUPT, Some(&dice.cut.spoiled), n);
    }
    GO
}

/// Nothing was hit: the chains have moved on.
extern "C" fn remember(i: u32, look: &mut Look<'_>) -> i64 {
    let Some((cut, rule)) = look.cuts.get(i) else {
        return STOP;
    };
    advance(&Tally::of_piece(rule, 0), cut);
    GO
}

/// Moves the chain of a rule behind a super-packet. When another CPU has moved it meanwhile, its move stands.
#[inline(always)]
fn advance(tally: &Tally<'_>, cut: &Cut) {
    if tally.rule.drop.model != loss::CHANCE
        && let Some(chain) = tally.chain()
    {
        // SAFETY: an aligned map value.
        unsafe { compare_exchange(chain, cut.before.get(), cut.after.get()) };
    }
}

/// The state of a rule's loss model.
#[inline(always)]
fn chain_of(rule: &Rule) -> u64 {
    match Tally::of_piece(rule, 0).chain() {
        // SAFETY: a map value; volatile, because other CPUs write it.
        Some(chain) => unsafe { core::ptr::read_volatile(chain) },
        None => 0,
    }
}

/// Pieces on their way.
struct Sent<'a> {
    skb: Skb,
    cuts: &'a Cuts,
    /// None was made so far.
    first: bool,
    /// The queue of the device had no room for the first.
    refused: bool,
}

extern "C" fn send_one(i: u32, sent: &mut Sent<'_>) -> i64 {
    sent.cuts.number.set(i);
    let sent_by = sent.skb.copy(Mark::Piece, false);
    if sent.first {
        if sent_by < 0 || sent.cuts.failed.get() != 0 {
            return STOP;
        }
        if sent_by > 0 {
            sent.refused = true;
            return STOP;
        }
    }
    sent.first = false;
    GO
}

/// A copy that is to be one wire packet of the super-packet at hand in the program above: its verdict.
#[inline(never)]
pub fn enter(skb: Skb) -> i32 {
    let (Some(above), Some(netns), Some(work)) = (outer(), NETNS.get(NETNS_INDEX.load()), work()) else {
        return vanish();
    };
    work.packet = above.packet;
    work.flow = above.flow;
    work.wire_packets = 1;
    work.came = above.came;
    work.netns_index = above.netns_index;
    work.hook = Hook::Egress as u32;
    // Also those that are lost are made, so that it is known of the first whether they can be.
    let Some(end) = make(skb, above) else {
        above.cuts.failed.set(1);
        return vanish();
    };
    work.packet.end = end;
    let mut made = Made {
        treated: Treated {
            skb,
            netns,
            hook: Hook::Egress as u32,
            work,
        },
        cuts: &above.cuts,
        lost: false,
    };
    each(above.cuts.count.get(), treat, &mut made);
    if made.lost {
        vanish()
    } else if above.notes.any() {
        line::enter_piece(skb, made.treated.work, &above.notes)
    } else {
        STAYS
    }
}

/// A wire packet.
struct Made<'a> {
    treated: Treated<'a>,
    cuts: &'a Cuts,
    lost: bool,
}

extern "C" fn treat(i: u32, made: &mut Made<'_>) -> i64 {
    let Some((cut, rule)) = made.cuts.get(i) else {
        return STOP;
    };
    let sequence = cut.sequence.get().wrapping_add(made.cuts.number.get() as u64);
    let tally = Tally::of_piece(rule, sequence);
    if rule.faults & (fault::PARTITION | fault::DROP) != 0 && !matches!(drop::decide(&tally), Loses::Not) {
        made.lost = true;
        return STOP;
    }
    if rule.faults & fault::DUPLICATE != 0 {
        duplicate::apply(&made.treated, &tally);
    }
    if rule.faults & fault::CORRUPT != 0 {
        corrupt::apply(&made.treated, &tally);
    }
    GO
}

/// Makes the wire packet out of the copy: its end; `None` when that is not possible, and the copy is of no use any
/// more.
#[inline(never)]
fn make(skb: Skb, above: &Work) -> Option<u32> {
    let (packet, cuts) = (&above.packet, &above.cuts);
    let (payload, number) = (cuts.payload.get(), cuts.number.get());
    let piece = piece(payload, cuts.end.get(), cuts.size.get(), number)?;
    let of_tcp = packet.protocol == protocol::TCP;
    let checksum = packet.l4 + if of_tcp { 16 } else { 6 };
    // The kernel shortens no packet of a tunnel, whose inner headers are not ours (net/core/filter.c,
    // `__bpf_skb_change_tail`).
    if !skb.keep_only(payload, piece.from, piece.length) {
        return None;
    }
    let end = payload + piece.length;
    let whole = (cuts.end.get() - packet.l4) as u16;
    let length = (end - packet.l4) as u16;
    let mut done = if packet.version == 4 {
        let (l3, sum) = (packet.l3, packet.l3 + 10);
        let (total, id) = (skb.load::<u16>(l3 + 2)?, skb.load::<u16>(l3 + 4)?);
        if total == 0 {
            return None;
        }
        let now = ((end - l3) as u16).to_be();
        let next = u16::from_be(id).wrapping_add(number as u16).to_be();
        skb.mend_l3(sum, total, now)
            && skb.mend_l3(sum, id, next)
            && skb.store(l3 + 2, &now, false)
            && skb.store(l3 + 4, &next, false)
    } else {
        // Of larger ones the length stands in an option.
        let total = skb.load::<u16>(packet.l3 + 4)?;
        total != 0 && skb.store(packet.l3 + 4, &((end - packet.l3 - 40) as u16).to_be(), false)
    };
    done = done && skb.mend_l4_length(checksum, whole, length);
    done = done
        && if of_tcp {
            let first = u32::from_be(skb.load::<u32>(packet.l4 + 4)?);
            let sequence = first.wrapping_add(piece.from - payload).to_be();
            let flags = skb.load::<u8>(packet.l4 + 13)?;
            skb.store(packet.l4 + 4, &sequence, false)
                && skb.store(packet.l4 + 13, &tcp_flags(flags, number, piece.last), false)
        } else {
            skb.store(packet.l4 + 4, &length.to_be(), false)
        };
    if done { Some(end) } else { None }
}

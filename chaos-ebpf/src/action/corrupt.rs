//! `corrupt` with `checksum: fix`: one bit of the payload, and a checksum that says all is well.

use chaos_ebpf_common::{
    abi::{protocol, stat},
    corrupt::flip,
    rng::{Stream, hit},
};

use super::{Treated, any_of_wire, tally::Tally};
use crate::maps::count;

/// Flips the bit.
#[inline(never)]
pub fn apply(treated: &Treated<'_>, tally: &Tally<'_>) -> u32 {
    let chance = any_of_wire(tally.rule.corrupt, tally.wire_packets);
    if !hit(tally.rule.seed, Stream::Corrupt, tally.sequence, chance) {
        return 0;
    }
    match corrupt(treated, tally) {
        Some(true) => tally.count(|counters, _| counters.corrupted += 1),
        Some(false) => {}
        None => tally.count(|counters, n| counters.unseen += n),
    }
    0
}

/// `Some(false)`: the budget is spent. `None`: nothing here can be corrupted.
#[inline(always)]
fn corrupt(treated: &Treated<'_>, tally: &Tally<'_>) -> Option<bool> {
    let (skb, packet) = (treated.skb, treated.packet());
    let data_offset = if packet.protocol == protocol::TCP {
        skb.load::<u8>(packet.l4 + 12)?
    } else {
        0
    };
    let flip = flip(
        packet,
        data_offset,
        treated.end(),
        tally.rule.seed,
        tally.sequence,
    )?;
    let before = skb.load::<u8>(flip.at)?;
    if !tally.spend() {
        return Some(false);
    }
    let after = before ^ flip.mask;
    // First the byte, then its checksum: if the second fails the receiver's checksum catches the flip.
    let done = skb.store(flip.at, &after, false)
        && skb.mend_l4(flip.checksum, flip.word(before), flip.word(after), flip.optional);
    if !done {
        count(stat::HELPER_FAILED);
    }
    Some(true)
}

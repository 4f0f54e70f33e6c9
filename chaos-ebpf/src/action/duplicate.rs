//! `duplicate`: a copy goes its way untouched, and no rule sees it again at this hook.

use chaos_ebpf_common::{
    abi::stat,
    rng::{Stream, hit},
};

use super::{Treated, any_of_wire, tally::Tally};
use crate::{maps::count, skb::Mark};

/// Sends the copy. The packet itself goes on to the next fault.
#[inline(never)]
pub fn apply(treated: &Treated<'_>, tally: &Tally<'_>) -> u32 {
    let chance = any_of_wire(tally.rule.duplicate, tally.wire_packets);
    if !hit(tally.rule.seed, Stream::Duplicate, tally.sequence, chance) || !tally.spend() {
        return 0;
    }
    if treated.skb.copy(Mark::Ours, !treated.leaving()) == 0 {
        tally.count(|counters, n| counters.duplicated += n);
    } else {
        count(stat::HELPER_FAILED);
        tally.count(|counters, n| counters.unseen += n);
    }
    0
}

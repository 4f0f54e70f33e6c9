//! `duplicate`: a copy goes its way untouched, and no rule sees it again at this hook.

use chaos_ebpf_common::{
    abi::stat,
    loss::any_of,
    rng::{Stream, hit},
};

use super::{Treated, tally::Tally};
use crate::maps::count;

/// Sends the copy. The packet itself goes on to the next fault.
#[inline(always)]
pub fn apply(treated: &Treated<'_>, tally: &Tally<'_>) {
    let chance = any_of(tally.rule.duplicate, tally.wire_packets);
    if !hit(tally.rule.seed, Stream::Duplicate, tally.sequence, chance) || !tally.spend() {
        return;
    }
    if treated.skb.copy(!treated.leaving()) {
        tally.count(|counters, n| counters.duplicated += n);
    } else {
        count(stat::HELPER_FAILED);
        tally.count(|counters, n| counters.unseen += n);
    }
}

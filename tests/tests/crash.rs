//! The crash campaign: whatever ends or hangs the daemon, at whatever moment, the traffic is whole again within the
//! bound, and nothing is left.
//!
//! Each round draws from a seed of its own, which it prints when it fails; `CHAOS_CRASH_SEED` makes it the first round.
//! `CHAOS_CRASH_ROUNDS` is how many rounds all tests have together.
#![forbid(unsafe_code)]

#[path = "crash/bed.rs"]
mod bed;
#[path = "crash/draw.rs"]
mod draw;
#[path = "crash/load.rs"]
mod load;

use std::time::Duration;

use chaos_tests::need;

use crate::bed::{Bed, Blow, campaign};

const MILLI: Duration = Duration::from_millis(1);

#[test]
fn killed_at_work() {
    need!(chaos_tests::require_tcx());
    campaign(Blow::Kill, 40);
}

#[test]
fn aborted_at_work() {
    need!(chaos_tests::require_tcx());
    campaign(Blow::Abort, 15);
}

#[test]
fn hung_at_work() {
    campaign(Blow::Stop, 15);
}

#[test]
fn told_to_end_at_work() {
    campaign(Blow::Term, 15);
}

#[test]
fn killed_while_it_starts() {
    need!(chaos_tests::require_tcx());
    campaign(Blow::KillAtStart, 15);
}

/// The campaign can fail: a rule that stays is seen as one.
#[test]
fn a_leftover_is_noticed() {
    let bed = Bed::new();
    bed.leave_a_rule_behind();
    let late = bed.whole_after(chaos_tests::monotonic_nanos(), 20 * MILLI);
    assert!(late.is_err(), "{late:?}");
    assert!(!bed.is_untouched());
    bed.clear_up();
}

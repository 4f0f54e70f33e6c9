//! Lease, deadline and budget: how a fault ends in the kernel, by itself.

use chaos_daemon::safety::clock::{boot_ns, monotonic_ns};
use chaos_tests::packet::{At, Expect, Family, Injection, Packet, Settings, Transport, is_lost};
use chaos_tests::{boot_nanos, eventually};
use std::time::Duration;

use super::support::{BOTH, check, datagram, lab, lab_with};

fn lose_all() -> Injection {
    Injection::new("{direction: both}", "{partition: {}}")
}

#[test]
fn no_lease_no_fault() {
    for xdp in [false, true] {
        let Some(mut lab) = lab_with(
            "endings::no_lease_no_fault",
            Settings {
                xdp,
                ..Settings::default()
            },
        ) else {
            return;
        };
        lab.inject(&lose_all());
        let (at, lost, pass) = if xdp {
            (At::Xdp, Expect::XdpDrop, Expect::XdpPass)
        } else {
            (At::Ingress, Expect::Shot, Expect::Untouched)
        };
        let (out, back) = (datagram(Family::V6), Packet::arriving(Family::V6, Transport::Udp));
        check(&lab, At::Egress, &out, &Expect::Vanished, "lease held");
        check(&lab, at, &back, &lost, "lease held");
        lab.halt();
        check(&lab, At::Egress, &out, &Expect::Untouched, "halted");
        check(&lab, at, &back, &pass, "halted");
        assert_eq!(lab.stat("lease_over"), 2);
        lab.renew_lease();
        check(&lab, At::Egress, &out, &Expect::Vanished, "released");
        // The coarse clock may be a tick (10 ms at most) behind.
        lab.lease_until(monotonic_ns() + 30_000_000);
        check(&lab, At::Egress, &out, &Expect::Vanished, "30 ms are left");
        let start = monotonic_ns();
        eventually(Duration::from_secs(2), "the lease is over", || {
            lab.run(At::Egress, &out.frame()).verdict as i32 == -1
        });
        let passed = monotonic_ns() - start;
        assert!(passed < 60_000_000, "30 ms of lease took {passed} ns");
        check(&lab, at, &back, &pass, "lapsed");
    }
}

#[test]
fn a_deadline_is_exact() {
    let Some(mut lab) = lab("endings::a_deadline_is_exact") else {
        return;
    };
    let ahead = boot_ns() + 300_000_000;
    lab.inject(&lose_all().deadline(ahead));
    let frame = datagram(Family::V4).frame();
    let mut last_lost = 0;
    let mut first_passed = u64::MAX;
    while first_passed == u64::MAX {
        let before = boot_nanos();
        let lost = is_lost(&lab.run(At::Egress, &frame));
        let after = boot_nanos();
        if lost {
            last_lost = before;
        } else {
            first_passed = after;
        }
    }
    assert!(
        last_lost < ahead,
        "lost {} ns after the deadline",
        last_lost.saturating_sub(ahead)
    );
    assert!(
        first_passed >= ahead,
        "passed {} ns before the deadline",
        ahead.saturating_sub(first_passed)
    );
    assert!(
        first_passed - ahead < 50_000_000,
        "passed only {} ns after it",
        first_passed - ahead
    );
}

#[test]
fn a_deadline_that_is_over_and_one_that_is_far() {
    let Some(mut lab) = lab("endings::a_deadline_that_is_over_and_one_that_is_far") else {
        return;
    };
    let over = lab.inject(&lose_all().deadline(boot_ns() - 1));
    for family in BOTH {
        check(&lab, At::Egress, &datagram(family), &Expect::Untouched, "over");
    }
    assert_eq!(
        lab.counters(over).matched,
        0,
        "a fault that is over counts nothing"
    );
    lab.inject(&lose_all().deadline(u64::MAX));
    check(&lab, At::Egress, &datagram(Family::V4), &Expect::Vanished, "far");
}

#[test]
fn a_budget_is_spent_exactly() {
    let faults = [
        "{partition: {}}",
        "{drop: {chance: 100%}}",
        "{reject: {with: icmp}}",
        "{corrupt: {checksum: fix}}",
        "{duplicate: {}}",
    ];
    let Some(mut lab) = lab("endings::a_budget_is_spent_exactly") else {
        return;
    };
    for fault in faults {
        let id = lab.inject(&Injection::new("{}", fault).budget(7));
        let packet = datagram(Family::V4);
        let frame = packet.frame();
        let results: Vec<_> = (0..20).map(|_| lab.run(At::Egress, &frame)).collect();
        let touched = |n: usize| results[n].verdict as i32 != -1 || results[n].frame != frame;
        let count = lab.counters(id);
        let acted = count.dropped + count.rejected + count.corrupted + count.duplicated;
        assert_eq!((acted, count.matched), (7, 20), "{fault}");
        if !fault.contains("duplicate") {
            assert!((0..20).all(|n| touched(n) == (n < 7)), "{fault}");
        }
        lab.end(&[id]);
    }
}

#[test]
fn a_budget_is_shared_by_both_directions_and_all_families() {
    let Some(mut lab) = lab("endings::a_budget_is_shared_by_both_directions_and_all_families") else {
        return;
    };
    let id = lab.inject(&lose_all().budget(10));
    let mut lost = 0;
    for n in 0..40 {
        let family = BOTH[n % 2];
        lost += usize::from(is_lost(&lab.run(At::Egress, &datagram(family).frame())));
        let arriving = Packet::arriving(family, Transport::Udp).frame();
        lost += usize::from(is_lost(&lab.run(At::Ingress, &arriving)));
    }
    assert_eq!((lost, lab.counters(id).dropped), (10, 10));
}

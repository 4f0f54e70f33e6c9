//! Loss models, in wire packets.
//!
//! A hook may see a super-packet that stands for several wire packets (GSO, GRO). It is lost when any
//! of its wire packets would be: the rate of loss events is then the asked one, each event takes the
//! whole super-packet. On the line, packets come one by one and nothing is weighted.

use crate::{
    abi::{Loss, Rule, fault, loss},
    netem,
    rng::{CERTAIN, Stream, draw, hit},
};

/// Most wire packets of one super-packet that a chain steps through; the rest keep its last state.
/// 64 KiB at an MSS of 1,000 are 65.
pub const STEPS: u32 = 64;

/// 1 - (1 - p)^n, both in 0..=2^32: the chance that at least one of `n` wire packets is hit.
#[inline(always)]
pub fn any_of(p: u64, n: u32) -> u64 {
    if n <= 1 || p == 0 || p >= CERTAIN {
        return p;
    }
    // Fixed point with 32 fractional bits; square and multiply over 16 bits of n. No branches, because the
    // verifier would walk both sides of each.
    let (mut power, mut base, mut left) = (CERTAIN, CERTAIN - p, n as u64 & 0xffff);
    let mut i = 0;
    while i < 16 {
        let taken = 0u64.wrapping_sub(left & 1);
        power = multiply(power, base) & taken | power & !taken;
        base = multiply(base, base);
        left >>= 1;
        i += 1;
    }
    CERTAIN - power
}

/// a × b with 32 fractional bits, for a up to 1 and b below 1.
#[inline(always)]
fn multiply(a: u64, b: u64) -> u64 {
    a.wrapping_mul(b) >> 32
}

/// Whether a packet of `n` wire packets, the first of which is number `sequence`, is lost, and the
/// memory of the model afterwards.
#[inline(always)]
pub fn step(model: &Loss, seed: u64, sequence: u64, n: u32, chain: u64) -> (bool, u64) {
    match model.model {
        loss::EVERY => every(model.every, n, chain),
        loss::GILBERT_ELLIOTT | loss::NETEM => {
            let (mut lost, mut state, mut i) = (false, chain, 0);
            while i < STEPS && i < n {
                let (hit, next) = chained(model, seed, sequence.wrapping_add(i as u64), state);
                lost |= hit;
                state = next;
                i += 1;
            }
            (lost, state)
        }
        _ => (hit(seed, Stream::Drop, sequence, any_of(model.chance, n)), chain),
    }
}

/// Every n-th: `chain` counts wire packets since the last loss.
#[inline(always)]
pub fn every(nth: u32, n: u32, chain: u64) -> (bool, u64) {
    let nth = if nth == 0 { 1 } else { nth as u64 };
    let count = chain + n as u64;
    if count >= nth {
        (true, count % nth)
    } else {
        (false, count)
    }
}

/// One wire packet of a model with a memory.
#[inline(always)]
pub fn chained(model: &Loss, seed: u64, sequence: u64, chain: u64) -> (bool, u64) {
    if model.model == loss::NETEM {
        let fresh = (draw(seed, Stream::Drop, sequence) >> 32) as u32;
        let number = netem::number(fresh, chain, model.leave);
        return (netem::hits(model.chance, number), number);
    }
    gilbert_elliott(model, seed, sequence, chain)
}

/// One step of the chain. Bit 0 of `chain`: 1 = bad. First the state moves, then the packet is judged in
/// its new state, so the long-run loss is `(p·(1-h) + r·(1-k)) / (p + r)` (Gilbert 1960, Elliott 1963).
#[inline(always)]
pub fn gilbert_elliott(model: &Loss, seed: u64, sequence: u64, chain: u64) -> (bool, u64) {
    let bits = draw(seed, Stream::Chain, sequence);
    let (move_draw, loss_draw) = (bits >> 32, bits & 0xffff_ffff);
    let change = if chain & 1 == 1 { model.leave } else { model.chance };
    let bad = if move_draw < change {
        (chain & 1) ^ 1
    } else {
        chain & 1
    };
    (loss_draw < if bad == 1 { model.bad } else { model.good }, bad)
}

/// The state in which a chain begins: bad as often as it is in the long run, so that the first packets
/// lose as many as all others do; netem begins with any number. `number` tells the chains of one rule apart.
pub fn beginning(model: &Loss, seed: u64, number: u64) -> u64 {
    if model.model == loss::NETEM {
        return draw(seed, Stream::Beginning, number) >> 32;
    }
    let both = model.chance + model.leave;
    if model.model != loss::GILBERT_ELLIOTT || both == 0 {
        return 0;
    }
    let bad = ((u128::from(model.chance) << 32) / u128::from(both)) as u64;
    u64::from(hit(seed, Stream::Beginning, number, bad))
}

/// The chain whose losses have the marginal chance `p` and the lag-1 correlation `c`, both in 0..=2^32.
/// Unlike netem's recurrence it keeps the marginal: 20 % with 75 % still loses 20 %.
pub fn correlated(p: u64, c: u64) -> Loss {
    let (p, keep) = (p.min(CERTAIN), CERTAIN - c.min(CERTAIN));
    let times = |share: u64| ((u128::from(share) * u128::from(keep)) >> 32) as u64;
    Loss {
        chance: times(p),
        leave: times(CERTAIN - p),
        bad: CERTAIN,
        good: 0,
        every: 0,
        model: loss::GILBERT_ELLIOTT,
        _pad: [0; 3],
    }
}

/// What netem makes of the chance `p` and the correlation `c`, both in 0..=2^32: see [`crate::netem`].
pub fn as_netem(p: u64, c: u64) -> Loss {
    Loss {
        chance: p,
        leave: c,
        model: if c == 0 { loss::CHANCE } else { loss::NETEM },
        ..Loss::default()
    }
}

/// Whether a rule loses every packet that it names.
pub fn loses_all(rule: &Rule) -> bool {
    let certain = rule.drop.model == loss::CHANCE && rule.drop.chance >= CERTAIN;
    rule.faults & fault::PARTITION != 0 || rule.faults & fault::DROP != 0 && certain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn of(share: f64) -> u64 {
        (share * CERTAIN as f64).round() as u64
    }

    fn run(model: &Loss, seed: u64, packets: u64) -> Vec<bool> {
        let mut chain = 0;
        (0..packets)
            .map(|i| {
                let (lost, next) = step(model, seed, i, 1, chain);
                chain = next;
                lost
            })
            .collect()
    }

    fn share(losses: &[bool]) -> f64 {
        losses.iter().filter(|l| **l).count() as f64 / losses.len() as f64
    }

    fn mean_burst(losses: &[bool]) -> f64 {
        let starts = losses.windows(2).filter(|w| !w[0] && w[1]).count() + usize::from(losses[0]);
        losses.iter().filter(|l| **l).count() as f64 / starts as f64
    }

    #[test]
    fn only_what_leaves_nothing_to_chance_loses_all() {
        for (faults, model, chance, want) in [
            (fault::PARTITION, loss::CHANCE, 0, true),
            (fault::DROP, loss::CHANCE, CERTAIN, true),
            (fault::DROP | fault::DUPLICATE, loss::CHANCE, CERTAIN, true),
            (fault::DROP, loss::CHANCE, CERTAIN - 1, false),
            (fault::DROP, loss::GILBERT_ELLIOTT, CERTAIN, false),
            (fault::DUPLICATE, loss::CHANCE, CERTAIN, false),
        ] {
            let rule = Rule {
                faults,
                drop: Loss {
                    model,
                    chance,
                    ..Loss::default()
                },
                ..Rule::default()
            };
            assert_eq!(loses_all(&rule), want, "{faults} {model} {chance}");
        }
    }

    #[test]
    fn gilbert_elliott_has_its_closed_form_loss_and_burst() {
        let model = Loss {
            chance: of(0.01),
            leave: of(0.10),
            bad: CERTAIN,
            good: 0,
            model: loss::GILBERT_ELLIOTT,
            ..Loss::default()
        };
        let losses = run(&model, 42, 1_000_000);
        assert!((share(&losses) - 0.0909).abs() < 0.005, "{}", share(&losses));
        assert!(
            (mean_burst(&losses) - 10.0).abs() < 0.5,
            "{}",
            mean_burst(&losses)
        );
    }

    #[test]
    fn the_first_packet_is_lost_as_often_as_any_other() {
        let lost = |model: &Loss| {
            (0..20_000)
                .filter(|seed| {
                    let chain = beginning(model, *seed, 0);
                    step(model, *seed, 0, 1, chain).0
                })
                .count() as f64
                / 20_000.0
        };
        for p in [0.02, 0.2, 0.5] {
            let sigma = (p * (1.0 - p) / 20_000.0_f64).sqrt();
            let found = lost(&correlated(of(p), of(0.9)));
            assert!((found - p).abs() < 4.0 * sigma, "p {p}: {found}");
        }
        let nothing = Loss {
            model: loss::GILBERT_ELLIOTT,
            ..Loss::default()
        };
        assert_eq!(beginning(&nothing, 1, 0), 0);
        let every = Loss {
            every: 5,
            model: loss::EVERY,
            ..Loss::default()
        };
        assert_eq!(beginning(&every, 1, 0), 0, "counts from nothing");
    }

    #[test]
    fn correlation_keeps_the_marginal() {
        for (p, c) in [(0.2, 0.75), (0.2, 0.0), (0.01, 0.5), (0.5, 0.9)] {
            let losses = run(&correlated(of(p), of(c)), 7, 1_000_000);
            let sigma = (p * (1.0 - p) / 1e6 * (1.0 + c) / (1.0 - c)).sqrt();
            assert!(
                (share(&losses) - p).abs() < 4.0 * sigma,
                "p {p} c {c}: {}",
                share(&losses)
            );
            let m = share(&losses);
            let x: Vec<f64> = losses.iter().map(|l| f64::from(u8::from(*l)) - m).collect();
            let lag = x.windows(2).map(|w| w[0] * w[1]).sum::<f64>() / x.iter().map(|v| v * v).sum::<f64>();
            assert!((lag - c).abs() < 0.02, "p {p} c {c}: lag-1 correlation {lag}");
        }
    }

    #[test]
    fn netem_loses_a_thousandth_where_a_fifth_was_asked_for() {
        let losses = run(&as_netem(of(0.2), of(0.75)), 7, 1_000_000);
        assert!((0.0008..0.0017).contains(&share(&losses)), "{}", share(&losses));
        let losses = run(&as_netem(of(0.2), 0), 7, 1_000_000);
        assert!((share(&losses) - 0.2).abs() < 0.002, "{}", share(&losses));
        let (first, other) = (beginning(&as_netem(1, 1), 7, 0), beginning(&as_netem(1, 1), 8, 0));
        assert!(first != other && first <= u64::from(u32::MAX));
    }

    #[test]
    fn every_fifth_is_every_fifth() {
        let model = Loss {
            every: 5,
            model: loss::EVERY,
            ..Loss::default()
        };
        let losses = run(&model, 0, 100);
        for (i, lost) in losses.iter().enumerate() {
            assert_eq!(*lost, i % 5 == 4, "packet {i}");
        }
    }

    #[test]
    fn every_one_and_every_zero_lose_all() {
        for every in [0, 1] {
            assert!(
                run(
                    &Loss {
                        every,
                        model: loss::EVERY,
                        ..Loss::default()
                    },
                    0,
                    10
                )
                .iter()
                .all(|l| *l)
            );
        }
    }

    proptest! {
        #[test]
        fn any_of_n_is_the_complement_of_none(p in 0.0f64..=1.0, n in 1u32..=128) {
            let want = 1.0 - (1.0 - p).powi(n as i32);
            let got = any_of(of(p), n) as f64 / CERTAIN as f64;
            prop_assert!((want - got).abs() < 1e-6, "p {} n {}: {} {}", p, n, want, got);
        }

        #[test]
        fn a_super_packet_is_lost_iff_one_of_its_packets_is(
            seed: u64, p in 0.001f64..0.2, n in 1u32..=64, netem: bool,
        ) {
            let model = if netem { as_netem(of(p), of(0.5)) } else { correlated(of(p), of(0.5)) };
            let mut chain = 0;
            let mut any = false;
            for i in 0..n {
                let (lost, next) = step(&model, seed, i as u64, 1, chain);
                any |= lost;
                chain = next;
            }
            prop_assert_eq!(step(&model, seed, 0, n, 0), (any, chain));
        }

        #[test]
        fn zero_never_and_certain_always(seed: u64, n in 1u32..100, seq: u64) {
            let model = |chance| Loss { chance, ..Loss::default() };
            prop_assert!(!step(&model(0), seed, seq, n, 0).0);
            prop_assert!(step(&model(CERTAIN), seed, seq, n, 0).0);
        }
    }
}

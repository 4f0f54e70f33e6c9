//! What netem's correlation makes of a chance: the share of numbers, drawn by its recurrence, that hit.

use crate::Chance;

/// Places at which the distribution is known, evenly over 0..=1.
const PLACES: usize = 2048;
/// More turns than any correlation needs whose share is worth telling.
const TURNS: usize = 4_000;
/// A turn that moves nothing by more than this is the last.
const STILL: f64 = 1e-10;

/// The share that netem hits when it is asked for `chance` with `correlation`, both in 0..=1.
///
/// Its number is X' = (1 - c)·U + c·X with a uniform U, so the distribution F of X is the one that comes back from
/// F(x) = ∫ F(y / c) dy / (1 - c), y from x - (1 - c) to x. It is found by going round.
pub(super) fn share(chance: Chance, correlation: Chance) -> f64 {
    let (asked, kept) = (chance.as_ratio(), correlation.as_ratio());
    if correlation.is_never() || chance.is_always() || chance.is_never() || correlation.is_always() {
        return asked;
    }
    let fresh = 1.0 - kept;
    let place = |i: usize| i as f64 / PLACES as f64;
    let mut below: Vec<f64> = (0..=PLACES).map(place).collect();
    for _ in 0..TURNS {
        let area = areas(&below);
        let next: Vec<f64> = (0..=PLACES)
            .map(|i| {
                let (to, from) = (place(i) / kept, (place(i) - fresh) / kept);
                (kept / fresh * (up_to(&area, to) - up_to(&area, from))).clamp(0.0, 1.0)
            })
            .collect();
        let moved = below
            .iter()
            .zip(&next)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max);
        below = next;
        if moved < STILL {
            break;
        }
    }
    between(&below, asked)
}

/// The integral of a function from 0 to each place.
fn areas(values: &[f64]) -> Vec<f64> {
    let mut sum = 0.0;
    let mut areas = Vec::with_capacity(values.len());
    areas.push(0.0);
    for pair in values.windows(2) {
        sum += (pair[0] + pair[1]) / 2.0 / PLACES as f64;
        areas.push(sum);
    }
    areas
}

/// The integral up to any `x`: nothing below 0, and the function is 1 above 1.
fn up_to(area: &[f64], x: f64) -> f64 {
    if x <= 0.0 {
        0.0
    } else if x >= 1.0 {
        area[PLACES] + x - 1.0
    } else {
        between(area, x)
    }
}

fn between(values: &[f64], x: f64) -> f64 {
    let at = x * PLACES as f64;
    let index = (at as usize).min(PLACES - 1);
    let part = at - index as f64;
    values[index] * (1.0 - part) + values[index + 1] * part
}

/// A share as people read it: two figures that count.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 0.0001 {
        return "less than 0.0001%".to_owned();
    }
    let decimals = (1 - percent.log10().floor() as i32).max(0) as usize;
    format!("about {percent:.decimals$}%")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The recurrence itself, long enough.
    fn drawn(chance: f64, correlation: f64) -> f64 {
        let (mut last, mut state, mut hits) = (0.5, 1_u64, 0_u64);
        const DRAWS: u64 = 4_000_000;
        for _ in 0..DRAWS {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let fresh = (state >> 32) as f64 / 4_294_967_296.0;
            last = fresh * (1.0 - correlation) + last * correlation;
            hits += u64::from(last <= chance);
        }
        hits as f64 / DRAWS as f64
    }

    #[test]
    fn the_share_is_the_one_that_drawing_finds() {
        for (chance, correlation) in [(20, 75), (20, 25), (50, 50), (5, 25), (30, 90), (90, 60)] {
            let of = |n| Chance::percent(n).expect("a percentage");
            let found = share(of(chance), of(correlation));
            let drawn = drawn(chance as f64 / 100.0, correlation as f64 / 100.0);
            assert!(
                (found - drawn).abs() < 0.03 * drawn + 0.0001,
                "{chance} % with {correlation} %: {found} against {drawn}"
            );
        }
    }

    #[test]
    fn without_correlation_and_at_the_ends_it_is_what_was_asked_for() {
        let of = |n| Chance::percent(n).expect("a percentage");
        assert_eq!(share(of(20), of(0)), 0.2);
        assert_eq!(share(of(100), of(75)), 1.0);
        assert_eq!(share(of(0), of(75)), 0.0);
        assert!((share(of(50), of(99)) - 0.5).abs() < 0.001);
    }

    #[test]
    fn two_figures_count() {
        assert_eq!(percent(0.000_812_3), "about 0.081%");
        assert_eq!(percent(0.1234), "about 12%");
        assert_eq!(percent(0.0123), "about 1.2%");
        assert_eq!(percent(1.0), "about 100%");
        assert_eq!(percent(0.0), "less than 0.0001%");
    }
}

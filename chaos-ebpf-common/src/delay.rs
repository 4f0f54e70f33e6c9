//! How long a packet waits, in integers, so that kernel and user lines draw alike.
//!
//! Correlated jitter is a Gaussian copula: a first-order chain of normal numbers whose marginal is standard
//! normal whatever the correlation, each then read as a quantile of the asked distribution. So correlation
//! changes the order of the delays, never their distribution; netem's weighted mean narrows it.

use core::hint::black_box;

use crate::rng::{Stream, draw};

/// Entries of a table.
pub const TABLE: usize = 4096;
/// Fixed point of numbers in units of one standard deviation, or of the jitter.
pub const ONE: i64 = 1 << 16;
/// A [`Shape`] reaches from `-REACH` to `REACH` standard deviations.
const REACH: i64 = 4 * ONE;
/// No longer than three years, in nanoseconds: what is drawn of it fits into 64 bits.
const LONGEST: u64 = 1 << 56;

/// Quantiles of the standard normal distribution in units of [`ONE`]: entry `i` at (i + ½) / 4096.
pub type Normal = [i32; TABLE];
/// A distribution: entry `i` is its offset, in units of jitter / [`ONE`], at the quantile of the normal number
/// -4 + (i + ½) / 512.
pub type Shape = [i32; TABLE];

/// What a delay is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delay {
    /// Mean, nanoseconds.
    pub latency: u64,
    /// Unit of the distribution, nanoseconds.
    pub jitter: u64,
    /// Lag-1 correlation, in units of [`ONE`].
    pub correlation: i64,
    /// Square root of 1 - correlation², in units of [`ONE`].
    pub freshness: i64,
}

/// Delay number `sequence` in nanoseconds, and the memory of the chain afterwards. `memory` is the last normal
/// number in units of [`ONE`], from 0.
#[inline(always)]
pub fn sample(
    delay: &Delay,
    normal: &Normal,
    shape: &Shape,
    seed: u64,
    sequence: u64,
    memory: i64,
) -> (u64, i64) {
    if delay.jitter == 0 {
        return (delay.latency, memory);
    }
    let fresh = at(normal, draw(seed, Stream::Delay, sequence) >> 32, 32);
    let number = (memory * delay.correlation + fresh * delay.freshness) / ONE;
    let place = (number + REACH).clamp(0, 2 * REACH - 1) as u64;
    let offset = at(shape, place, 19);
    // In two parts, for the kernel has no numbers of 128 bits.
    let jitter = if delay.jitter < LONGEST {
        delay.jitter
    } else {
        LONGEST
    } as i64;
    let latency = if delay.latency < LONGEST {
        delay.latency
    } else {
        LONGEST
    } as i64;
    let wait = latency + offset * (jitter / ONE) + offset * (jitter % ONE) / ONE;
    (if wait < 0 { 0 } else { wait as u64 }, number)
}

/// Reads a table at `place` / 2^`bits` of its width, between its entries along a straight line.
#[inline(always)]
fn at(table: &[i32; TABLE], place: u64, bits: u32) -> i64 {
    // In units of 1/256 of an entry; half an entry to the left, because entries are centres.
    let fine = (place << 20 >> bits) as i64 - 128;
    let entry = |place: i64| {
        // Said twice, and the compiler does not know: kernels before 6.8 do not see it of what was compared.
        let inside = black_box(place.clamp(0, TABLE as i64 - 1)) as usize;
        table[inside & (TABLE - 1)] as i64
    };
    let (a, b) = (entry(fine >> 8), entry((fine >> 8) + 1));
    a + (b - a) * (fine & 255) / 256
}

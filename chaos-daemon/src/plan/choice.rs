//! Which packets a fault of the line hits, when their fates are alike.

use chaos_ebpf_common::{
    abi::Loss,
    loss::{as_netem, beginning, correlated, step},
    rng::{Stream, draw, hit},
};
use chaos_spec::{Chance, NetemCompat};

/// A share of packets, each by itself or in runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Each by itself; 0..=2^32.
    Apart(u64),
    /// In runs, with a seed of its own, so that faults of one rule do not hit the same packets.
    Alike {
        /// How fates follow one another.
        model: Loss,
        /// Of this fault alone.
        seed: u64,
    },
}

impl Choice {
    /// What a spec asks for.
    pub fn new(
        chance: Chance,
        correlation: Option<Chance>,
        compat: Option<NetemCompat>,
        seed: u64,
        stream: Stream,
    ) -> Self {
        let chance = chance.threshold();
        let Some(correlation) = correlation.filter(|share| !share.is_never()) else {
            return Self::Apart(chance);
        };
        let model = match compat {
            Some(NetemCompat::Netem) => as_netem(chance, correlation.threshold()),
            None => correlated(chance, correlation.threshold()),
        };
        Self::Alike {
            model,
            seed: draw(seed, stream, u64::MAX),
        }
    }

    /// Whether packet `sequence` is hit. `memory` is what is remembered of the packets before it, `None` at first.
    pub fn hits(&self, seed: u64, stream: Stream, sequence: u64, memory: &mut Option<u64>) -> bool {
        match self {
            Self::Apart(chance) => hit(seed, stream, sequence, *chance),
            Self::Alike { model, seed } => {
                let chain = memory.unwrap_or_else(|| beginning(model, *seed, sequence));
                let (hit, next) = step(model, *seed, sequence, 1, chain);
                *memory = Some(next);
                hit
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(correlation: u64, compat: Option<NetemCompat>, stream: Stream) -> Vec<bool> {
        let of = |n| Chance::percent(n).expect("a percentage");
        let choice = Choice::new(of(20), Some(of(correlation)), compat, 7, stream);
        let mut memory = None;
        (0..200_000)
            .map(|n| choice.hits(7, stream, n, &mut memory))
            .collect()
    }

    fn share(hits: &[bool]) -> f64 {
        hits.iter().filter(|hit| **hit).count() as f64 / hits.len() as f64
    }

    #[test]
    fn runs_keep_the_share_and_netem_does_not() {
        for correlation in [0, 25, 75] {
            let found = share(&run(correlation, None, Stream::Duplicate));
            assert!((found - 0.2).abs() < 0.01, "{correlation} %: {found}");
        }
        let alike = run(75, None, Stream::Duplicate);
        let again = alike.windows(2).filter(|pair| pair[0] && pair[1]).count() as f64;
        let after_a_hit = again / (share(&alike) * alike.len() as f64);
        // 20 % and three quarters of what is missing to 100 %.
        assert!((after_a_hit - 0.8).abs() < 0.02, "{after_a_hit}");
        let netem = share(&run(75, Some(NetemCompat::Netem), Stream::Duplicate));
        assert!(netem < 0.002, "{netem}");
    }

    #[test]
    fn two_faults_of_one_rule_hit_different_packets() {
        let (copies, flips) = (run(75, None, Stream::Duplicate), run(75, None, Stream::Corrupt));
        let both = copies.iter().zip(&flips).filter(|(a, b)| **a && **b).count() as f64;
        let both = both / copies.len() as f64;
        assert!((both - 0.04).abs() < 0.01, "{both}");
    }
}

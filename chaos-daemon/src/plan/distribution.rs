//! Jitter distributions as tables, in units of the jitter: zero mean but for `uniform`'s own, and a standard
//! deviation of one where the distribution has one by that name.

use std::sync::{Arc, OnceLock};

use chaos_ebpf_common::{
    delay::{Normal, ONE, Shape, TABLE},
    netem::SCALE,
};
use chaos_spec::{Delay, Distribution, NetemCompat};

/// Exponent of the Pareto distribution, as netem's table has it.
const PARETO: f64 = 3.0;

/// Quantiles of the standard normal distribution.
pub fn normal() -> &'static Normal {
    static TABLE_OF: OnceLock<Box<Normal>> = OnceLock::new();
    TABLE_OF.get_or_init(|| Box::new(core::array::from_fn(|i| fixed(normal_quantile(centre(i))))))
}

/// How the jitter of a `delay` is drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum Jitter {
    /// By a chain of normal numbers, each read as a quantile.
    Shape(Arc<Shape>),
    /// As netem does.
    Netem {
        /// In units of 1/8192 jitter; none: uniform.
        table: Option<Arc<[i16]>>,
        /// 0..2^32.
        correlation: u64,
    },
}

impl Jitter {
    /// What a spec asks for.
    pub fn new(delay: &Delay) -> Self {
        if delay.compat == Some(NetemCompat::Netem) {
            return Self::Netem {
                table: netem_table(delay.distribution.as_ref()),
                correlation: delay.correlation.map_or(0, |share| share.threshold()),
            };
        }
        Self::Shape(match &delay.distribution {
            Some(Distribution::Table(source)) => Arc::new(table_shape(&source.table)),
            Some(named) => shape(named),
            None => shape(&Distribution::Normal),
        })
    }
}

/// A distribution by its name.
fn shape(distribution: &Distribution) -> Arc<Shape> {
    static SHAPES: [OnceLock<Arc<Shape>>; 4] = [const { OnceLock::new() }; 4];
    let (place, quantile): (usize, fn(f64) -> f64) = match distribution {
        Distribution::Uniform => (0, |u| 2.0 * u - 1.0),
        Distribution::Pareto => (2, pareto_quantile),
        Distribution::ParetoNormal => (3, pareto_normal_quantile),
        Distribution::Normal | Distribution::Table(_) => (1, normal_quantile),
    };
    Arc::clone(SHAPES[place].get_or_init(|| Arc::new(shape_of(quantile))))
}

/// The offsets of somebody else, all equally likely.
fn table_shape(offsets: &[f64]) -> Shape {
    let mut sorted = offsets.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    // Steps, not straight lines: between two offsets there is none.
    shape_of(|share| {
        let place = (share * sorted.len() as f64) as usize;
        sorted.get(place.min(last)).copied().unwrap_or_default()
    })
}

fn shape_of(quantile: impl Fn(f64) -> f64) -> Shape {
    core::array::from_fn(|i| {
        let number = -4.0 + (i as f64 + 0.5) * 8.0 / TABLE as f64;
        fixed(quantile(normal_share(number)))
    })
}

/// The table that tc would load, made by its rules (iproute2's `netem/`): 4,096 quantiles, cut off at 16 bits.
fn netem_table(distribution: Option<&Distribution>) -> Option<Arc<[i16]>> {
    /// How many finer steps its makers go through for one entry.
    const FINE: f64 = 4.0 * TABLE as f64;
    let entry = |jitters: f64| {
        let scaled = (jitters * SCALE as f64).round();
        scaled.clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i16
    };
    let start = |i: usize| i as f64 / TABLE as f64;
    let normal = |i: usize| normal_quantile((start(i) * FINE + 0.5) / FINE);
    // Its mean is 1.5 as it should be; its deviation is taken for 3/4 where it is the root of that.
    let pareto = |i: usize| ((1.0 - start(i)).powf(-1.0 / PARETO) - 1.5) * 4.0 / 3.0;
    let cut = |jitters: f64| jitters.min(f64::from(i16::MAX) / SCALE as f64);
    let table = match distribution? {
        Distribution::Uniform => return None,
        Distribution::Normal => (0..TABLE).map(|i| entry(normal(i))).collect(),
        Distribution::Pareto => (0..TABLE).map(|i| entry(pareto(i))).collect(),
        Distribution::ParetoNormal => (0..TABLE)
            // The heavy part is cut off before it is mixed in.
            .map(|i| entry(0.25 * normal(i) + 0.75 * cut(pareto(i))))
            .collect(),
        Distribution::Table(source) => source.table.iter().map(|offset| entry(*offset)).collect(),
    };
    Some(table)
}

fn centre(i: usize) -> f64 {
    (i as f64 + 0.5) / TABLE as f64
}

fn fixed(number: f64) -> i32 {
    (number * ONE as f64).round() as i32
}

/// How much of the standard normal distribution lies below `x`.
fn normal_share(x: f64) -> f64 {
    0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)
}

/// Its inverse, by halving: a table is made once.
fn normal_quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-9.0, 9.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if normal_share(middle) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// Pareto, moved and scaled to zero mean and a standard deviation of one.
fn pareto_quantile(share: f64) -> f64 {
    let mean = PARETO / (PARETO - 1.0);
    let deviation = (PARETO / ((PARETO - 1.0).powi(2) * (PARETO - 2.0))).sqrt();
    ((1.0 - share).powf(-1.0 / PARETO) - mean) / deviation
}

/// A quarter normal, three quarters Pareto, as netem mixes them: quantile by quantile.
fn pareto_normal_quantile(share: f64) -> f64 {
    0.25 * normal_quantile(share) + 0.75 * pareto_quantile(share)
}

/// Square root of 1 - c².
pub fn freshness(correlation: f64) -> f64 {
    (1.0 - correlation * correlation).max(0.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chaos_ebpf_common::delay::{Delay as Waits, sample};
    use chaos_spec::DistributionTable;

    fn run(distribution: &Distribution, correlation: f64, n: u64) -> Vec<f64> {
        let delay = Waits {
            latency: 100_000_000,
            jitter: 20_000_000,
            correlation: (correlation * ONE as f64) as i64,
            freshness: (freshness(correlation) * ONE as f64) as i64,
        };
        let shape = match distribution {
            Distribution::Table(source) => Arc::new(table_shape(&source.table)),
            named => shape(named),
        };
        let mut memory = 0;
        (0..n)
            .map(|i| {
                let (wait, next) = sample(&delay, normal(), &shape, 42, i, memory);
                memory = next;
                (wait as f64 - 1e8) / 2e7
            })
            .collect()
    }

    /// Kolmogorov-Smirnov distance to the distribution that `share` is the inverse of.
    fn distance(mut found: Vec<f64>, quantile: impl Fn(f64) -> f64) -> f64 {
        found.sort_by(f64::total_cmp);
        let n = found.len() as f64;
        (1..1000)
            .map(|i| {
                let u = f64::from(i) / 1000.0;
                let below = found.partition_point(|x| *x < quantile(u)) as f64 / n;
                (below - u).abs()
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn every_distribution_is_the_asked_one_whatever_the_correlation() {
        type Quantile = fn(f64) -> f64;
        let uniform: Quantile = |u| 2.0 * u - 1.0;
        for (distribution, quantile) in [
            (Distribution::Uniform, uniform),
            (Distribution::Normal, normal_quantile),
            (Distribution::Pareto, pareto_quantile),
            (Distribution::ParetoNormal, pareto_normal_quantile),
        ] {
            for correlation in [0.0, 0.25, 0.75] {
                let n = 100_000;
                let d = distance(run(&distribution, correlation, n), quantile);
                // 1.95 / sqrt(n) is the 99.9 % bound; correlated samples count for fewer.
                let fewer = n as f64 * (1.0 - correlation) / (1.0 + correlation);
                assert!(d < 1.95 / fewer.sqrt(), "{distribution:?} {correlation}: {d}");
            }
        }
    }

    #[test]
    fn a_table_is_drawn_as_it_is_whatever_its_order() {
        // Two humps, three quarters in the first; no quantile function anybody has a name for.
        let humps = |share: f64| {
            if share < 0.75 {
                -1.0 + share / 3.0
            } else {
                2.0 + (share - 0.75) * 4.0
            }
        };
        let mut offsets: Vec<f64> = (0..2_000)
            .map(|i| humps((f64::from(i) + 0.5) / 2_000.0))
            .collect();
        offsets.reverse();
        let table = Distribution::Table(DistributionTable {
            table: offsets,
            file: None,
        });
        for correlation in [0.0, 0.5] {
            let found = run(&table, correlation, 100_000);
            let fewer = 100_000.0 * (1.0 - correlation) / (1.0 + correlation);
            let d = distance(found, humps);
            assert!(d < 1.95 / f64::sqrt(fewer), "{correlation}: {d}");
        }
        let few = Distribution::Table(DistributionTable {
            table: vec![3.0, -1.0, -1.0, -1.0],
            file: None,
        });
        let found = run(&few, 0.0, 100_000);
        let of = |offset: f64| found.iter().filter(|x| (*x - offset).abs() < 0.01).count();
        assert!((24_400..25_600).contains(&of(3.0)), "{}", of(3.0));
        assert!((of(3.0) + of(-1.0)) > 99_800, "hardly anything between");
        let one = Distribution::Table(DistributionTable {
            table: vec![0.5],
            file: None,
        });
        assert!(run(&one, 0.0, 100).iter().all(|x| (x - 0.5).abs() < 1e-3));
    }

    #[test]
    fn the_tables_of_tc_are_made_by_its_rules() {
        let table = |distribution| netem_table(Some(&distribution)).expect("a table");
        // First, middle and last entries of the files that tc comes with.
        let normal = table(Distribution::Normal);
        assert_eq!(normal.len(), TABLE);
        assert!(normal[0] <= -32_700 && normal[TABLE - 1] > 28_000);
        assert!(normal[TABLE / 2].abs() <= 2, "{}", normal[TABLE / 2]);
        let pareto = table(Distribution::Pareto);
        assert_eq!(
            (pareto[0], pareto[1]),
            (-5461, -5460),
            "(1 - 1.5) × 4/3 × 8192, rounded"
        );
        assert_eq!(pareto[TABLE - 1], i16::MAX);
        let mixed = table(Distribution::ParetoNormal);
        assert!(mixed[0] < -12_000 && mixed[TABLE - 1] > 30_000);
        assert!(netem_table(None).is_none() && netem_table(Some(&Distribution::Uniform)).is_none());
        let own = table(Distribution::Table(DistributionTable {
            table: vec![1.0, -4.0, 0.5],
            file: None,
        }));
        assert_eq!(*own, [8192, -32768, 4096]);
    }

    #[test]
    fn neighbours_are_as_correlated_as_asked() {
        for asked in [0.0, 0.25, 0.75] {
            let found = run(&Distribution::Normal, asked, 100_000);
            let mean = found.iter().sum::<f64>() / found.len() as f64;
            let square: f64 = found.iter().map(|x| (x - mean).powi(2)).sum();
            let lag: f64 = found.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum();
            assert!((lag / square - asked).abs() < 0.015, "{asked}: {}", lag / square);
        }
    }

    #[test]
    fn no_jitter_is_the_latency_and_nothing_is_less_than_nothing() {
        let still = Waits {
            latency: 7,
            ..Waits::default()
        };
        assert_eq!(
            sample(&still, normal(), &shape(&Distribution::Normal), 1, 1, 5),
            (7, 5)
        );
        let wild = Waits {
            latency: 1,
            jitter: 1_000_000,
            correlation: 0,
            freshness: ONE,
        };
        let waits: Vec<u64> = (0..1000)
            .map(|i| sample(&wild, normal(), &shape(&Distribution::Normal), 1, i, 0).0)
            .collect();
        assert!(waits.contains(&0) && waits.iter().all(|w| *w < 10_000_000));
    }
}

//! What is compared.

use std::time::Duration;

use chaos_tests::bulk::{Stream, stream};
use chaos_tests::lag1_correlation;
use chaos_tests::oneway::{Run, run, run_at_random};
use serde_json::json;

use crate::bed::{Bed, Case, has_control};
use crate::row::{Aim, Row};

type Report<'a> = &'a mut dyn FnMut(Row);

/// Name, and what measures it.
pub(crate) const GROUPS: [(&str, fn(&Bed, Report<'_>)); 8] = [
    ("delay", delay),
    ("jitter", jitter),
    ("order", order),
    ("loss", loss),
    ("correlation", correlation),
    ("bandwidth", bandwidth),
    ("cubic", cubic),
    ("bbr", bbr),
];

/// More than is ever on its way: netem's own limit of 1000 would lose packets of its own.
const NETEM: &str = "netem limit 100000";
/// What differs from run to run is measured so many times.
const ROUNDS: usize = 3;
/// The same of what takes little time.
const SHORT_ROUNDS: usize = 7;
/// Payload in full frames: 1448 of 1514 bytes.
const PAYLOAD: f64 = 1448.0 / 1514.0;

fn delay(bed: &Bed, report: Report<'_>) {
    const PACE: Duration = Duration::from_millis(5);
    let healthy = quantile(&run_at_random(&bed.net, 400, PACE).delays(0.0), 0.5);
    for latency in [1_u32, 10, 50, 300] {
        let case = Case {
            tc: format!("{NETEM} delay {latency}ms"),
            ours: json!({"delay": {"latency": format!("{latency}ms")}}),
        };
        let (netem, ours, remark) = bed.both(&case, || {
            [(); SHORT_ROUNDS].map(|()| run_at_random(&bed.net, 300, PACE).delays(healthy))
        });
        let asked = f64::from(latency);
        for (what, aim, of) in [
            ("mean", Aim::Exactly(asked), mean as fn(&[f64]) -> f64),
            ("deviation", Aim::Low, deviation),
            ("p99", Aim::Exactly(asked), |values| quantile(values, 0.99)),
        ] {
            // The middle one: a machine that is shared now and then does something else.
            let middle =
                |rounds: &[Vec<f64>; SHORT_ROUNDS]| quantile(&rounds.each_ref().map(|round| of(round)), 0.5);
            report(
                Row::new(format!("{latency} ms: {what}"), "ms", aim, 0.05)
                    .measured(middle(&netem), middle(&ours))
                    .remark(&remark),
            );
        }
    }
}

fn jitter(bed: &Bed, report: Report<'_>) {
    const COUNT: usize = 3000;
    let healthy = quantile(&run(&bed.net, 400, Duration::from_millis(5)).delays(0.0), 0.5);
    type Quantile = fn(f64) -> f64;
    let asked: [(&str, &str, Quantile); 3] = [
        ("uniform", "", |u| 2.0 * u - 1.0),
        ("normal", " distribution normal", normal),
        ("pareto", " distribution pareto", pareto),
    ];
    for (name, words, asked) in asked {
        let case = Case {
            tc: format!("{NETEM} delay 50ms 10ms{words}"),
            ours: json!({"delay": {"latency": "50ms", "jitter": "10ms", "distribution": name, "order": "free"}}),
        };
        let (netem, ours, remark) = bed.both(&case, || {
            let delays = run(&bed.net, COUNT, Duration::from_millis(2)).delays(healthy);
            let jitter: Vec<f64> = delays.iter().map(|delay| (delay - 50.0) / 10.0).collect();
            distance(jitter, asked)
        });
        // What the distance of honest samples stays below in 19 of 20 runs.
        let noise = 1.36 / (COUNT as f64).sqrt();
        report(
            Row::new(format!("50 ± 10 ms {name}: distance"), "", Aim::Low, noise)
                .measured(netem, ours)
                .remark(&remark),
        );
    }
}

fn order(bed: &Bed, report: Report<'_>) {
    let case = Case {
        tc: format!("{NETEM} delay 20ms 5ms"),
        ours: json!({"delay": {"latency": "20ms", "jitter": "5ms", "order": "keep"}}),
    };
    let (netem, ours, remark) = bed.both(&case, || {
        (
            run(&bed.net, 2000, Duration::from_millis(1)).reordered(),
            stream(&bed.net, "cubic", 6, 2),
        )
    });
    report(
        Row::new("20 ± 5 ms: overtaken", "%", Aim::Low, 0.0)
            .measured(100.0 * netem.0, 100.0 * ours.0)
            .remark(&remark),
    );
    report(
        Row::new("20 ± 5 ms: one stream", "Mbit/s", Aim::High, 0.1 * netem.1.mbit)
            .measured(netem.1.mbit, ours.1.mbit)
            .remark(&remark),
    );
}

fn loss(bed: &Bed, report: Report<'_>) {
    let case = Case {
        tc: format!("{NETEM} loss 1%"),
        ours: json!({"drop": {"chance": "1%"}}),
    };
    let (netem, ours, remark) = bed.both(&case, || stream(&bed.net, "cubic", 8, 0));
    report(
        Row::new(
            "1 % of bulk TCP: segments sent again",
            "%",
            Aim::Exactly(1.0),
            0.1,
        )
        .measured(100.0 * netem.share, 100.0 * ours.share)
        .remark(&remark),
    );
}

fn correlation(bed: &Bed, report: Report<'_>) {
    const COUNT: usize = 10_000;
    let case = Case {
        tc: format!("{NETEM} loss 20% 75%"),
        ours: json!({"drop": {"chance": "20%", "correlation": "75%"}}),
    };
    let (netem, ours, remark) = bed.both(&case, || run(&bed.net, COUNT, Duration::from_micros(500)));
    let follows = |run: &Run| {
        let lost: Vec<f64> = run
            .took
            .iter()
            .map(|took| f64::from(u8::from(took.is_none())))
            .collect();
        let found = lag1_correlation(&lost);
        // Nothing lost, nothing correlated.
        if found.is_nan() { 0.0 } else { found }
    };
    report(
        Row::new("20 % with 75 %: lost", "%", Aim::Exactly(20.0), 2.0)
            .measured(100.0 * netem.lost(), 100.0 * ours.lost())
            .remark(&remark),
    );
    report(
        Row::new("20 % with 75 %: correlation", "", Aim::Exactly(0.75), 0.02)
            .measured(follows(&netem), follows(&ours))
            .remark(&remark),
    );
}

fn bandwidth(bed: &Bed, report: Report<'_>) {
    for rate in [1_u32, 10, 100] {
        let case = Case {
            tc: format!("tbf rate {rate}mbit burst 32kb latency 400ms"),
            ours: json!({"bandwidth": {"rate": format!("{rate}mbit"), "burst": "32KiB"}}),
        };
        // At 1 Mbit/s a second is 83 packets.
        let seconds = if rate == 1 { 20 } else { 8 };
        let (tbf, ours, remark) = bed.both(&case, || stream(&bed.net, "cubic", seconds, 2));
        let asked = f64::from(rate) * PAYLOAD;
        report(
            Row::new(
                format!("{rate} Mbit/s: payload"),
                "Mbit/s",
                Aim::Exactly(asked),
                0.01 * asked,
            )
            .measured(tbf.mbit, ours.mbit)
            .remark(&remark),
        );
        report(
            Row::new(format!("{rate} Mbit/s: sent again"), "", Aim::Low, 0.0)
                .measured(tbf.again, ours.again)
                .remark(&remark),
        );
    }
}

fn cubic(bed: &Bed, report: Report<'_>) {
    bulk(bed, report, "cubic");
}

fn bbr(bed: &Bed, report: Report<'_>) {
    if has_control("bbr") {
        bulk(bed, report, "bbr");
    }
}

fn bulk(bed: &Bed, report: Report<'_>, control: &str) {
    for latency in [10_u32, 50, 200] {
        let case = Case {
            tc: format!("{NETEM} delay {latency}ms"),
            ours: json!({"delay": {"latency": format!("{latency}ms")}}),
        };
        // Until the window is open.
        let warm = if latency == 200 { 4 } else { 2 };
        let (netem, ours, remark) = bed.both(&case, || {
            [(); ROUNDS].map(|()| stream(&bed.net, control, 4, warm))
        });
        let middle =
            |rounds: &[Stream; ROUNDS], of: fn(&Stream) -> f64| quantile(&rounds.each_ref().map(of), 0.5);
        let mbit = middle(&netem, |stream| stream.mbit);
        report(
            Row::new(
                format!("{control} through {latency} ms"),
                "Mbit/s",
                Aim::High,
                0.1 * mbit,
            )
            .measured(mbit, middle(&ours, |stream| stream.mbit))
            .remark(&remark),
        );
        let share = |stream: &Stream| 100.0 * stream.share;
        report(
            Row::new(
                format!("{control} through {latency} ms: sent again"),
                "%",
                Aim::Low,
                0.01,
            )
            .measured(middle(&netem, share), middle(&ours, share))
            .remark(&remark),
        );
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let middle = mean(values);
    (values.iter().map(|v| (v - middle).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

/// Kolmogorov and Smirnov's distance of values to the distribution that `asked` gives the quantiles of.
fn distance(mut values: Vec<f64>, asked: fn(f64) -> f64) -> f64 {
    const STEPS: u32 = 2000;
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    let apart = |step: u32| {
        let share = f64::from(step) / f64::from(STEPS);
        let below = values.partition_point(|value| *value < asked(share)) as f64 / n;
        (below - share).abs()
    };
    (1..STEPS).map(apart).fold(0.0, f64::max)
}

/// Quantiles of the normal distribution, by halving.
fn normal(share: f64) -> f64 {
    let (mut low, mut high) = (-9.0, 9.0);
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        if 0.5 * libm::erfc(-middle / std::f64::consts::SQRT_2) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// Quantiles of the Pareto distribution of exponent 3, moved and scaled to zero mean and a deviation of one.
fn pareto(share: f64) -> f64 {
    const SHAPE: f64 = 3.0;
    let mean = SHAPE / (SHAPE - 1.0);
    let deviation = (SHAPE / ((SHAPE - 1.0).powi(2) * (SHAPE - 2.0))).sqrt();
    ((1.0 - share).powf(-1.0 / SHAPE) - mean) / deviation
}

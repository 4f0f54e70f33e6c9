//! What is compared.

use std::time::Duration;

use chaos_tests::bulk::{Stream, stream};
use chaos_tests::lag1_correlation;
use chaos_tests::oneway::{Run, run, run_at_random};
use serde_json::json;

use crate::bed::{Bed, Case, has_control};
use crate::row::{Aim, Row, quantile};

type Report<'a> = &'a mut dyn FnMut(Row);

/// Name, the line that its faults must go by, and what measures it.
pub(crate) const GROUPS: [(&str, &str, fn(&Bed, Report<'_>)); 8] = [
    ("delay", "kernel", delay),
    ("jitter", "kernel", jitter),
    ("order", "auto", order),
    ("loss", "auto", loss),
    ("correlation", "auto", correlation),
    ("bandwidth", "user", bandwidth),
    ("cubic", "kernel", cubic),
    ("bbr", "kernel", bbr),
];

/// More than is ever on its way: netem's own limit of 1000 would lose packets of its own.
const NETEM: &str = "netem limit 100000";
/// What differs from run to run is measured so many times.
const ROUNDS: usize = 7;
/// Payload in full frames: 1448 of 1514 bytes.
const PAYLOAD: f64 = 1448.0 / 1514.0;

fn delay(bed: &Bed, report: Report<'_>) {
    const PACE: Duration = Duration::from_millis(5);
    let healthy = bed.healthy(|net| quantile(&run_at_random(net, 400, PACE).delays(0.0), 0.5));
    for latency in [1_u32, 10, 50, 300] {
        let case = Case {
            tc: format!("{NETEM} delay {latency}ms"),
            ours: json!({"delay": {"latency": format!("{latency}ms")}}),
        };
        let (runs, remark) = bed.both(&case, ROUNDS, |net| run_at_random(net, 300, PACE));
        let delays = runs
            .with(healthy)
            .map(|(runs, healthy)| runs.iter().map(|run| run.delays(healthy)).collect::<Vec<_>>());
        let asked = f64::from(latency);
        for (what, aim, of) in [
            ("mean", Aim::Exactly(asked), mean as fn(&[f64]) -> f64),
            ("deviation", Aim::Low, deviation),
            ("p99", Aim::Exactly(asked), |values| quantile(values, 0.99)),
        ] {
            report(
                Row::new(format!("{latency} ms: {what}"), "ms", aim, 0.0)
                    .repeated(&delays, |round| of(round))
                    .remark(&remark),
            );
        }
    }
}

fn jitter(bed: &Bed, report: Report<'_>) {
    const COUNT: usize = 3000;
    let healthy = bed.healthy(|net| {
        let delays = run(net, 400, Duration::from_millis(5)).delays(0.0);
        quantile(&delays, 0.5)
    });
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
        let (runs, remark) = bed.once(&case, |net| run(net, COUNT, Duration::from_millis(2)));
        let distances = runs.with(healthy).map(|(run, healthy)| {
            let delays = run.delays(healthy);
            let jitter: Vec<f64> = delays.iter().map(|delay| (delay - 50.0) / 10.0).collect();
            distance(jitter, asked)
        });
        // What the distance of honest samples stays below in 19 of 20 runs.
        let noise = 1.36 / (COUNT as f64).sqrt();
        report(
            Row::new(format!("50 ± 10 ms {name}: distance"), "", Aim::Low, noise)
                .measured(distances)
                .remark(&remark),
        );
    }
}

fn order(bed: &Bed, report: Report<'_>) {
    let case = Case {
        tc: format!("{NETEM} delay 20ms 5ms"),
        ours: json!({"delay": {"latency": "20ms", "jitter": "5ms", "order": "keep"}}),
    };
    let (sides, remark) = bed.once(&case, |net| {
        (
            run(net, 2000, Duration::from_millis(1)).reordered(),
            stream(net, "cubic", 6, 2),
        )
    });
    report(
        Row::new("20 ± 5 ms: overtaken", "%", Aim::Low, 0.0)
            .measured(sides.as_ref().map(|(reordered, _)| 100.0 * reordered))
            .remark(&remark),
    );
    report(
        Row::new(
            "20 ± 5 ms: one stream",
            "Mbit/s",
            Aim::High,
            0.1 * sides.netem.1.mbit,
        )
        .measured(sides.as_ref().map(|(_, stream)| stream.mbit))
        .remark(&remark),
    );
}

fn loss(bed: &Bed, report: Report<'_>) {
    let case = Case {
        tc: format!("{NETEM} loss 1%"),
        ours: json!({"drop": {"chance": "1%"}}),
    };
    let (streams, remark) = bed.once(&case, |net| stream(net, "cubic", 8, 0));
    report(
        Row::new(
            "1 % of bulk TCP: segments sent again",
            "%",
            Aim::Exactly(1.0),
            0.1,
        )
        .measured(streams.map(|stream| 100.0 * stream.share))
        .remark(&remark),
    );
}

fn correlation(bed: &Bed, report: Report<'_>) {
    const COUNT: usize = 10_000;
    let case = Case {
        tc: format!("{NETEM} loss 20% 75%"),
        ours: json!({"drop": {"chance": "20%", "correlation": "75%"}}),
    };
    let (runs, remark) = bed.once(&case, |net| run(net, COUNT, Duration::from_micros(500)));
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
            .measured(runs.as_ref().map(|run| 100.0 * run.lost()))
            .remark(&remark),
    );
    report(
        Row::new("20 % with 75 %: correlation", "", Aim::Exactly(0.75), 0.02)
            .measured(runs.as_ref().map(follows))
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
        let (streams, remark) = bed.once(&case, |net| stream(net, "cubic", seconds, 2));
        let asked = f64::from(rate) * PAYLOAD;
        report(
            Row::new(
                format!("{rate} Mbit/s: payload"),
                "Mbit/s",
                Aim::Exactly(asked),
                0.01 * asked,
            )
            .measured(streams.as_ref().map(|stream| stream.mbit))
            .remark(&remark),
        );
        report(
            Row::new(format!("{rate} Mbit/s: sent again"), "", Aim::Low, 0.0)
                .measured(streams.as_ref().map(|stream| stream.again))
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
        let (streams, remark) = bed.both(&case, ROUNDS, |net| stream(net, control, 4, warm));
        println!("{control} through {latency} ms: {streams:.0?}");
        let (speed, share): (fn(&Stream) -> f64, fn(&Stream) -> f64) =
            (|stream| stream.mbit, |stream| 100.0 * stream.share);
        for (what, unit, aim, noise, of) in [
            ("", "Mbit/s", Aim::High, 0.0, speed),
            // What probes for a loss send again.
            (": sent again", "%", Aim::Low, 0.01, share),
        ] {
            report(
                Row::new(format!("{control} through {latency} ms{what}"), unit, aim, noise)
                    .repeated(&streams, of)
                    .remark(&remark),
            );
        }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let middle = mean(values);
    (values.iter().map(|v| (v - middle).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
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

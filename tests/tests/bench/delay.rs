//! How true a delay is, and what it leaves of the throughput.

use std::time::Duration;

use chaos_bench::{Better, Row, Target, quantile};
use chaos_tests::bulk::{stream, streams_to};
use chaos_tests::oneway;
use chaos_tests::{Proxy, Skip, is_emulated, require_program};
use serde_json::{Value, json};

use crate::paths::{Bed, middle, require_netem};
use crate::run::{Run, in_turns};

/// More than is ever on its way: netem's own limit of 1000 would lose packets of its own.
const NETEM: &str = "netem limit 100000 delay";
/// Two runs of the same thing differ by so many milliseconds.
const NOISE: f64 = 0.05;

pub(crate) fn measure(run: &mut Run) -> Result<(), Skip> {
    if is_emulated() {
        require_netem()?;
    }
    let bed = Bed::with(&[]);
    for latency in [1_u32, 10, 50, 200] {
        accuracy(run, &bed, latency, 1_000);
    }
    // An emulated machine does not come to more.
    let paces: &[u32] = if is_emulated() {
        &[5_000]
    } else {
        &[10_000, 100_000]
    };
    for pace in paces {
        accuracy(run, &bed, 10, *pace);
    }
    if let Err(skip) = require_program("iperf3") {
        run.absent("TCP", &skip);
        return Ok(());
    }
    for latency in [1_u32, 10, 50, 200] {
        throughput(run, &bed, latency);
    }
    Ok(())
}

fn fault(latency: u32) -> Value {
    json!({"delay": {"latency": format!("{latency}ms")}})
}

/// Milliseconds.
#[derive(Clone, Copy)]
struct Found {
    mean: f64,
    deviation: f64,
    p99: f64,
    lost: f64,
}

fn accuracy(run: &mut Run, bed: &Bed, latency: u32, pace: u32) {
    let rounds = if run.is_quick() { 2 } else { 5 };
    let seconds = if is_emulated() { 0.5 } else { 1.0 };
    let count = (f64::from(pace) * seconds) as usize;
    let pause = Duration::from_secs(1) / pace;
    let look = |healthy: f64| {
        let found = oneway::run(&bed.net, count, pause);
        let delays = found.delays(healthy);
        let mean = delays.iter().sum::<f64>() / delays.len() as f64;
        let off: f64 = delays.iter().map(|delay| (delay - mean).powi(2)).sum();
        Found {
            mean,
            deviation: (off / delays.len() as f64).sqrt(),
            p99: quantile(&delays, 0.99),
            lost: found.lost(),
        }
    };
    let healthy = quantile(&oneway::run(&bed.net, count, pause).delays(0.0), 0.5);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    if is_emulated() {
        in_turns(
            rounds,
            || {
                ours.push(bed.under(&fault(latency), || look(healthy)));
                0.0
            },
            || {
                theirs.push(bed.behind(&format!("{NETEM} {latency}ms"), || look(healthy)));
                0.0
            },
        );
    } else {
        bed.under(&fault(latency), || {
            for _ in 0..rounds {
                ours.push(look(healthy));
            }
        });
    }
    let asked = f64::from(latency);
    let remark = format!(
        "lost: {:.4} %",
        100.0 * middle(ours.iter().map(|found| found.lost))
    );
    for (what, of) in [
        (
            "error of the mean",
            (|found, asked| (found.mean - asked).abs()) as fn(&Found, f64) -> f64,
        ),
        ("deviation", |found, _| found.deviation),
        ("error of the p99", |found, asked| (found.p99 - asked).abs()),
    ] {
        let each = |found: &[Found]| found.iter().map(|found| of(found, asked)).collect::<Vec<f64>>();
        let name = format!("{latency} ms, {pace} packets/s: {what}");
        let row = if is_emulated() {
            let pairs: Vec<(f64, f64)> = each(&ours).into_iter().zip(each(&theirs)).collect();
            Row::new(name, "ms", Better::Lower, "netem", &pairs).target(Target::OverAtMost(NOISE))
        } else {
            let pairs: Vec<(f64, f64)> = each(&ours).into_iter().map(|error| (error, 0.0)).collect();
            Row::new(name, "ms", Better::Lower, "the delay asked for", &pairs)
        };
        run.row(row.remark(&*remark));
    }
}

fn throughput(run: &mut Run, bed: &Bed, latency: u32) {
    let rounds = match (run.is_quick(), is_emulated()) {
        (true, _) => 2,
        (false, true) => 5,
        (false, false) => 3,
    };
    // Until the window is open.
    let warm = if latency == 200 { 4 } else { 2 };
    let name = format!("{latency} ms: one stream");
    if is_emulated() {
        let through = || stream(&bed.net, "cubic", 4, warm).mbit;
        let ours = || bed.under(&fault(latency), through);
        let theirs = || bed.behind(&format!("{NETEM} {latency}ms"), through);
        let pairs = in_turns(rounds, ours, theirs);
        run.row(Row::new(name, "Mbit/s", Better::Higher, "netem", &pairs).target(Target::RatioAtLeast(1.0)));
        return;
    }
    let ours = || bed.under(&fault(latency), || stream(&bed.net, "cubic", 4, warm).mbit);
    let theirs = || {
        let (client, server) = (&bed.net.client.netns, bed.net.server.at(5201));
        let at = ([127, 0, 0, 1], 5201).into();
        let _proxy = Proxy::start(client, at, server, Duration::from_millis(latency.into()));
        let words = ["-C", "cubic", "-O", &warm.to_string()];
        streams_to(&bed.net, "127.0.0.1", &words, 4).mbit
    };
    let pairs = in_turns(rounds, ours, theirs);
    run.row(
        Row::new(
            name,
            "Mbit/s",
            Better::Higher,
            "a TCP proxy of our own in user space",
            &pairs,
        )
        .target(Target::RatioAtLeast(5.0)),
    );
}

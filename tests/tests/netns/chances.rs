//! How fates and delays follow one another: correlation that keeps what was asked for, netem's that does not, and
//! distributions of one's own.

use std::time::Duration;

use chaos_tests::{is_emulated, lag1_correlation};
use serde_json::{Value, json};

use crate::bed::Bed;
use crate::probes::{
    calm_waits, correlation_of_neighbours, deviation, enough_undisturbed, mean, quantile, udp,
};

/// What became of each of a number of datagrams, 1 for those that `hit` names.
fn fates(count: u64, hit: impl IntoIterator<Item = u64>) -> Vec<f64> {
    let mut fates = vec![0.0; usize::try_from(count).expect("a small number")];
    for number in hit {
        fates[number as usize] = 1.0;
    }
    fates
}

/// Scenario 5, second half.
#[test]
fn as_netem_a_correlated_fifth_is_a_thousandth_and_a_warning_says_so() {
    let bed = Bed::new();
    const COUNT: u64 = 100_000;
    let netns = bed.net.client.netns.name();
    let said = bed.ctl.ok(&[
        "inject",
        "drop",
        "20%",
        "--correlation",
        "75%",
        "--compat",
        "netem",
        "--netns",
        netns,
        "--protocol",
        "udp",
        "--for",
        "60s",
        "--seed",
        "1",
        "--name",
        "alike",
    ]);
    assert!(said.stderr.contains("loses about 0.12%"), "{said:?}");
    let lost = bed.send(bed.net.server.at(9000), COUNT).lost(COUNT);
    let share = lost.len() as f64 / COUNT as f64;
    // 0.12 %: computed from the recurrence, and found in its own test. Losses come in runs, so the count wavers.
    assert!((0.000_6..0.001_9).contains(&share), "{share}");
    bed.wait_for_packets("alike", "dropped", lost.len() as u64);
    let view = bed.ctl.fault("alike");
    assert_eq!(view.own_warnings(), ["NetemCompat"]);
    // The chance alone is what it says.
    let plain = json!({"drop": {"chance": "20%", "compat": "netem"}});
    bed.ctl.apply(&[bed.on_client("alike", plain).traffic(udp(9001))]);
    let lost = bed.send(bed.net.server.at(9001), 10_000).lost(10_000).len() as u64;
    assert!(chaos_tests::binomial_999(10_000, 0.2).contains(&lost), "{lost}");
    assert!(bed.ctl.fault("alike").own_warnings().is_empty());
    bed.delete("alike");
}

#[test]
fn copies_and_flips_come_in_runs_and_as_often_as_asked() {
    let bed = Bed::new();
    const COUNT: u64 = 20_000;
    for (name, fault) in [
        (
            "twice",
            json!({"duplicate": {"chance": "20%", "correlation": "75%"}}),
        ),
        (
            "flip",
            json!({"corrupt": {"chance": "20%", "correlation": "75%", "checksum": "fix"}}),
        ),
    ] {
        bed.ctl.apply(&[bed.on_client(name, fault).traffic(udp(9000))]);
        let report = bed.send(bed.net.server.at(9000), COUNT);
        assert_eq!(report.unique(), COUNT, "{name}: nothing is lost");
        let hit: Vec<u64> = if name == "twice" {
            assert!(report.in_order());
            let pairs = report.sequences.windows(2).filter(|pair| pair[0] == pair[1]);
            pairs.map(|pair| pair[0]).collect()
        } else {
            assert!(report.flipped.iter().all(|(_, bits)| *bits == 1));
            report.flipped.iter().map(|(number, _)| *number).collect()
        };
        let share = hit.len() as f64 / COUNT as f64;
        // Runs widen the deviation of the share by the root of (1 + 0.75) / (1 - 0.75): 0.75 %.
        assert!((share - 0.2).abs() < 3.3 * 0.0075, "{name}: {share}");
        let alike = lag1_correlation(&fates(COUNT, hit));
        assert!((alike - 0.75).abs() < 0.04, "{name}: {alike}");
        bed.delete(name);
    }
}

#[test]
fn jitter_as_netem_draws_it_has_its_spread_and_no_correlation() {
    let bed = Bed::new();
    const COUNT: usize = 5_000;
    /// Latency and jitter, and what the way itself takes.
    const LONGEST: Duration = Duration::from_millis(62);
    let to = bed.net.server.at(7000);
    bed.server.udp_echo(to);
    let spec = json!({"delay": {
        "latency": "50ms", "jitter": "10ms", "correlation": "75%", "order": "free", "compat": "netem",
    }});
    bed.ctl
        .apply(&[bed.on_client("jittery", spec).traffic(udp(7000))]);
    let found = enough_undisturbed(&bed, to, Duration::from_millis(1), COUNT, LONGEST);
    let known: Vec<f64> = found.iter().copied().flatten().collect();
    let told = format!(
        "mean {:.2}, deviation {:.2}, lag-1 correlation {:.3}, {} of {}",
        mean(&known),
        deviation(&known),
        correlation_of_neighbours(&found),
        known.len(),
        found.len()
    );
    println!("{told}");
    // Uniform when nothing is said: the deviation is the jitter over the root of three.
    let late = if is_emulated() { 3.0 } else { 1.0 };
    assert!((mean(&known) - 50.0).abs() < late, "{told}");
    assert!((deviation(&known) - 5.77).abs() < 0.5, "{told}");
    assert!(correlation_of_neighbours(&found).abs() < 0.08, "{told}");
    let view = bed.ctl.fault("jittery");
    assert_eq!(view.own_warnings(), ["NetemCompat"]);
    bed.delete("jittery");
}

/// Kolmogorov-Smirnov distance between what was found and a distribution function.
fn distance(found: &[f64], below: impl Fn(f64) -> f64) -> f64 {
    let mut sorted = found.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len() as f64;
    sorted
        .iter()
        .enumerate()
        .map(|(i, x)| {
            let share = below(*x);
            (share - i as f64 / count)
                .abs()
                .max((share - (i + 1) as f64 / count).abs())
        })
        .fold(0.0, f64::max)
}

#[test]
fn a_table_beside_the_spec_is_read_by_the_client_and_drawn_by_the_line() {
    let bed = Bed::new();
    const COUNT: usize = 4_000;
    let to = bed.net.server.at(7000);
    bed.server.udp_echo(to);
    let folder = tempfile::tempdir().expect("a folder of our own");
    // Two thirds around -1, one third at 2 and beyond, in tc's form and unsorted.
    let offsets = |i: i32| {
        if i % 3 == 0 {
            2 * 8192 + i * 8
        } else {
            -8192 + i * 4
        }
    };
    let table: Vec<String> = (0..999).map(|i| offsets(i).to_string()).collect();
    std::fs::write(
        folder.path().join("humps.dist"),
        format!("# two humps\n{}\n", table.join(" ")),
    )
    .expect("the folder is writable");
    let spec = |distribution: Value| {
        bed.on_client(
            "humps",
            json!({"delay": {
                "latency": "50ms", "jitter": "10ms", "distribution": distribution, "order": "free",
            }}),
        )
        .traffic(udp(7000))
    };
    // What the way itself takes, and the machine: on the same line, with a wait that is always the same.
    bed.ctl.apply(&[bed
        .on_client("even", json!({"delay": {"latency": "50ms"}}))
        .traffic(udp(7000))]);
    let way = quantile(&calm_waits(&bed, to, Duration::from_millis(1), 1_000), 0.5) - 50.0;
    bed.ctl.delete("even");
    let file = folder.path().join("humps.yaml");
    std::fs::write(&file, spec(json!({"file": "humps.dist"})).to_string()).expect("writable");
    bed.ctl.ok(&["apply".as_ref(), "-f".as_ref(), file.as_os_str()]);
    let found = calm_waits(&bed, to, Duration::from_millis(1), COUNT);
    let mut want: Vec<f64> = (0..999)
        .map(|i| 50.0 + 10.0 * f64::from(offsets(i)) / 8192.0)
        .collect();
    want.sort_by(f64::total_cmp);
    // The way is a shift that counts where the table is steep.
    let shifted: Vec<f64> = found.iter().map(|x| x - way.clamp(0.0, 1.0)).collect();
    let far = distance(&shifted, |x| {
        want.partition_point(|offset| *offset <= x) as f64 / want.len() as f64
    });
    // 1.95 / √4000 is the 99.9 % bound; scheduling takes its part.
    assert!(far < 0.031 + 0.02, "distance {far}, the way takes {way:.3} ms");
    // The daemon was sent numbers, never a path.
    let sent = &bed.ctl.fault("humps").0["spec"]["fault"]["delay"]["distribution"];
    assert_eq!(sent["table"].as_array().map(Vec::len), Some(999), "{sent}");
    assert_eq!(sent.get("file"), None);
    let answer = chaos_tests::Api::of(&bed.daemon).apply(&[spec(json!({"file": "/etc/passwd"}))]);
    assert_eq!(answer.status, 422, "{answer:?}");
    assert!(format!("{answer:?}").contains("reads no files"), "{answer:?}");
    bed.delete("humps");
}

#[test]
fn a_table_that_is_wrong_or_missing_is_refused_with_file_and_line() {
    let bed = Bed::new();
    let folder = tempfile::tempdir().expect("a folder of our own");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("the folder is writable");
        path
    };
    write("bad.txt", "-1\n0.5\n20ms\n");
    for (table, want) in [
        ("bad.txt", "bad.txt:3:1: `20ms` is no number"),
        ("none.txt", "none.txt cannot be read: there is no such file"),
    ] {
        let spec = bed.on_client(
            "late",
            json!({"delay": {"latency": "50ms", "jitter": "1ms", "distribution": {"file": table}}}),
        );
        let file = write("late.yaml", &spec.to_string());
        let said = bed.ctl.run(&["apply".as_ref(), "-f".as_ref(), file.as_os_str()]);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.stderr.contains(want), "{said:?}");
    }
    assert!(bed.ctl.find("late").is_none());
    let path = folder.path().join("bad.txt");
    let netns = bed.net.client.netns.name();
    let path = path.to_str().expect("text");
    let said = bed.ctl.run(&[
        "inject",
        "delay",
        "50ms",
        "--jitter",
        "1ms",
        "--distribution-file",
        path,
        "--netns",
        netns,
        "--for",
        "1m",
    ]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.stderr.contains("bad.txt:3:1"), "{said:?}");
    assert!(bed.ctl.faults().is_empty());
}

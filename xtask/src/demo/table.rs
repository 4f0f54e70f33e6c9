//! The table of what the clients saw.

use std::fmt::Write as _;

use super::traffic::Seen;

/// One row a lane: requests, successes, and how long a request took.
pub(super) fn render(rows: &[(&str, &Seen)]) -> String {
    let mut text = format!(
        "    {:<32}{:>9}{:>8}{:>10}{:>10}{:>10}   failures\n",
        "client -> server", "requests", "ok", "p50", "p95", "max"
    );
    for (name, seen) in rows {
        let share = 100.0 * seen.good() as f64 / seen.count().max(1) as f64;
        let time = |share: f64| milliseconds(seen.quantile(share));
        let _ = writeln!(
            text,
            "    {name:<32}{:>9}{:>6.0} %{:>10}{:>10}{:>10}   {}",
            seen.count(),
            share,
            time(0.5),
            time(0.95),
            time(1.0),
            seen.failures()
        );
    }
    // A row without failures ends in blanks.
    text.lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

/// Three digits at most before the unit: `1.2 ms`, `34 ms`, `1.04 s`.
fn milliseconds(value: f64) -> String {
    if value.is_nan() {
        "-".into()
    } else if value < 10.0 {
        format!("{value:.1} ms")
    } else if value < 1000.0 {
        format!("{value:.0} ms")
    } else {
        format!("{:.2} s", value / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_fits() {
        assert_eq!(milliseconds(1.23), "1.2 ms");
        assert_eq!(milliseconds(34.4), "34 ms");
        assert_eq!(milliseconds(1040.0), "1.04 s");
        assert_eq!(milliseconds(f64::NAN), "-");
    }
}

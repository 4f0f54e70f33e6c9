//! The numbers for people: as text, and as the generated part of the page.

use std::fmt::Write as _;

use crate::{BENCHES, Better, Figures, Measured, Numbers, Place, Row, Target, Verdict};

/// The generated part of the page.
pub fn page(numbers: &Numbers) -> String {
    let mut text = String::new();
    for about in BENCHES {
        let Some(places) = numbers.0.get(about.name) else {
            continue;
        };
        let _ = writeln!(text, "\n## {}\n\n{}\n", about.name, about.what);
        for (place, measured) in places {
            section(&mut text, about.name, *place, measured);
        }
    }
    let rows: Vec<&Row> = numbers.rows().map(|(_, row)| row).collect();
    let with = |verdict| rows.iter().filter(|row| row.verdict() == verdict).count();
    let (met, missed) = (with(Verdict::Met), with(Verdict::Missed));
    let _ = writeln!(
        text,
        "\n{} rows; {met} of {} targets are met.",
        rows.len(),
        met + missed
    );
    text
}

fn section(text: &mut String, name: &str, place: Place, measured: &Measured) {
    let how = match place {
        Place::Native => "",
        Place::Emulated => " Emulated, instruction by instruction: only the ratios mean something.",
    };
    let _ = writeln!(
        text,
        "`cargo xtask bench {name}`, on: {}.{how}\n",
        measured.machine
    );
    if !measured.rows.is_empty() {
        text.push_str(
            "| | ours | beside it | | ratio (quartiles) | target | |\n|---|---|---|---|---|---|---|\n",
        );
    }
    for row in &measured.rows {
        let remark = if row.remark.is_empty() {
            String::new()
        } else {
            format!(" ({})", row.remark)
        };
        let _ = writeln!(
            text,
            "| {}{remark} | {} {} | {} | {} | {} | {} | {} |",
            row.name,
            number(row.ours.median),
            row.unit,
            number(row.theirs.median),
            row.against,
            ratio(row),
            target(row),
            verdict(row)
        );
    }
    if !measured.absent.is_empty() {
        text.push('\n');
    }
    for absent in &measured.absent {
        let _ = writeln!(text, "* Not measured there: {}: {}.", absent.name, absent.reason);
    }
    text.push('\n');
}

/// The same as lines for a terminal.
pub fn text(numbers: &Numbers) -> String {
    let mut text = String::new();
    for (bench, places) in &numbers.0 {
        for (place, measured) in places {
            let _ = writeln!(text, "\n{bench} ({place:?}, {})", measured.machine);
            for row in &measured.rows {
                let _ = writeln!(
                    text,
                    "  {:<62} {:>9} {:>9} {:<8} {:<22} {:>20}  {}",
                    row.name,
                    number(row.ours.median),
                    number(row.theirs.median),
                    row.unit,
                    ratio(row),
                    target(row),
                    verdict(row)
                );
            }
            for absent in &measured.absent {
                let _ = writeln!(text, "  {:<62} not measured: {}", absent.name, absent.reason);
            }
        }
    }
    text
}

fn ratio(row: &Row) -> String {
    let range = |Figures { median, q1, q3 }: Figures| {
        if row.samples > 1 {
            format!("{} ({}–{})", number(median), number(q1), number(q3))
        } else {
            number(median)
        }
    };
    row.ratio.map_or_else(|| "–".to_owned(), range)
}

fn target(row: &Row) -> String {
    let unit = &row.unit;
    match row.target {
        Some(Target::OverAtMost(bound)) => {
            let sign = if row.over.median < 0.0 { "" } else { "+" };
            format!("{sign}{} of ≤ {} {unit}", number(row.over.median), number(bound))
        }
        Some(Target::RatioAtLeast(bound)) => format!("ratio ≥ {}", number(bound)),
        Some(Target::RatioAtMost(bound)) => format!("ratio ≤ {}", number(bound)),
        Some(Target::AtMost(bound)) => format!("≤ {} {unit}", number(bound)),
        Some(Target::AtLeast(bound)) => format!("≥ {} {unit}", number(bound)),
        Some(Target::Within(share)) => format!("within {} %", number(share * 100.0)),
        None => match row.better {
            Better::Lower => "less is better".to_owned(),
            Better::Higher => "more is better".to_owned(),
        },
    }
}

fn verdict(row: &Row) -> &'static str {
    match row.verdict() {
        Verdict::Met => "met",
        Verdict::Missed => "**missed**",
        Verdict::NoTarget => "",
    }
}

/// Three figures that count.
fn number(value: f64) -> String {
    let size = value.abs();
    let digits = if value.fract() == 0.0 || size >= 100.0 {
        0
    } else if size >= 10.0 {
        1
    } else if size >= 1.0 {
        2
    } else {
        3
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Absent, Line, Machine};

    #[test]
    fn rows_and_what_is_absent_stand_on_the_page_and_targets_are_counted() {
        let row = |name: &str, ours| {
            let mut row = Row::new(name, "ns", Better::Lower, "an empty program", &[(ours, 10.0)])
                .target(Target::OverAtMost(20.0));
            BENCHES[0].name.clone_into(&mut row.bench);
            Line::Row(row)
        };
        let mut numbers = Numbers::default();
        let absent = Absent {
            bench: BENCHES[0].name.to_owned(),
            name: "a peer".to_owned(),
            reason: "this kernel has none".to_owned(),
        };
        let machine = Line::Machine(Machine::here());
        numbers.add(
            Place::Native,
            [
                machine,
                row("quick", 25.5),
                row("slow", 45.0),
                Line::Absent(absent),
            ],
        );
        let page = page(&numbers);
        for part in [
            "## innocent",
            "| quick | 25.5 ns | 10 | an empty program | 2.55 | +15.5 of ≤ 20 ns | met |",
            "| slow | 45 ns | 10 | an empty program | 4.50 | +35 of ≤ 20 ns | **missed** |",
            "* Not measured there: a peer: this kernel has none.",
            "2 rows; 1 of 2 targets are met.",
        ] {
            assert!(page.contains(part), "{part} is not in:\n{page}");
        }
        assert!(text(&numbers).contains("not measured: this kernel has none"));
    }
}

//! `cargo xtask bench netem`: ours beside `tc netem` and `tbf`, in one boot of a kernel that has them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::setup::Series;
use crate::vm;
use crate::workspace::Workspace;

/// What `tests/tests/netem.rs` measures.
const GROUPS: [&str; 8] = [
    "delay",
    "jitter",
    "order",
    "loss",
    "correlation",
    "bandwidth",
    "cubic",
    "bbr",
];
/// The numbers behind the table of [`PAGE`].
const NUMBERS: &str = "docs/netem.json";
const PAGE: &str = "docs/netem.md";
/// The table of the page stands after this line, to its end.
const MARK: &str = "<!-- From here on written by `cargo xtask bench netem --write`. -->";

/// Compare with tc netem and tbf, in one boot of Debian's 6.12 in an emulated machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Groups of rows; all when none is named. Numbers of one group come from one boot.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(GROUPS))]
    groups: Vec<String>,
    /// Take the rows out of what a run has printed (or a boot, target/vm/console-<release>.log), in place of a new boot.
    #[arg(long, value_name = "LOG")]
    from: Option<PathBuf>,
    /// Write the rows to this file, too.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Bring docs/netem.md and docs/netem.json up to date; groups that are not measured now stay as they are.
    #[arg(long)]
    write: bool,
}

/// What would be perfect.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Aim {
    Exactly(f64),
    Low,
    High,
}

/// One thing, measured with both.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    group: String,
    name: String,
    unit: String,
    aim: Aim,
    netem: f64,
    ours: f64,
    noise: f64,
    remark: String,
}

/// Rows of one group, out of one boot.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Group {
    kernel: String,
    rows: Vec<Row>,
}

type Groups = BTreeMap<String, Group>;

pub(super) fn run(ws: &Workspace, args: &Args) -> Result<()> {
    let wanted: Vec<String> = if args.groups.is_empty() {
        GROUPS.map(str::to_owned).to_vec()
    } else {
        args.groups.clone()
    };
    let measured = match &args.from {
        Some(log) => vm::Measured::read(log)?,
        None => vm::measure(ws, Series::V6_12, "netem", &wanted)?,
    };
    let mut groups = groups(&measured)?;
    groups.retain(|name, _| wanted.contains(name));
    print!("{}", table(&groups));
    if let Some(path) = &args.json {
        store(path, &groups)?;
    }
    if args.write {
        update(ws, &groups)?;
    }
    if !measured.broke.is_empty() {
        bail!("not to their end: {}", measured.broke.join(", "));
    }
    Ok(())
}

/// Rows by their group; none of a group that did not come to its end.
fn groups(measured: &vm::Measured) -> Result<Groups> {
    let mut groups = Groups::new();
    for (_, row) in measured.lines.iter().filter_map(|line| line.split_once("ROW ")) {
        let row: Row = serde_json::from_str(row).with_context(|| format!("odd row: {row}"))?;
        let group = groups.entry(row.group.clone()).or_insert_with(|| Group {
            kernel: measured.release.clone(),
            rows: Vec::new(),
        });
        group.rows.push(row);
    }
    groups.retain(|name, _| !measured.broke.contains(name));
    Ok(groups)
}

fn store(path: &Path, groups: &Groups) -> Result<()> {
    let mut text = serde_json::to_string_pretty(groups).context("rows are numbers and words")?;
    text.push('\n');
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Puts new numbers among the old ones, and all of them onto the page.
fn update(ws: &Workspace, new: &Groups) -> Result<()> {
    let numbers = ws.root().join(NUMBERS);
    let mut all: Groups = match fs::read_to_string(&numbers) {
        Ok(text) => serde_json::from_str(&text).with_context(|| format!("odd numbers in {NUMBERS}"))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Groups::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {NUMBERS}")),
    };
    all.extend(new.clone());
    // A group that is not measured any more would be counted for ever.
    all.retain(|name, _| GROUPS.contains(&name.as_str()));
    store(&numbers, &all)?;
    let page = ws.root().join(PAGE);
    let text = fs::read_to_string(&page).with_context(|| format!("cannot read {PAGE}"))?;
    let (words, _) = text
        .split_once(MARK)
        .with_context(|| format!("{PAGE} has no line `{MARK}`"))?;
    fs::write(&page, format!("{words}{MARK}\n\n{}", table(&all)))
        .with_context(|| format!("cannot write {PAGE}"))
}

/// A table in Markdown, groups in the order in which they are measured.
fn table(groups: &Groups) -> String {
    let mut text = String::from("| | asked | netem | ours | at least equal |\n|---|---|---|---|---|\n");
    let known = GROUPS.iter().filter_map(|name| groups.get(*name));
    for row in known.flat_map(|group| &group.rows) {
        let asked = match row.aim {
            Aim::Exactly(value) => number(value),
            Aim::Low => "little".to_owned(),
            Aim::High => "much".to_owned(),
        };
        let unit = if row.unit.is_empty() {
            String::new()
        } else {
            format!(" ({})", row.unit)
        };
        let remark = if row.remark.is_empty() {
            String::new()
        } else {
            format!(" ({})", row.remark)
        };
        let _ = writeln!(
            text,
            "| {}{unit} | {asked} | {} | {}{remark} | {} |",
            row.name,
            number(row.netem),
            number(row.ours),
            row.verdict()
        );
    }
    let kernels: std::collections::BTreeSet<&str> = groups.values().map(|g| g.kernel.as_str()).collect();
    let kernels: Vec<&str> = kernels.into_iter().collect();
    let equal = groups
        .values()
        .flat_map(|g| &g.rows)
        .filter(|row| row.verdict() != "no")
        .count();
    let rows = groups.values().map(|g| g.rows.len()).sum::<usize>();
    let _ = writeln!(
        text,
        "\n{equal} of {rows} rows at least equal. Kernel: {}.",
        kernels.join(", ")
    );
    text
}

impl Row {
    /// How far from perfect; less is better.
    fn distance(&self, value: f64) -> f64 {
        match self.aim {
            Aim::Exactly(asked) => (value - asked).abs(),
            Aim::Low => value,
            Aim::High => -value,
        }
    }

    fn verdict(&self) -> &'static str {
        let behind = self.distance(self.ours) - self.distance(self.netem);
        if behind <= 0.0 {
            "yes"
        } else if behind <= self.noise {
            "within noise"
        } else {
            "no"
        }
    }
}

/// Three figures that count.
fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if size >= 100.0 {
        format!("{value:.1}")
    } else if size >= 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(aim: Aim, netem: f64, ours: f64) -> Row {
        Row {
            group: "delay".to_owned(),
            name: "10 ms: mean".to_owned(),
            unit: "ms".to_owned(),
            aim,
            netem,
            ours,
            noise: 0.5,
            remark: String::new(),
        }
    }

    #[test]
    fn ours_is_judged_by_what_was_asked() {
        assert_eq!(row(Aim::Exactly(10.0), 12.0, 9.0).verdict(), "yes");
        assert_eq!(row(Aim::Exactly(10.0), 10.1, 9.6).verdict(), "within noise");
        assert_eq!(row(Aim::Low, 0.0, 1.0).verdict(), "no");
        assert_eq!(row(Aim::High, 100.0, 101.0).verdict(), "yes");
        assert_eq!(row(Aim::High, 100.0, 99.0).verdict(), "no");
    }

    #[test]
    fn a_row_is_a_line_of_the_table_and_the_last_line_counts() {
        let rows = vec![row(Aim::Exactly(10.0), 12.0, 10.25), row(Aim::Low, 0.0, 1.0)];
        let groups = Groups::from([(
            "delay".to_owned(),
            Group {
                kernel: "6.12.1".to_owned(),
                rows,
            },
        )]);
        let text = table(&groups);
        assert!(
            text.contains("| 10 ms: mean (ms) | 10.00 | 12.00 | 10.25 | yes |"),
            "{text}"
        );
        assert!(
            text.ends_with("1 of 2 rows at least equal. Kernel: 6.12.1.\n"),
            "{text}"
        );
    }
}

//! Counts out of libtest's output, and the table at the end of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::vm;

/// More failures than this are no accident of the machine, and none is tried again.
const AGAIN_AT_MOST: usize = 2;

/// What a layer's output says so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// Tests that printed `SKIP <test>: <reason>`; libtest counts them as passed.
    skips: BTreeMap<String, String>,
    /// The tests that libtest lists as failed.
    failures: BTreeSet<String>,
    /// Whether the list of failures is being read: it begins anew at each heading, and ends with the result.
    listing: bool,
    /// Tests that failed among the others, and passed by themselves.
    again: BTreeSet<String>,
    /// Failed before or outside any test: a compile error, a crash, a missing target.
    broke: bool,
}

/// One finished layer.
#[derive(Debug)]
pub(crate) struct Outcome {
    layer: String,
    tally: Tally,
    remark: String,
}

impl Outcome {
    pub(super) fn new(layer: &str, tally: Tally) -> Self {
        let remark = if tally.broke {
            "   did not run to its end, see above"
        } else {
            ""
        };
        Self {
            layer: layer.to_owned(),
            tally,
            remark: remark.to_owned(),
        }
    }

    /// Of the tests on one kernel.
    pub(crate) fn of_vm(kernel: &str, outcome: vm::Outcome) -> Self {
        let mut remark = format!("   {} boots, {} s", outcome.boots, outcome.seconds);
        if outcome.again > 0 {
            let _ = write!(remark, ", {} run again", outcome.again);
        }
        Self {
            layer: format!("vm {kernel}"),
            tally: outcome.tally,
            remark,
        }
    }
}

/// The table, and why the run as a whole is not a success, if it is not.
pub(crate) fn table_of(outcomes: &[Outcome]) -> (String, Option<String>) {
    (table(outcomes), total(outcomes).refusal())
}

impl Tally {
    pub(super) fn read_line(&mut self, line: &str) {
        if let Some((passed, failed, ignored)) = parse_result(line) {
            self.passed += passed;
            self.failed += failed;
            self.ignored += ignored;
            self.listing = false;
        } else if line == "failures:" {
            // The first one is above what the tests printed, the last one above their names.
            self.failures.clear();
            self.listing = true;
        } else if self.listing
            && let Some(name) = line.strip_prefix("    ").filter(|name| is_a_name(name))
        {
            self.failures.insert(name.to_owned());
        } else if let Some((test, reason)) = parse_skip(line) {
            self.skips.insert(test.to_owned(), reason.to_owned());
        }
    }

    /// To be called with the command's own verdict.
    pub(super) fn finish(&mut self, success: bool) {
        self.broke = !success && self.failed == 0;
    }

    /// The tests that failed, if a machine that stood still for a moment may be why: few, and each of them known by
    /// its name.
    pub(super) fn worth_another_run(&self) -> Vec<String> {
        let known = !self.broke && self.failures.len() as u64 == self.failed;
        if known && self.failures.len() <= AGAIN_AT_MOST {
            self.failures.iter().cloned().collect()
        } else {
            Vec::new()
        }
    }

    /// `test`, which had failed, passed when it ran alone.
    pub(super) fn passed_alone(&mut self, test: &str) {
        self.failed -= 1;
        self.passed += 1;
        self.failures.remove(test);
        self.again.insert(test.to_owned());
    }

    pub(crate) fn add_passed(&mut self) {
        self.passed += 1;
    }

    pub(crate) fn add_failed(&mut self) {
        self.failed += 1;
    }

    pub(crate) fn add_skipped(&mut self, test: &str, reason: &str) {
        // As libtest counts it.
        self.passed += 1;
        self.skips.insert(test.to_owned(), reason.to_owned());
    }

    /// Passed, failed, skipped.
    #[cfg(test)]
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        (self.passed(), self.failed(), self.skipped())
    }

    fn skipped(&self) -> u64 {
        self.skips.len() as u64 + self.ignored
    }

    fn passed(&self) -> u64 {
        self.passed.saturating_sub(self.skips.len() as u64)
    }

    fn failed(&self) -> u64 {
        self.failed + u64::from(self.broke)
    }

    /// Something ran, and nothing of it failed.
    pub(super) fn is_a_success(&self) -> bool {
        self.refusal().is_none()
    }

    /// Why the run as a whole is not a success, if it is not.
    fn refusal(&self) -> Option<String> {
        if self.failed() > 0 {
            return Some(format!("{} failed", self.failed()));
        }
        (self.passed() == 0).then(|| "no test ran".to_owned())
    }
}

fn total(outcomes: &[Outcome]) -> Tally {
    let mut sum = Tally::default();
    for Outcome { layer, tally, .. } in outcomes {
        sum.passed += tally.passed;
        // A layer that broke counts as one failure.
        sum.failed += tally.failed();
        sum.ignored += tally.ignored;
        sum.skips.extend(
            tally
                .skips
                .iter()
                .map(|(test, why)| (format!("{layer}: {test}"), why.clone())),
        );
        sum.again
            .extend(tally.again.iter().map(|test| format!("{layer}: {test}")));
    }
    sum
}

/// The table, the reasons of the skips, and as last line `N passed, N failed, N skipped`.
fn table(outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "\n{:<10}{:>8}{:>8}{:>9}\n",
        "layer", "passed", "failed", "skipped"
    );
    let mut line = |name: &str, tally: &Tally, remark: &str| {
        let _ = writeln!(
            text,
            "{name:<10}{:>8}{:>8}{:>9}{remark}",
            tally.passed(),
            tally.failed(),
            tally.skipped()
        );
    };
    for outcome in outcomes {
        line(&outcome.layer, &outcome.tally, &outcome.remark);
    }
    let sum = total(outcomes);
    line("total", &sum, "");
    for (test, reason) in &sum.skips {
        let _ = writeln!(text, "skipped {test}: {reason}");
    }
    for test in &sum.again {
        let _ = writeln!(
            text,
            "run again {test}: failed among the others (see above), passed alone"
        );
    }
    let _ = writeln!(
        text,
        "{} passed, {} failed, {} skipped",
        sum.passed(),
        sum.failed(),
        sum.skipped()
    );
    text
}

/// `test result: ok. 12 passed; 0 failed; 3 ignored; …` as (passed, failed, ignored).
fn parse_result(line: &str) -> Option<(u64, u64, u64)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |what: &str| {
        counts
            .split(';')
            .find_map(|part| part.trim().strip_suffix(what)?.trim().parse::<u64>().ok())
    };
    Some((count("passed")?, count("failed")?, count("ignored")?))
}

/// Whether a line of libtest's list of failures is the name of one.
fn is_a_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace)
}

/// `SKIP <test>: <reason>`, alone or behind libtest's `test <name> ... `, which has no newline yet.
pub(crate) fn parse_skip(line: &str) -> Option<(&str, &str)> {
    let rest = match line
        .strip_prefix("test ")
        .and_then(|rest| rest.split_once(" ... "))
    {
        Some((_, printed)) => printed,
        None => line,
    };
    // A test's name may be a path with `::`; the reason begins behind the first colon and blank.
    let (test, reason) = rest.strip_prefix("SKIP ")?.split_once(": ")?;
    (!test.is_empty() && !test.contains(' ')).then_some((test, reason.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[&str], success: bool) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.read_line(line));
        tally.finish(success);
        tally
    }

    const OK: &str =
        "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out; finished in 0.12s";
    const BAD: &str =
        "test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 9s";

    #[test]
    fn result_lines_of_several_programs_add_up() {
        let sum = tally(&["running 12 tests", OK, "", BAD], false);
        assert_eq!((sum.passed(), sum.failed(), sum.skipped()), (15, 2, 1));
        assert_eq!(sum.refusal().as_deref(), Some("2 failed"));
    }

    #[test]
    fn a_skip_is_taken_from_the_passed_ones_however_it_was_printed_and_only_once() {
        let line = "SKIP delay::in_fq: kernel has no fq (since 3.12: CONFIG_NET_SCH_FQ)";
        let with_prefix = format!("test delay::in_fq ... {line}");
        let sum = tally(&[&with_prefix, line, OK], true);
        assert_eq!((sum.passed(), sum.failed(), sum.skipped()), (11, 0, 1));
        assert_eq!(
            sum.skips["delay::in_fq"],
            "kernel has no fq (since 3.12: CONFIG_NET_SCH_FQ)"
        );
        assert!(parse_skip("we SKIP nothing: really").is_none());
        assert!(parse_skip("SKIP two words: no").is_none());
    }

    #[test]
    fn a_program_that_died_without_a_result_is_a_failure() {
        assert_eq!(
            tally(&["running 3 tests"], false).refusal().as_deref(),
            Some("1 failed")
        );
    }

    #[test]
    fn nothing_but_skips_is_no_success() {
        let only =
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s";
        assert_eq!(
            tally(&["SKIP a: b", only], true).refusal().as_deref(),
            Some("no test ran")
        );
        assert_eq!(tally(&[], true).refusal().as_deref(), Some("no test ran"));
        assert_eq!(tally(&[OK], true).refusal(), None);
    }

    #[test]
    fn few_failures_are_worth_another_run_and_stay_told() {
        let output = [
            "failures:",
            "",
            "---- delay::late stdout ----",
            "    printed::by::it",
            "",
            "failures:",
            "    delay::late",
            "    health::slow",
            "",
            BAD,
        ];
        let mut sum = tally(&output, false);
        assert_eq!(sum.worth_another_run(), ["delay::late", "health::slow"]);
        sum.passed_alone("delay::late");
        assert_eq!((sum.passed(), sum.failed()), (4, 1));
        sum.passed_alone("health::slow");
        assert_eq!(sum.refusal(), None);
        let text = table(&[Outcome::new("netns", sum)]);
        assert!(
            text.contains("run again netns: delay::late: failed among the others"),
            "{text}"
        );
        assert!(text.ends_with("5 passed, 0 failed, 1 skipped\n"), "{text}");
    }

    #[test]
    fn failures_without_names_or_too_many_are_not_tried_again() {
        assert!(tally(&[BAD], false).worth_another_run().is_empty());
        let three =
            "test result: FAILED. 0 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 9s";
        let output = ["failures:", "    a", "    b", "    c", "", three];
        assert!(tally(&output, false).worth_another_run().is_empty());
    }

    #[test]
    fn the_last_line_is_the_plain_count() {
        let outcomes = [
            Outcome::new("unit", tally(&[OK], true)),
            Outcome::new("netns", tally(&["SKIP a: no fq", OK, "x"], false)),
        ];
        let text = table(&outcomes);
        assert_eq!(
            text.lines().last(),
            Some("23 passed, 1 failed, 1 skipped"),
            "{text}"
        );
        assert!(text.contains("skipped netns: a: no fq"), "{text}");
    }
}

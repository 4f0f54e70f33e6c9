//! All tests of one kernel: a few in each boot, and a second try when the guest died under one.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::Result;

use super::boot::{Ended, Machine, Report};
use crate::process::note;
use crate::test::{Tally, parse_skip};

/// Tests in one boot: few, since a kernel that is emulated sometimes breaks under load.
const TESTS_PER_BOOT: usize = 6;
/// A guest that dies before its first test, this many times in a row, will not start at all.
const DEAD_STARTS: usize = 3;
/// What a shell says of a program that was killed.
pub(super) const NOT_IN_TIME: i32 = 137;

/// What one kernel's tests came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    pub(crate) boots: usize,
    /// Tests that were run again because the guest had died under them.
    pub(crate) again: usize,
    pub(crate) seconds: u64,
}

/// Runs `tests` in as many boots as it takes.
pub(super) fn run(machine: &Machine<'_>, tests: &[String]) -> Result<Outcome> {
    let begun = Instant::now();
    let mut plan = Plan::new(tests);
    let mut outcome = Outcome::default();
    while let Some(group) = plan.next_boot() {
        outcome.boots += 1;
        let report = machine.run(&group, |ended| print(machine.kernel.release(), ended))?;
        if let Some(why) = &report.died {
            let during = report.during.as_deref().unwrap_or("no test");
            note(format_args!("the guest died during {during}: {why}"));
        }
        for ended in &report.ended {
            count(&mut outcome.tally, ended);
        }
        for lost in plan.account(&group, &report) {
            println!(
                "{} FAILED {lost}: the guest died again, or never started",
                machine.kernel.release()
            );
            outcome.tally.add_failed();
        }
    }
    outcome.again = plan.again;
    outcome.seconds = begun.elapsed().as_secs();
    Ok(outcome)
}

fn skip_of(ended: &Ended) -> Option<(&str, &str)> {
    ended.output.iter().find_map(|line| parse_skip(line))
}

fn count(tally: &mut Tally, ended: &Ended) {
    match (ended.code, skip_of(ended)) {
        (0, Some((test, reason))) => tally.add_skipped(test, reason),
        (0, None) => tally.add_passed(),
        _ => tally.add_failed(),
    }
}

fn print(release: &str, ended: &Ended) {
    let verdict = match (ended.code, skip_of(ended)) {
        (0, Some((_, reason))) => format!("skipped: {reason}"),
        (0, None) => "ok".to_owned(),
        (NOT_IN_TIME, _) => "FAILED: not at its end in time".to_owned(),
        (code, _) => format!("FAILED ({code})"),
    };
    println!(
        "{release} {} ... {verdict} ({:.1} s)",
        ended.test,
        ended.took.as_secs_f64()
    );
    if ended.code != 0 {
        for line in &ended.output {
            println!("    {line}");
        }
    }
}

/// Which tests are still to be run.
struct Plan {
    waiting: VecDeque<String>,
    /// The guest has died under these once.
    suspects: Vec<String>,
    again: usize,
    dead_starts: usize,
}

impl Plan {
    fn new(tests: &[String]) -> Self {
        Self {
            waiting: tests.iter().cloned().collect(),
            suspects: Vec::new(),
            again: 0,
            dead_starts: 0,
        }
    }

    /// The tests of the next boot. A suspect gets one of its own.
    fn next_boot(&mut self) -> Option<Vec<String>> {
        let alone = self
            .waiting
            .front()
            .is_some_and(|test| self.suspects.contains(test));
        let mut group = Vec::new();
        while group.len() < if alone { 1 } else { TESTS_PER_BOOT } {
            match self.waiting.front() {
                Some(test) if alone || !self.suspects.contains(test) => {}
                _ => break,
            }
            group.extend(self.waiting.pop_front());
        }
        (!group.is_empty()).then_some(group)
    }

    /// Takes in what came of a boot. Gives the tests that will not be run again.
    fn account(&mut self, group: &[String], report: &Report) -> Vec<String> {
        let ended = |test: &String| report.ended.iter().any(|e| e.test == *test);
        let mut lost = Vec::new();
        let mut left: Vec<String> = group.iter().filter(|test| !ended(test)).cloned().collect();
        if left.is_empty() {
            self.dead_starts = 0;
            return lost;
        }
        if let Some(culprit) = &report.during {
            self.dead_starts = 0;
            left.retain(|test| test != culprit);
            if self.suspects.contains(culprit) {
                lost.push(culprit.clone());
            } else {
                self.suspects.push(culprit.clone());
                self.again += 1;
                left.insert(0, culprit.clone());
            }
        } else if report.ended.is_empty() {
            self.dead_starts += 1;
            if self.dead_starts == DEAD_STARTS {
                lost.append(&mut left);
                lost.extend(self.waiting.drain(..));
            }
        }
        for test in left.into_iter().rev() {
            self.waiting.push_front(test);
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn report(ended: &str, during: Option<&str>) -> Report {
        let ended = names(ended).into_iter().map(|test| Ended {
            test,
            code: 0,
            output: Vec::new(),
            took: Duration::ZERO,
        });
        Report {
            ended: ended.collect(),
            during: during.map(str::to_owned),
            died: during.map(|_| "it hung".to_owned()),
        }
    }

    #[test]
    fn a_test_under_which_the_guest_died_gets_a_boot_of_its_own_and_no_third_try() {
        let mut plan = Plan::new(&names("a b c d e f g"));
        let first = plan.next_boot().expect("tests wait");
        assert_eq!(first, names("a b c d e f"));
        assert!(plan.account(&first, &report("a b", Some("c"))).is_empty());
        let second = plan.next_boot().expect("tests wait");
        assert_eq!(second, names("c"));
        assert_eq!(plan.account(&second, &report("", Some("c"))), names("c"));
        assert_eq!(plan.next_boot().expect("tests wait"), names("d e f g"));
        assert_eq!(plan.again, 1);
    }

    #[test]
    fn a_kernel_that_does_not_start_is_given_up() {
        let mut plan = Plan::new(&names("a b c d e f g"));
        for _ in 1..DEAD_STARTS {
            let group = plan.next_boot().expect("tests wait");
            assert!(plan.account(&group, &report("", None)).is_empty());
        }
        let group = plan.next_boot().expect("tests wait");
        assert_eq!(plan.account(&group, &report("", None)).len(), 7);
        assert_eq!(plan.next_boot(), None);
    }

    #[test]
    fn skips_are_told_from_passes() {
        let mut tally = Tally::default();
        let mut ended = report("a", None).ended.remove(0);
        count(&mut tally, &ended);
        ended
            .output
            .push("SKIP a: this kernel has no TCX (since 6.6)".to_owned());
        count(&mut tally, &ended);
        ended.code = 101;
        count(&mut tally, &ended);
        assert_eq!(tally.counts(), (1, 1, 1));
    }
}

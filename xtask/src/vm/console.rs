//! The lines of a guest's console: init's own are marked, the others are the kernel's.

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Init runs.
    Up,
    Begin(&'a str),
    /// A line that a test has printed.
    Output(&'a str),
    /// A test, and the exit code of its program.
    End(&'a str, i32),
    Done,
    /// Init cannot do its work.
    Broken(&'a str),
    /// The kernel is broken.
    Oops(&'a str),
    Other,
}

/// What a kernel says last.
pub(super) const PANIC: &str = "Kernel panic";

/// What a kernel says when it cannot be trusted any more.
const OOPSES: [&str; 8] = [
    "BUG: ",
    "Oops: ",
    PANIC,
    "general protection fault",
    "kernel BUG at",
    "unable to handle",
    "watchdog: BUG: soft lockup",
    "detected stalls",
];

pub(super) fn classify(line: &str) -> Line<'_> {
    if let Some(text) = line.strip_prefix("@|") {
        return Line::Output(text.strip_prefix(' ').unwrap_or(text));
    }
    // The kernel may have begun a line before.
    if let Some(at) = line.find("@vm ") {
        let said = &line[at + 4..];
        let (verb, rest) = said.split_once(' ').unwrap_or((said, ""));
        return match verb {
            "up" => Line::Up,
            "begin" => Line::Begin(rest),
            "end" => match rest.rsplit_once(' ') {
                Some((test, code)) => Line::End(test, code.parse().unwrap_or(-1)),
                None => Line::Other,
            },
            "done" => Line::Done,
            "broken" => Line::Broken(rest),
            _ => Line::Other,
        };
    }
    if OOPSES.iter().any(|oops| line.contains(oops)) {
        Line::Oops(line)
    } else {
        Line::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_lines_are_told_from_the_kernels() {
        assert_eq!(classify("@| test a ... ok"), Line::Output("test a ... ok"));
        assert_eq!(classify("@|"), Line::Output(""));
        assert_eq!(classify("[  1.0] x@vm begin a::b"), Line::Begin("a::b"));
        assert_eq!(classify("@vm end a::b 137"), Line::End("a::b", 137));
        assert_eq!(classify("@vm broken no disks"), Line::Broken("no disks"));
        assert_eq!(classify("[  1.0] eth0: up"), Line::Other);
        // A test's own words do not make an oops.
        assert_eq!(classify("@| Kernel panic"), Line::Output("Kernel panic"));
        assert!(matches!(
            classify("[  3.1] Kernel panic - not syncing: Fatal exception"),
            Line::Oops(_)
        ));
    }
}

//! The rules of the house that no tool knows.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::rust_text::{code_only, has_word};
use crate::process::capture;
use crate::workspace::Workspace;

/// A longer file has more than one subject.
const MAX_LINES: usize = 600;
/// A longer README is not read to its end.
const MAX_README_LINES: usize = 120;

/// Places where `unsafe` may be written: the kernel crates, and the daemon's system-call layer.
const UNSAFE_PLACES: [&str; 3] = ["chaos-ebpf/", "chaos-ebpf-common/", "chaos-daemon/src/sys/"];

pub(super) fn check(ws: &Workspace) -> Result<()> {
    // New files count before they are added; ignored ones never.
    let list = capture(
        Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(ws.root()),
    )
    .context("the house rules look at the files that git knows")?;
    let mut findings = Vec::new();
    for name in list.split('\0').filter(|name| !name.is_empty()) {
        // Deleted in the work tree but not in the index, or not text: nothing to read.
        if let Ok(text) = fs::read_to_string(ws.root().join(name)) {
            findings.extend(check_file(name, &text));
        }
    }
    if !findings.is_empty() {
        bail!("{}", findings.join("\n"));
    }
    Ok(())
}

fn check_file(name: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if is_written_by_hand(name) && lines > MAX_LINES {
        findings.push(format!(
            "{name}: {lines} lines; split it, {MAX_LINES} is the limit"
        ));
    }
    if name == "README.md" && lines > MAX_README_LINES {
        findings.push(format!(
            "{name}: {lines} lines; {MAX_README_LINES} is the limit, the rest belongs to docs/"
        ));
    }
    if Path::new(name).extension().is_some_and(|ext| ext == "rs") {
        findings.extend(check_rust(name, text));
    }
    findings
}

fn check_rust(name: &str, text: &str) -> Vec<String> {
    let may_be_unsafe =
        UNSAFE_PLACES.iter().any(|place| name.starts_with(place)) || name == "chaos-daemon/src/sys.rs";
    let mut findings = Vec::new();
    for (number, line) in code_only(text).lines().enumerate() {
        let mut found = |what: &str| findings.push(format!("{name}:{}: {what}", number + 1));
        if !may_be_unsafe && has_word(line, "unsafe") {
            found("`unsafe` belongs to chaos-daemon/src/sys or the kernel crates");
        }
        for stub in ["todo!", "unimplemented!"] {
            if has_word(line, stub.trim_end_matches('!')) && line.contains(stub) {
                found(&format!(
                    "{stub} is a stub; write the code or leave the feature out"
                ));
            }
        }
        if line.contains("#[ignore") {
            found(
                "an ignored test tests nothing; a test that cannot run here prints a SKIP line with its reason",
            );
        }
    }
    findings
}

/// Lock files and licence texts are as long as they are.
fn is_written_by_hand(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    file != "Cargo.lock" && !file.starts_with("LICENSE") && !file.ends_with(".json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_found_and_a_lock_file_spared() {
        let long = "x\n".repeat(MAX_LINES + 1);
        assert_eq!(check_file("a/b.rs", &long).len(), 1);
        assert!(check_file("Cargo.lock", &long).is_empty());
        assert_eq!(
            check_file("README.md", &"x\n".repeat(MAX_README_LINES + 1)).len(),
            1
        );
        assert!(check_file("a/b.rs", &"x\n".repeat(MAX_LINES)).is_empty());
    }

    #[test]
    fn unsafe_is_found_outside_its_places_only() {
        let code = "fn f() { unsafe { g() } }";
        assert_eq!(check_file("chaosctl/src/main.rs", code).len(), 1);
        assert!(check_file("chaos-daemon/src/sys/clock.rs", code).is_empty());
        assert!(check_file("chaos-ebpf/src/main.rs", code).is_empty());
        assert!(check_file("chaosctl/src/main.rs", "// unsafe\nlet s = \"unsafe\";").is_empty());
    }

    #[test]
    fn stubs_and_ignored_tests_are_found() {
        assert_eq!(
            check_file("a.rs", "fn f() { todo!() }\n#[ignore]\nfn g() {}").len(),
            2
        );
        assert!(check_file("a.rs", "let todo = 1;").is_empty());
    }
}

//! The CLI as a user runs it, and what it prints, read back.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::{FaultFile, binary, eventually_some, is_emulated};

/// `chaosctl` for one daemon's socket.
#[derive(Clone, Debug)]
pub struct Chaosctl {
    socket: PathBuf,
}

/// What a run of it gave.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// One fault, as `get faults -o json` shows it.
#[derive(Clone, Debug)]
pub struct View(pub Value);

impl Chaosctl {
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// Runs it with `args`.
    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Output {
        self.run_with_input(args, "")
    }

    /// Runs it with `args` and `input` on stdin.
    pub fn run_with_input<S: AsRef<OsStr>>(&self, args: &[S], input: &str) -> Output {
        assert!(
            args.iter().all(|arg| arg.as_ref() != "--host"),
            "no test aims at a host"
        );
        let mut command = Command::new(binary("chaosctl"));
        if is_emulated() {
            // There the verifier alone takes seconds.
            command.args(["--timeout", "60s"]);
        }
        let mut child = command
            .args(args)
            .env("CHAOS_SOCKET", &self.socket)
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("chaosctl has been built (cargo xtask build)");
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        // A program that refuses early closes its stdin: then the rest is not wanted.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child
            .wait_with_output()
            .expect("waiting for one's own child works");
        Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs it and expects success.
    #[track_caller]
    pub fn ok<S: AsRef<OsStr>>(&self, args: &[S]) -> Output {
        let output = self.run(args);
        assert_eq!(output.code, 0, "chaosctl {}: {output}", words(args));
        output
    }

    /// `apply -f` with these documents in one request.
    pub fn try_apply(&self, faults: &[FaultFile]) -> Output {
        self.apply_text(&documents(faults))
    }

    /// `plan -f` with these documents in one request.
    pub fn try_plan(&self, faults: &[FaultFile]) -> Output {
        self.with_file(&["plan"], &documents(faults))
    }

    /// `plan -o json -f` with these documents in one request.
    pub fn try_plan_json(&self, faults: &[FaultFile]) -> Output {
        self.with_file(&["plan", "-o", "json"], &documents(faults))
    }

    /// `apply -f` with any text.
    pub fn apply_text(&self, text: &str) -> Output {
        self.with_file(&["apply"], text)
    }

    fn with_file(&self, words: &[&str], text: &str) -> Output {
        let mut file = tempfile::Builder::new()
            .suffix(".yaml")
            .tempfile()
            .expect("a temporary file can be made");
        file.write_all(text.as_bytes())
            .expect("a temporary file can be written");
        let mut args: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
        args.extend([OsStr::new("-f"), file.path().as_os_str()]);
        self.run(&args)
    }

    /// Applies and waits until each of them acts.
    #[track_caller]
    pub fn apply(&self, faults: &[FaultFile]) {
        let output = self.try_apply(faults);
        assert_eq!(output.code, 0, "chaosctl apply: {output}");
        for fault in faults {
            self.wait_for_phase(fault.name(), "Active");
        }
    }

    /// The fault, if the daemon knows it.
    pub fn find(&self, name: &str) -> Option<View> {
        let output = self.run(&["get", "faults", name, "-o", "json"]);
        if output.code != 0 {
            return None;
        }
        let value: Value = serde_json::from_str(&output.stdout)
            .unwrap_or_else(|e| panic!("`get faults {name} -o json` is no JSON ({e}): {output}"));
        match value.get("items") {
            None => Some(View(value)),
            Some(items) => items
                .as_array()?
                .iter()
                .find(|item| item["metadata"]["name"] == name)
                .map(|item| View(item.clone())),
        }
    }

    #[track_caller]
    pub fn fault(&self, name: &str) -> View {
        self.find(name)
            .unwrap_or_else(|| panic!("the daemon knows no fault {name}"))
    }

    /// All faults that it lists.
    #[track_caller]
    pub fn faults(&self) -> Vec<View> {
        let output = self.ok(&["get", "faults", "-o", "json"]);
        let value: Value =
            serde_json::from_str(&output.stdout).unwrap_or_else(|e| panic!("no JSON ({e}): {output}"));
        value["items"]
            .as_array()
            .expect("a list has `items`")
            .iter()
            .cloned()
            .map(View)
            .collect()
    }

    #[track_caller]
    pub fn wait_for_phase(&self, name: &str, phase: &str) -> View {
        eventually_some(
            Duration::from_secs(10),
            &format!("{name} is {phase}: {:?}", self.find(name)),
            || self.find(name).filter(|view| view.phase() == phase),
        )
    }

    #[track_caller]
    pub fn delete(&self, name: &str) {
        self.ok(&["delete", "--yes", name]);
    }
}

impl View {
    pub fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap_or_default()
    }

    pub fn phase(&self) -> &str {
        self.0["status"]["phase"].as_str().unwrap_or_default()
    }

    pub fn reason(&self) -> &str {
        self.0["status"]["reason"].as_str().unwrap_or_default()
    }

    /// A counter, such as `matched`.
    #[track_caller]
    pub fn packets(&self, counter: &str) -> u64 {
        self.0["status"]["packets"][counter]
            .as_u64()
            .unwrap_or_else(|| panic!("no counter {counter}: {}", self.0))
    }

    pub fn seed(&self) -> u64 {
        self.0["status"]["seed"]
            .as_u64()
            .unwrap_or_else(|| panic!("no seed: {}", self.0))
    }

    pub fn warnings(&self) -> Vec<&str> {
        let list = self.0["status"]["warnings"].as_array();
        list.into_iter()
            .flatten()
            .filter_map(|w| w["code"].as_str())
            .collect()
    }

    /// Its warnings without what is so on a whole host.
    pub fn own_warnings(&self) -> Vec<&str> {
        let mut warnings = self.warnings();
        warnings.retain(|code| *code != "ClsactFallback");
        warnings
    }

    pub fn attachments(&self) -> Vec<Value> {
        self.0["status"]["attachments"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "exit code {}\nstdout: {}\nstderr: {}",
            self.code, self.stdout, self.stderr
        )
    }
}

/// Several documents in one text.
fn documents(faults: &[FaultFile]) -> String {
    let mut text = String::new();
    for fault in faults {
        let _ = writeln!(text, "---\n{fault}");
    }
    text
}

fn words<S: AsRef<OsStr>>(args: &[S]) -> String {
    args.iter()
        .map(|arg| arg.as_ref().to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

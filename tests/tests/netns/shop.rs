//! A web shop to experiment on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chaos_tests::{Chaosctl, Daemon, Pair, Process, Snapshot, eventually, settled};
use serde_json::Value;
use tempfile::TempDir;

use crate::bed::{BRIEF, SOON};
use crate::health::Web;

/// nginx at one end of a cable, probes at the other, a daemon beside them.
pub(crate) struct Shop {
    pub(crate) web: Web,
    pub(crate) ctl: Chaosctl,
    pub(crate) daemon: Daemon,
    pub(crate) folder: TempDir,
    before: Snapshot,
    pub(crate) net: Pair,
}

impl Shop {
    pub(crate) fn new() -> Self {
        Self::with_args(&[])
    }

    pub(crate) fn with_args(args: &[&str]) -> Self {
        Self::with_daemon(|_| Daemon::builder().args(args).start())
    }

    /// With a daemon that lives where the probes do.
    pub(crate) fn with_daemon_at_the_client() -> Self {
        Self::with_daemon(|net| Daemon::builder().netns(&net.client.netns).start())
    }

    pub(crate) fn with_daemon(daemon: impl FnOnce(&Pair) -> Daemon) -> Self {
        let net = Pair::new();
        let web = Web::start(&net.server.netns, 8080, "127.0.0.1:9");
        let before = Snapshot::of_devices(&[&net.client.device, &net.server.device]);
        let daemon = daemon(&net);
        Self {
            web,
            ctl: daemon.ctl(),
            daemon,
            folder: tempfile::tempdir().expect("a temporary folder can be made"),
            before,
            net,
        }
    }

    /// An experiment on what the client sends to the shop: `fault`, `method` and what `more` adds, in YAML.
    pub(crate) fn file(&self, fault: &str, method: &str, expect: &str, more: &str) -> PathBuf {
        let (netns, url) = (self.net.client.netns.path(), self.net.server.at(8080));
        let text = format!(
            "apiVersion: chaos-daemon.dev/v1alpha1\n\
             kind: Experiment\n\
             metadata: {{name: shop}}\n\
             spec:\n\
             \x20 hypothesis: The shop answers\n\
             \x20 steadyState:\n\
             \x20   - {{name: shop, http: {{url: \"http://{url}/\"}}, every: 25ms, timeout: 1s, netns: {netns}, expect: {expect}}}\n\
             \x20 baseline: {{for: 500ms}}\n\
             \x20 method: [{method}]\n\
             \x20 {more}\n\
             ---\n\
             apiVersion: chaos-daemon.dev/v1alpha1\n\
             kind: NetworkFault\n\
             metadata: {{name: fault}}\n\
             spec:\n\
             \x20 target: {{netns: {netns}}}\n\
             \x20 traffic: {{protocol: tcp, remote: {{ports: [8080]}}}}\n\
             \x20 fault: {fault}\n\
             \x20 duration: 1m\n",
            netns = netns.display(),
        );
        let path = self.folder.path().join("run.yaml");
        std::fs::write(&path, text).expect("writes");
        path
    }

    /// Runs it to its end; the exit code and the report.
    #[track_caller]
    pub(crate) fn run(&self, file: &Path) -> (i32, Value) {
        let reports = self.folder.path().join("report");
        let output = self.ctl.run(&[
            "run",
            &file.display().to_string(),
            "--report",
            &reports.display().to_string(),
        ]);
        println!("{output}");
        let text = std::fs::read_to_string(reports.join("report.json")).expect("there is a report");
        (output.code, serde_json::from_str(&text).expect("it is JSON"))
    }

    /// `chaosctl run FILE` in the background.
    pub(crate) fn start(&self, file: &Path) -> Process {
        let (ctl, socket) = (chaos_tests::binary("chaosctl"), self.daemon.socket());
        let words = [
            ctl.display().to_string(),
            "--socket".to_owned(),
            socket.display().to_string(),
            "run".to_owned(),
            file.display().to_string(),
        ];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Process::spawn(&self.net.client.netns, None, &words)
    }

    /// The same, when its fault acts.
    #[track_caller]
    pub(crate) fn acting(&self, file: &Path) -> Process {
        let running = self.start(file);
        eventually(SOON, "the fault acts", || {
            self.ctl.faults().iter().any(|fault| fault.phase() == "Active")
        });
        running
    }

    /// Nothing is left of it: no fault, and devices as they were.
    #[track_caller]
    pub(crate) fn assert_untouched(&self) {
        assert!(self.ctl.faults().iter().all(|fault| fault.phase() == "Ended"));
        let now = || Snapshot::of_devices(&[&self.net.client.device, &self.net.server.device]);
        // The kernel lets go of a detached program a moment later.
        settled(BRIEF, || now() == self.before);
        now().assert_same_as(&self.before);
    }
}

/// The exit code that a `chaosctl run` comes to.
#[track_caller]
pub(crate) fn assert_exit(running: Process, code: i32, what: &str) {
    let finished = running.finish(Duration::from_secs(20));
    assert_eq!(
        finished.status.code(),
        Some(code),
        "{what}: {}{}",
        finished.stdout,
        finished.stderr
    );
}

//! The act with a question in it: an experiment on the stage, and a report to look at.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::control::Ctl;
use super::stage::{SERVER_ADDRESS, Stage};
use super::web::PORT;
use crate::workspace::Workspace;

const TEXT: &str = r#"apiVersion: chaos-daemon.dev/v1alpha1
kind: Experiment
metadata: {name: pages-on-a-long-way}
spec:
  hypothesis: Every page comes, and within a quarter of a second, while the way to nginx gets 40 ms longer
  steadyState:
    - name: page
      http: {url: "http://ADDRESS:PORT/"}
      every: 50ms
      timeout: 1s
      expect: {success: ">= 99%", p95: "<= 250ms"}
  baseline: {for: 2s}
  method:
    - {fault: long-way, ramp: [{flows: 10%, for: 2s}, {flows: 50%, for: 2s}, {flows: 100%, for: 3s}]}
  abort: {after: 5 failures}
  recovery: {within: 5s}
---
apiVersion: chaos-daemon.dev/v1alpha1
kind: NetworkFault
metadata: {name: long-way}
spec:
  target: {netns: NETNS}
  traffic: {protocol: tcp, remote: {ports: [PORT]}}
  fault: {delay: {latency: 40ms, jitter: 5ms}}
  duration: 1m
"#;

/// Runs it in front of everybody; the report stays in the target folder.
pub(super) fn run(ws: &Workspace, ctl: &Ctl, stage: &Stage, dir: &Path) -> Result<()> {
    println!("5. A question: does it matter when the way gets longer?");
    let file = dir.join("pages-on-a-long-way.yaml");
    let text = TEXT
        .replace("ADDRESS", SERVER_ADDRESS)
        .replace("PORT", &PORT.to_string())
        .replace("NETNS", &stage.client().netns.display().to_string());
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    let report = ws.target().join("demo-report");
    let words = [
        "run",
        &file.display().to_string(),
        "--report",
        &report.display().to_string(),
    ];
    println!("  $ chaosctl run pages-on-a-long-way.yaml --report target/demo-report");
    let status = ctl.command(&words).status().context("cannot start chaosctl")?;
    ensure!(status.success(), "the experiment ended with {status}");
    println!("  a page to look at: target/demo-report/report.html\n");
    Ok(())
}

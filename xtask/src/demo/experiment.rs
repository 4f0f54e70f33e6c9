//! The act with a question in it: an experiment on a shop, and a report to look at.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::control::Ctl;
use super::interrupt::Interrupt;
use super::shop::{REDIS_PORT, SHOP_PORT, Shop};
use super::stage::Stage;
use crate::process::find_program;
use crate::workspace::Workspace;

const TEXT: &str = r#"apiVersion: chaos-daemon.dev/v1alpha1
kind: Experiment
metadata: {name: shop-with-a-slow-redis}
spec:
  hypothesis: The shop shows its stock, 95 of 100 times within 250 ms, while redis answers half a second later
  steadyState:
    - name: shop
      http: {url: "http://127.0.0.1:SHOP_PORT/"}
      every: 50ms
      timeout: 1s
      expect: {success: ">= 99%", p95: "<= 250ms", body: apples}
  baseline: {for: 2s}
  method:
    - {fault: slow-redis, ramp: [{flows: 20%, for: 2s}, {flows: 50%, for: 2s}, {flows: 100%, for: 3s}]}
  abort: {after: 5 failures}
  recovery: {within: 5s}
---
apiVersion: chaos-daemon.dev/v1alpha1
kind: NetworkFault
metadata: {name: slow-redis}
spec:
  target: {netns: NETNS}
  traffic: {protocol: tcp, remote: {ports: [REDIS_PORT]}}
  fault: {delay: {latency: 500ms, jitter: 50ms}}
  duration: 1m
"#;

/// Runs it in front of everybody; the report stays in the target folder.
pub(super) fn run(ws: &Workspace, ctl: &Ctl, stage: &Stage, dir: &Path, interrupt: &Interrupt) -> Result<()> {
    println!(
        "5. A question: does a shop bear a slow redis? nginx asks a program, which asks redis, at the other end of the cable"
    );
    let _shop = Shop::open(stage, dir)?;
    let curl = find_program("curl").context("no `curl`")?;
    interrupt.wait_for("the shop to open", Duration::from_secs(10), || {
        let mut ask = stage.client().command(&curl)?;
        ask.args(["-sf", "-m", "2", &format!("http://127.0.0.1:{SHOP_PORT}/")]);
        let answer = ask.output().context("cannot start curl")?;
        Ok(answer.status.success())
    })?;
    let file = dir.join("shop-with-a-slow-redis.yaml");
    let text = TEXT
        .replace("SHOP_PORT", &SHOP_PORT.to_string())
        .replace("REDIS_PORT", &REDIS_PORT.to_string())
        .replace("NETNS", &stage.client().netns.display().to_string());
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    let report = ws.target().join("demo-report");
    let words = [
        "run",
        &file.display().to_string(),
        "--report",
        &report.display().to_string(),
    ];
    println!("  $ chaosctl run shop-with-a-slow-redis.yaml --report target/demo-report");
    let status = ctl.command(&words).status().context("cannot start chaosctl")?;
    ensure!(status.success(), "the experiment ended with {status}");
    println!("  a page to look at: target/demo-report/report.html\n");
    Ok(())
}

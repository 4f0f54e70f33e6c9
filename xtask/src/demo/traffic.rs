//! The clients: curl, one process a request, and what they saw.

use std::io::Read as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::interrupt::Interrupt;
use super::process::{Place, Running};
use super::stage::SERVER_ADDRESS;
use crate::process::{capture, find_program};

/// Requests that one lane keeps in flight.
const PARALLEL: usize = 4;
/// A lane's output at 30 bytes a request stays below the 64 KiB that a pipe holds.
pub(super) const MAX_REQUESTS: u16 = 2000;
/// How often a running client is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// A request that has no answer by then has failed, in seconds.
const PATIENCE: &str = "3";

/// Who asks whom.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    pub(super) name: &'static str,
    pub(super) place: Place,
    pub(super) port: u16,
}

/// One request as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Request {
    /// HTTP status, 0 when there was no answer.
    status: u16,
    /// From start to end.
    seconds: f64,
    /// curl's exit code: 7 connection refused, 28 out of time, 56 connection reset.
    exit: u16,
}

/// What one lane saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) requests: Vec<Request>,
}

impl Lane {
    /// One request, by a real client in this lane's place.
    pub(super) fn ask(&self, interrupt: &Interrupt) -> Result<Request> {
        self.ask_in_turn(1, interrupt)?.pop().context("curl said nothing")
    }

    /// `count` requests, a few at a time. Stops early when the user does.
    pub(super) fn drive(&self, count: usize, interrupt: &Interrupt) -> Result<Seen> {
        let requests = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..PARALLEL)
                .map(|worker| (count + worker) / PARALLEL)
                .filter(|share| *share > 0)
                .map(|share| scope.spawn(move || self.ask_in_turn(share, interrupt)))
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().expect("a worker returns its errors"))
                .collect::<Result<Vec<_>>>()
        })?;
        Ok(Seen {
            requests: requests.concat(),
        })
    }

    /// One curl that makes `count` requests, one after the other, each on a new connection.
    fn ask_in_turn(&self, count: usize, interrupt: &Interrupt) -> Result<Vec<Request>> {
        let curl = find_program("curl").context("no `curl`")?;
        let mut command = self.place.command(&curl)?;
        command
            .args([
                "--silent",
                "--output",
                "/dev/null",
                "--noproxy",
                "*",
                "--max-time",
                PATIENCE,
            ])
            .args(["--header", "Connection: close"])
            .args(["--write-out", "%{http_code} %{time_total} %{exitcode}\n"])
            .arg(format!("http://{SERVER_ADDRESS}:{}/[1-{count}]", self.port))
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut curl = Running::start("curl", &mut command)?;
        let mut pipe = curl.take_stdout().context("curl's stdout is a pipe")?;
        // Its lines fit into the pipe (see MAX_REQUESTS), so it never waits for us.
        let status = loop {
            if let Some(status) = curl.ended()? {
                break status;
            }
            interrupt.check()?;
            std::thread::sleep(LOOK_EVERY);
        };
        let mut text = String::new();
        pipe.read_to_string(&mut text).context("reading curl's output")?;
        let requests: Option<Vec<Request>> = text.lines().map(parse_request).collect();
        requests
            .filter(|requests| requests.len() == count)
            .with_context(|| format!("curl ended with {status} and said `{text}`"))
    }
}

impl Request {
    pub(super) fn ok(&self) -> bool {
        self.status == 200
    }

    fn why(&self) -> &'static str {
        match self.exit {
            7 => "refused",
            28 => "no answer",
            56 => "reset",
            _ => "other",
        }
    }
}

impl Seen {
    pub(super) fn count(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn good(&self) -> usize {
        self.requests.iter().filter(|r| r.ok()).count()
    }

    pub(super) fn all_good(&self) -> bool {
        self.good() == self.count()
    }

    /// Milliseconds within which `share` of all requests had ended, however they ended.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let mut times: Vec<f64> = self.requests.iter().map(|r| r.seconds * 1000.0).collect();
        times.sort_by(f64::total_cmp);
        let rank = (share * times.len() as f64).ceil() as usize;
        times.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }

    /// `12 refused, 3 no answer`, or nothing.
    pub(super) fn failures(&self) -> String {
        let count = |why: &str| self.requests.iter().filter(|r| !r.ok() && r.why() == why).count();
        ["refused", "reset", "no answer", "other"]
            .into_iter()
            .map(|why| (count(why), why))
            .filter(|(n, _)| *n > 0)
            .map(|(n, why)| format!("{n} {why}"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// Is curl new enough to tell its exit code (7.75)?
pub(super) fn check_client() -> Result<()> {
    let curl = find_program("curl").context("no `curl`")?;
    let version = capture(std::process::Command::new(curl).arg("--version"))?;
    let number = version.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let mut parts = number.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let pair = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    anyhow::ensure!(
        pair >= (7, 75),
        "curl {number} is too old for the demo; 7.75 or newer is needed"
    );
    Ok(())
}

fn parse_request(text: &str) -> Option<Request> {
    let mut fields = text.split_whitespace();
    let status = fields.next()?.parse().ok()?;
    let seconds = fields.next()?.parse().ok()?;
    let exit = fields.next()?.parse().ok()?;
    Some(Request {
        status,
        seconds,
        exit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(lines: &[&str]) -> Seen {
        Seen {
            requests: lines
                .iter()
                .map(|line| parse_request(line).expect("a line of curl"))
                .collect(),
        }
    }

    #[test]
    fn curls_line_is_read() {
        assert_eq!(
            parse_request("200 0.001234 0"),
            Some(Request {
                status: 200,
                seconds: 0.001234,
                exit: 0
            })
        );
        assert_eq!(parse_request("000 3.000 28").map(|r| r.why()), Some("no answer"));
        assert_eq!(parse_request("error"), None);
    }

    #[test]
    fn quantiles_count_every_request() {
        let seen = seen(&["200 0.001 0", "200 0.002 0", "200 0.003 0", "000 3.000 28"]);
        assert!((seen.quantile(0.5) - 2.0).abs() < 1e-9);
        assert!((seen.quantile(1.0) - 3000.0).abs() < 1e-9);
        assert!(Seen::default().quantile(0.5).is_nan());
        assert_eq!(
            (seen.good(), seen.count(), seen.failures()),
            (3, 4, "1 no answer".to_owned())
        );
    }
}

//! `doctor`: what works on this node, why not, and what to do. Also when no daemon answers.

mod daemon;
mod local;
mod process;

use chaos_spec::api::NodeInfo;
use clap::Args;
use serde::Serialize;

use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, Paint, rendered};

/// Examine this node: what works, what does not and why, and what to do about it
///
/// Asks the daemon, and looks at the host as far as an ordinary user may. Exits with 20 when no daemon answers.
///
/// Example:
///   chaosctl doctor
///   chaosctl doctor -o json
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Doctor {
    /// How to print it.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// Everything that was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// Whether the daemon answers.
    reachable: bool,
    /// About the daemon and the way to it.
    daemon: Vec<Check>,
    /// About the host, as seen without the daemon.
    host: Vec<Check>,
    /// About what the data path can do, as the daemon has found out by trying.
    capabilities: Vec<Check>,
    /// The daemon's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<NodeInfo>,
}

/// One thing looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: String,
    health: Health,
    detail: String,
    /// What to do; empty when there is nothing to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    advice: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    Ok,
    /// Works, and somebody should know something.
    Warning,
    Missing,
    /// Could not be found out from here.
    Unknown,
}

impl Check {
    fn new(
        name: impl Into<String>,
        health: Health,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            health,
            detail: detail.into(),
            advice: advice.into(),
        }
    }

    fn ok(name: &str, detail: impl Into<String>) -> Self {
        Self::new(name, Health::Ok, detail, "")
    }
}

impl Doctor {
    pub(crate) async fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        let node = session.daemon.node().await;
        let reachable = !matches!(&node, Err(failure) if failure.is_unreachable());
        let failed = node.as_ref().err().map(Failure::exit);
        let daemon = daemon::checks(session.daemon.client().place(), &node);
        let node = node.ok();
        let capabilities = node.as_ref().map(daemon::capabilities).unwrap_or_default();
        let report = Report {
            reachable,
            daemon,
            host: local::checks(),
            capabilities,
            node,
        };
        let text = match rendered(self.output, &report)? {
            Some(text) => text,
            None => report.for_people(),
        };
        session.out.data(&text)?;
        Ok(failed.unwrap_or(Exit::DONE))
    }
}

impl Report {
    fn for_people(&self) -> String {
        let mut text = String::new();
        let sections = [
            ("Daemon", &self.daemon),
            ("This host", &self.host),
            ("What faults can use", &self.capabilities),
        ];
        let all = sections.iter().flat_map(|(_, checks)| checks.iter());
        let widest = all.map(|check| check.name.chars().count()).max().unwrap_or(0);
        for (title, checks) in sections {
            if !checks.is_empty() {
                section(&mut text, title, checks, widest);
            }
        }
        if !self.reachable {
            text.push_str(
                "\nWhat the data path can do here is found out by the daemon: start it and ask again.\n",
            );
        }
        text
    }
}

fn section(text: &mut String, title: &str, checks: &[Check], widest: usize) {
    let paint = Paint::stdout();
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&paint.heading(title));
    text.push('\n');
    for check in checks {
        // Padded before it is coloured: the codes have no width.
        let health = match check.health {
            Health::Ok => paint.good("ok     "),
            Health::Warning => paint.warning("warning"),
            Health::Missing => paint.error("missing"),
            Health::Unknown => paint.faint("unknown"),
        };
        text.push_str(&format!(
            "  {health}  {:<widest$}  {}\n",
            check.name, check.detail
        ));
        if !check.advice.is_empty() {
            text.push_str(&format!("           {:<widest$}  → {}\n", "", check.advice));
        }
    }
}

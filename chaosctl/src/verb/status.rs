use chaos_spec::api::{ExperimentView, HaltState, NodeInfo};
use clap::Args;
use jiff::Timestamp;

use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, Paint, ago, rendered};

/// Show the daemon: is it halted, which experiments and how many faults run, what is protected
///
/// Example:
///   chaosctl status
///   chaosctl status -o json
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Status {
    /// How to print it.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

impl Status {
    pub(crate) async fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        let node = session.daemon.node().await?;
        let text = match rendered(self.output, &node)? {
            Some(text) => text,
            None if self.output == Format::Name => format!("node/{}", node.hostname),
            None => {
                // A daemon that knows of none, being older, is none the worse for it.
                let experiments = session.daemon.experiments().await.unwrap_or_default();
                for_people(&node, &experiments.items)
            }
        };
        session.out.data(&text)?;
        Ok(Exit::DONE)
    }
}

fn for_people(node: &NodeInfo, experiments: &[ExperimentView]) -> String {
    let paint = Paint::stdout();
    let now = Timestamp::now();
    let counts = node.counts;
    let lines = [
        (
            "daemon",
            format!(
                "chaos-daemon {} on {}, up {}",
                node.version,
                node.hostname,
                ago(node.started_at, now)
            ),
        ),
        ("kernel", node.kernel.clone()),
        ("halt", halt_text(&node.halt, paint, now)),
        (
            "faults",
            format!(
                "{} active, {} pending, {} ended",
                counts.active, counts.pending, counts.ended
            ),
        ),
        (
            "lease",
            format!("{} – faults end that soon when the daemon hangs", node.lease),
        ),
    ];
    let mut text: String = lines
        .iter()
        .map(|(name, value)| format!("{name:<8}{value}\n"))
        .collect();
    let under_way: Vec<&ExperimentView> = experiments.iter().filter(|view| !view.is_over()).collect();
    if !under_way.is_empty() {
        text.push_str("running experiments, to be stopped with `chaosctl stop NAME`:\n");
    }
    for view in under_way {
        let since = view.status.started_at.map_or_else(String::new, |start| {
            format!(", begun {} ago by {}", ago(start, now), view.status.by)
        });
        text.push_str(&format!(
            "          {}: {}{since}\n",
            view.name(),
            view.status.phase.words()
        ));
    }
    if !node.guards.is_empty() {
        text.push_str("guards  never touched by any fault:\n");
        let widest = node
            .guards
            .iter()
            .map(|guard| guard.name.chars().count())
            .max()
            .unwrap_or(0);
        for guard in &node.guards {
            text.push_str(&format!(
                "          {:<widest$}  {}\n",
                guard.name, guard.protects
            ));
        }
    }
    text
}

/// `released`, or since when, by whom and why not.
pub(super) fn halt_text(halt: &HaltState, paint: Paint, now: Timestamp) -> String {
    if !halt.halted {
        return "no – faults are accepted".to_owned();
    }
    let mut text = paint.warning("HALTED");
    if let Some(since) = halt.since {
        text.push_str(&format!(" {} ago", ago(since, now)));
    }
    if let Some(by) = &halt.by {
        text.push_str(&format!(" by {by}"));
    }
    if let Some(reason) = &halt.reason {
        text.push_str(&format!(" ({reason})"));
    }
    text.push_str(" – new faults are refused until `chaosctl halt --release`");
    text
}

use chaos_spec::catalog::{DURATION, Setting};
use chaos_spec::{Duration, to_yaml};
use clap::Args;

use super::Shelf;
use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::manifest::ManifestError;
use crate::verb::run::Manner;

/// Run an entry with these parameters
///
/// Exit codes: those of `chaosctl run`.
///
/// Example:
///   chaosctl catalog start partition-full --set target=netns=blue --set url=http://10.0.0.2/ --duration 15m
///   chaosctl catalog start dns-timeout --set target=pid=4711 … --print > dns.yaml
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct Start {
    #[arg(value_name = "NAME")]
    entry: String,
    /// What a parameter is; `target` may be given several times.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = Setting::from_flag)]
    set: Vec<Setting>,
    /// The parameter `duration`.
    #[arg(long, value_name = "TIME")]
    duration: Option<Duration>,
    /// What the experiment is called; left out: as the entry is.
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
    /// Print the experiment and its faults, and run nothing.
    #[arg(long, conflicts_with_all = ["report", "detach", "output"])]
    print: bool,
    #[command(flatten)]
    shelf: Shelf,
    #[command(flatten)]
    manner: Manner,
}

impl Start {
    pub(super) async fn run(mut self, session: &mut Session) -> Result<Exit, Failure> {
        let entry = self.shelf.entry(&self.entry)?;
        if let Some(duration) = self.duration {
            self.set
                .push(Setting::new(DURATION, &duration.to_string(), "--duration"));
        }
        let name = self.name.as_deref().unwrap_or(&self.entry);
        let run = entry
            .run(name, &self.set)
            .map_err(|wrong| ManifestError::of(&wrong))?;
        if self.print {
            let failed = |error: &dyn std::fmt::Display| Failure::RenderYaml(error.to_string());
            let submission = run.submission();
            let experiment =
                serde_saphyr::to_string(&submission.experiment).map_err(|error| failed(&error))?;
            let faults = to_yaml(&submission.faults).map_err(|error| failed(&error))?;
            session
                .out
                .data(&format!("{}\n---\n{faults}", experiment.trim_end()))?;
            return Ok(Exit::DONE);
        }
        self.manner
            .carry_out(session, &run, &entry.entry.spec.signals)
            .await
    }
}

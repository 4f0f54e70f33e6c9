use std::path::PathBuf;

use chaos_spec::import::{self, Imported};
use chaos_spec::{Duration, to_yaml};
use clap::{Args, ValueEnum};

use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::manifest;
use crate::output::Paint;

/// Say what another tool was told as faults of ours
///
/// The faults go to stdout, as YAML; what is different, or cannot be said, goes to stderr, with the reason. Nothing is
/// dropped silently. Needs no daemon.
///
/// Example:
///   chaosctl import netem slow-link.sh > slow-link.yaml
///   curl -s http://127.0.0.1:8474/proxies | chaosctl import toxiproxy - --for 10m
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Import {
    /// Whose file it is: netem (a script of `tc` commands) or toxiproxy (the answer of GET /proxies).
    #[arg(value_name = "TOOL")]
    tool: Tool,
    /// The file, or `-` for standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How long the faults last: other tools know no end.
    #[arg(long = "for", value_name = "TIME", default_value = "5m")]
    length: Duration,
    /// Exit with 2, and print nothing, when anything cannot be said.
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tool {
    Netem,
    Toxiproxy,
}

impl Import {
    pub(crate) fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        let (name, text) = manifest::read_text(&self.file)?;
        let Imported { faults, unsaid } = match self.tool {
            Tool::Netem => import::netem(&text, self.length),
            Tool::Toxiproxy => import::toxiproxy(&text, self.length).map_err(|error| {
                Failure::Usage(format!("{name}: {error} – this is no answer of GET /proxies"))
            })?,
        };
        for unsaid in &unsaid {
            let word = Paint::stderr().warning("not said:");
            session.out.progress(&format!("{word} {name}: {unsaid}"));
        }
        if faults.is_empty() || (self.strict && !unsaid.is_empty()) {
            return Err(Failure::Usage(format!("{name}: nothing was made of it")));
        }
        let yaml = to_yaml(&faults).map_err(|error| Failure::RenderYaml(error.to_string()))?;
        session.out.data(&yaml)?;
        Ok(Exit::DONE)
    }
}

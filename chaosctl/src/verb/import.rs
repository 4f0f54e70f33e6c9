use std::path::PathBuf;

use chaos_spec::import::{self, Here, Imported};
use chaos_spec::{Duration, Target, to_yaml};
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
///   chaosctl import chaos-mesh delay.yaml --target container=3f2a… > delay.yaml
///   curl -s http://127.0.0.1:8474/proxies | chaosctl import toxiproxy - --for 10m
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Import {
    /// Whose file it is.
    #[arg(value_name = "TOOL")]
    tool: Tool,
    /// The file, or `-` for standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What the pods of chaos-mesh and litmus are on this node: `container=ID`, `cgroup=PATH`, `netns=NAME`, …
    #[arg(long, value_name = "KIND=VALUE", required_if_eq_any = [("tool", "chaos-mesh"), ("tool", "litmus")])]
    target: Option<Target>,
    /// How long faults last that do not say so: most other tools know no end.
    #[arg(long = "for", value_name = "TIME", default_value = "5m")]
    length: Duration,
    /// Exit with 2, and print nothing, when anything cannot be said.
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tool {
    /// NetworkChaos, HTTPChaos and DNSChaos, as YAML.
    ChaosMesh,
    /// ChaosEngine with pod-network-*, pod-http-* and pod-dns-*, as YAML.
    Litmus,
    /// A script of `tc qdisc … netem` and `tbf` commands.
    Netem,
    /// What `tcshow` prints.
    Tcconfig,
    /// The answer of GET /proxies.
    Toxiproxy,
}

impl Import {
    fn read(&self, name: &str, text: &str) -> Result<Imported, Failure> {
        let no_json = |what: &str, error: &dyn std::fmt::Display| {
            Failure::Usage(format!("{name}: {error} – this is no {what}"))
        };
        match (self.tool, &self.target) {
            (Tool::Netem | Tool::Tcconfig | Tool::Toxiproxy, Some(_)) => Err(Failure::Usage(
                "--target is for chaos-mesh and litmus: the file of this tool says where".to_owned(),
            )),
            (Tool::Netem, _) => Ok(import::netem(text, self.length)),
            (Tool::Tcconfig, _) => {
                import::tcconfig(text, self.length).map_err(|error| no_json("output of `tcshow`", &error))
            }
            (Tool::Toxiproxy, _) => import::toxiproxy(text, self.length)
                .map_err(|error| no_json("answer of GET /proxies", &error)),
            (Tool::ChaosMesh | Tool::Litmus, None) => Err(Failure::Usage(
                "--target says what the pods are on this node".to_owned(),
            )),
            (tool, Some(target)) => {
                let here = Here {
                    target: target.clone(),
                    duration: self.length,
                };
                let read = if tool == Tool::Litmus {
                    import::litmus(name, text.as_bytes(), &here)
                } else {
                    import::chaos_mesh(name, text.as_bytes(), &here)
                };
                read.map_err(|wrong| manifest::ManifestError::of(&wrong).into())
            }
        }
    }

    pub(crate) fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        let (name, text) = manifest::read_text(&self.file)?;
        let Imported { faults, unsaid } = self.read(&name, &text)?;
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

use std::fmt::Write;

use chaos_spec::catalog::CatalogEntry;
use clap::Args;

use super::Shelf;
use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, parameter_table, rendered};

/// Show an entry: what it does, what should be seen, when to stop, what to do, and what is left open
#[derive(Args, Debug)]
pub(super) struct Show {
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    shelf: Shelf,
    /// `yaml` or `json` in place of a text.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

impl Show {
    pub(super) fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        let entry = self.shelf.entry(&self.name)?.entry;
        let text = match self.output {
            Some(format) => rendered(format, &entry)?,
            None => None,
        };
        let text = text.unwrap_or_else(|| in_words(&entry, session.out.is_terminal()));
        session.out.data(&text)?;
        Ok(Exit::DONE)
    }
}

fn in_words(entry: &CatalogEntry, terminal: bool) -> String {
    let spec = &entry.spec;
    let mut text = format!(
        "{}: {}\n{}, severity {}\n\n",
        entry.name(),
        spec.title,
        spec.category,
        spec.severity
    );
    let mut part = |title: &str, body: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{title}:");
        for line in body.trim_end().lines() {
            let _ = writeln!(text, "  {line}");
        }
        text.push('\n');
    };
    part("What it does", &spec.description);
    part("What does this in the world", &spec.trigger);
    part("On what", &spec.scope);
    let signals: Vec<String> = spec
        .signals
        .iter()
        .map(|signal| {
            let shown = if signal.shows.is_some() {
                " (the run shows it)"
            } else {
                ""
            };
            format!("- {}{shown}", signal.what)
        })
        .collect();
    part("What should be seen", &signals.join("\n"));
    let rules: Vec<String> = spec.stop_rules.iter().map(|rule| format!("- {rule}")).collect();
    part("When to stop it", &rules.join("\n"));
    part("How it is undone", &spec.rollback);
    part("What to do", &spec.runbook);
    part("Parameters", &parameter_table(&spec.parameters, terminal));
    let needed: String = spec
        .parameters
        .iter()
        .filter_map(|(name, parameter)| Some((name, parameter.example.as_ref()?)))
        .map(|(name, example)| {
            let example = example
                .as_str()
                .map_or_else(|| example.to_string(), ToOwned::to_owned);
            format!(" \\\n      --set {name}={example}")
        })
        .collect();
    let _ = writeln!(
        text,
        "Start it:\n  chaosctl catalog start {}{needed}",
        entry.name()
    );
    text
}

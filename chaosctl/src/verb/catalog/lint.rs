use std::path::PathBuf;

use chaos_spec::Diagnostics;
use clap::Args;

use super::shelf::built_in;
use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::manifest::{self, ManifestError};

/// Check entries: parameters, signals, and the run that defaults and examples make
///
/// Needs no daemon. Without a path it checks what comes with this program.
#[derive(Args, Debug)]
pub(super) struct Lint {
    /// Files, or directories.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

impl Lint {
    pub(super) fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        let mut entries = Vec::new();
        for path in &self.paths {
            entries.extend(manifest::read_entries(path)?);
        }
        if self.paths.is_empty() {
            entries.extend(built_in()?.into_values());
        }
        let wrong: Vec<_> = entries.iter().flat_map(|entry| entry.lint()).collect();
        if !wrong.is_empty() {
            return Err(ManifestError::of(&Diagnostics(wrong)).into());
        }
        let count = entries.len();
        let word = if count == 1 { "entry is" } else { "entries are" };
        session.out.progress(&format!("{count} {word} in order"));
        Ok(Exit::DONE)
    }
}

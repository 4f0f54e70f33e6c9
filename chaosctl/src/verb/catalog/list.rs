use std::collections::BTreeMap;

use chaos_spec::catalog::{CatalogEntry, Category, LocatedEntry};
use clap::Args;

use super::Shelf;
use crate::cli::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, catalog_table, rendered};

/// List the entries
#[derive(Args, Debug)]
pub(super) struct List {
    /// Only those of this kind of trouble, such as `dns`.
    #[arg(long, value_name = "CATEGORY")]
    category: Option<String>,
    #[command(flatten)]
    shelf: Shelf,
    /// How to print them.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

impl List {
    pub(super) fn run(self, session: &mut Session) -> Result<Exit, Failure> {
        let mut entries: BTreeMap<String, LocatedEntry> = self.shelf.entries()?;
        if let Some(word) = &self.category {
            if !Category::ALL.iter().any(|category| category.word() == word) {
                let words: Vec<&str> = Category::ALL.iter().map(|category| category.word()).collect();
                let text = format!("there is no category `{word}` – there are {}", words.join(", "));
                return Err(Failure::Usage(text));
            }
            entries.retain(|_, entry| entry.entry.spec.category.word() == word);
        }
        let mut entries: Vec<CatalogEntry> = entries.into_values().map(|entry| entry.entry).collect();
        entries.sort_by(|a, b| (a.spec.category, a.name()).cmp(&(b.spec.category, b.name())));
        let text = match rendered(self.output, &entries)? {
            Some(text) => text,
            None if self.output == Format::Name => entries
                .iter()
                .map(|entry| format!("{}\n", entry.name()))
                .collect(),
            None => catalog_table(&entries, session.out.is_terminal()),
        };
        session.out.data(&text)?;
        Ok(Exit::DONE)
    }
}

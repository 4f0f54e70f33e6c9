use std::collections::BTreeMap;
use std::path::PathBuf;

use chaos_spec::catalog::{LocatedEntry, LocatedMission, Signal, parse_entries};
use chaos_spec::experiment::LocatedRun;
use clap::Args;
use include_dir::{Dir, include_dir};
use jiff::Timestamp;

use crate::failure::Failure;
use crate::manifest::{self, ManifestError};
use crate::nearest::nearest;

/// The entries that come with this program.
static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../catalog");

/// Where entries are.
#[derive(Args, Debug)]
pub(in crate::verb) struct Shelf {
    /// A directory with entries of your own; one of the same name takes the place of ours.
    #[arg(long, env = "CHAOS_CATALOG", value_name = "DIR")]
    catalog: Option<PathBuf>,
}

impl Shelf {
    /// All entries, by name.
    pub(super) fn entries(&self) -> Result<BTreeMap<String, LocatedEntry>, Failure> {
        let mut entries = built_in()?;
        if let Some(folder) = &self.catalog {
            let own = manifest::read_entries(folder)?;
            let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
            for entry in &own {
                if let Some(file) = seen.insert(entry.name(), entry.file()) {
                    let text = format!(
                        "{}: the name `{}` is taken in {file} – give each entry a name of its own",
                        entry.file(),
                        entry.name()
                    );
                    return Err(Failure::Usage(text));
                }
            }
            entries.extend(own.into_iter().map(|entry| (entry.name().to_owned(), entry)));
        }
        Ok(entries)
    }

    pub(super) fn entry(&self, name: &str) -> Result<LocatedEntry, Failure> {
        let mut entries = self.entries()?;
        entries.remove(name).ok_or_else(|| {
            let remedy = match nearest(name, entries.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`chaosctl catalog list` lists them".to_owned(),
            };
            Failure::Usage(format!("the catalogue has no entry `{name}` – {remedy}"))
        })
    }

    /// The run that a mission makes, if it may begin now, and what should be seen of it.
    pub(in crate::verb) fn of_mission(
        &self,
        mission: &LocatedMission,
    ) -> Result<(LocatedRun, Vec<Signal>), Failure> {
        if let Some(why) = mission.closed(Timestamp::now()) {
            let text = format!("{}: {why} – wait, or change its `windows`", mission.file());
            return Err(Failure::NotNow(text));
        }
        self.run_of(mission)
    }

    /// The same, at whatever time.
    pub(in crate::verb) fn run_of(
        &self,
        mission: &LocatedMission,
    ) -> Result<(LocatedRun, Vec<Signal>), Failure> {
        let written = &mission.mission;
        let entry = self.entry(&written.spec.entry)?;
        let run = entry
            .run(&written.metadata.name, &mission.settings())
            .map_err(|wrong| ManifestError::of(&wrong))?;
        Ok((run, entry.entry.spec.signals))
    }
}

pub(super) fn built_in() -> Result<BTreeMap<String, LocatedEntry>, Failure> {
    let mut entries = BTreeMap::new();
    for file in BUILT_IN.files() {
        let name = format!("catalog/{}", file.path().display());
        let found = parse_entries(&name, file.contents()).map_err(|wrong| ManifestError::of(&wrong))?;
        entries.extend(found.into_iter().map(|entry| (entry.name().to_owned(), entry)));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use chaos_spec::catalog::Category;

    use super::*;

    #[test]
    fn every_entry_that_comes_with_us_is_in_order_and_every_kind_of_trouble_is_there() {
        let entries = built_in().unwrap();
        let told = include_str!("../../../../docs/catalog.md");
        for entry in entries.values() {
            assert_eq!(entry.lint(), [], "{}", entry.name());
            assert_eq!(entry.file(), format!("catalog/{}.yaml", entry.name()));
            let row = format!(
                "| `{}` | {} | {} | {} |",
                entry.name(),
                entry.entry.spec.category,
                entry.entry.spec.severity,
                entry.entry.spec.title
            );
            assert!(told.contains(&row), "docs/catalog.md has no row {row}");
        }
        assert!(entries.len() >= 24, "{}", entries.len());
        for category in Category::ALL {
            let there = |entry: &LocatedEntry| entry.entry.spec.category == category;
            assert!(entries.values().any(there), "{category}");
        }
    }
}

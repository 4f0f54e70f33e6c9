//! Tables of jitter that a fault names by file: read here, because the daemon reads no files for its callers.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use chaos_spec::{DistributionTable, MAX_TEXT_BYTES};

use crate::manifest::{reason, remedy};

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    #[error("{name}: cannot be read: {reason} – {remedy}")]
    Unreadable {
        name: String,
        reason: String,
        remedy: &'static str,
    },
    #[error("{0}")]
    Wrong(chaos_spec::Diagnostic),
}

/// The offsets of a file, which is named relative to the folder `beside`.
pub(crate) fn read(file: &str, beside: &Path) -> Result<Vec<f64>, TableError> {
    let path = beside.join(file);
    let name = path.display().to_string();
    let most = u64::try_from(MAX_TEXT_BYTES).unwrap_or(u64::MAX);
    let mut text = String::new();
    File::open(&path)
        .and_then(|open| open.take(most).read_to_string(&mut text))
        .map_err(|error| TableError::Unreadable {
            name: name.clone(),
            reason: reason(&error),
            remedy: remedy(&error),
        })?;
    DistributionTable::read(&name, &text).map_err(TableError::Wrong)
}

/// Puts the offsets in the place of the name of their file.
pub(crate) fn fill(source: &mut DistributionTable, beside: &Path) -> Result<(), TableError> {
    if let Some(file) = &source.file {
        source.table = read(file, beside)?;
        source.file = None;
    }
    Ok(())
}
